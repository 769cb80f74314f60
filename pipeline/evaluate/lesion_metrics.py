"""What is estimated of lesions: sensitivity, false positives, FROC, average precision, overlap and volume."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.evaluate.cohort import Cohort, Hits, strata_of
from pipeline.evaluate.figures import CurvePoint, Figure
from pipeline.evaluate.statistics.agreement import bland_altman, icc
from pipeline.evaluate.statistics.estimate import (
    FEW_PATIENTS,
    FEW_WITH_CASES,
    Estimate,
    not_estimable,
    percentile_interval,
    with_interval,
)
from pipeline.evaluate.statistics.proportions import proportion
from pipeline.evaluate.statistics.ranking import FP_RATES, Ranked, average_precision, curve, rank, sensitivity_at
from pipeline.evaluate.statistics.resampling import LEAST_PATIENTS, PatientBootstrap, enough_cases, ratio
from pipeline.grid import Floats
from schemas.evaluation import Evaluation

BOOTSTRAP = "bootstrap_patient"
"""Name of the interval."""

CURVE_RATES = tuple(float(rate) for rate in np.geomspace(1 / 32, 16, 37))
"""False positives per scan at which the band of a FROC curve is given."""

Parts = dict[str, tuple[Floats, Floats]]
"""Metric to numerator and denominator per patient."""


def bootstrap_of(cohort: Cohort, settings: Evaluation) -> PatientBootstrap:
    """The bootstrap over the patients of a cohort."""
    return PatientBootstrap(strata_of(cohort), n=settings.bootstraps, seed=settings.seed)


def too_few(cohort: Cohort) -> str:
    """Why nothing was resampled: there are few patients, or few of them have a case."""
    return FEW_PATIENTS if cohort.patients.size < LEAST_PATIENTS else FEW_WITH_CASES


def parts_of(cohort: Cohort, hits: Hits) -> Parts:
    """Numerators and denominators of the metrics at the threshold, per patient."""
    truths, candidates, scans = cohort.truths, cohort.candidates, cohort.scans
    of_scan = np.arange(scans.patient.size)
    lesions = cohort.per_patient(truths.scan)
    found = cohort.per_patient(truths.scan, hits.truth)
    true = cohort.per_patient(candidates.scan, hits.candidate)
    is_false = candidates.is_lesion & ~hits.candidate & hits.counted
    false = cohort.per_patient(candidates.scan, is_false)
    negative = scans.n_truth == 0
    false_in_negative = cohort.per_patient(candidates.scan, is_false & negative[candidates.scan])
    return {
        "sensitivity": (found, lesions),
        "precision": (true, true + false),
        "f1": (2 * found, found + lesions + false),
        "false_positives_per_scan": (false, cohort.per_patient(of_scan)),
        "false_positives_per_negative_scan": (false_in_negative, cohort.per_patient(of_scan, negative)),
        "false_positives_per_lesion": (false, lesions),
    }


def ratio_figures(
    cohort: Cohort, parts: Parts, settings: Evaluation, *, rule: str | None, unit: str = "lesion"
) -> list[Figure]:
    """Ratios with intervals by the bootstrap over patients."""
    if cohort.patients.size == 0:
        return [Figure(unit, name, not_estimable("there is no scan"), rule) for name in parts]
    numerators, denominators = (np.stack([part[i] for part in parts.values()], axis=1) for i in (0, 1))
    draws = bootstrap_of(cohort, settings).run(ratio(numerators, denominators), cases_per_patient=len(parts))
    draws[:, ~enough_cases(denominators)] = np.nan
    few = too_few(cohort)
    figures = []
    for i, name in enumerate(parts):
        top, bottom = float(numerators[:, i].sum()), float(denominators[:, i].sum())
        estimate = with_interval(
            top / bottom if bottom else None, draws[:, i], name=BOOTSTRAP, counts=(top, bottom), few=few
        )
        figures.append(Figure(unit, name, estimate, rule, draws=draws[:, i]).of(cohort))
    return figures


def threshold_figures(cohort: Cohort, hits: Hits, settings: Evaluation) -> list[Figure]:
    """The metrics at the recipe's threshold; sensitivity with both of its intervals."""
    wilson = proportion(int(hits.truth.sum()), hits.truth.size)
    return [
        Figure("lesion", "sensitivity", wilson, hits.rule.name).of(cohort),
        *ratio_figures(cohort, parts_of(cohort, hits), settings, rule=hits.rule.name),
    ]


def intention_figures(everything: Cohort, cohort: Cohort, hits: Hits, settings: Evaluation) -> list[Figure]:
    """Sensitivity with the lesions of failed and excluded scans counted as missed, with both of its intervals.

    Args:
        everything: every scan whose annotation could be read, with or without a result.
        cohort: those of them with a result.
        hits: what was found in them.
        settings: of the evaluation.
    """
    lesions = everything.of_scans_sum(everything.scans.n_truth)
    found_of = dict(zip(cohort.patients, cohort.per_patient(cohort.truths.scan, hits.truth), strict=True))
    found = np.array([found_of.get(patient, 0.0) for patient in everything.patients])
    name, rule = "sensitivity_all_scans", hits.rule.name
    wilson = proportion(int(found.sum()), int(lesions.sum()))
    return [
        Figure("lesion", name, wilson, rule).of(everything),
        *ratio_figures(everything, {name: (found, lesions)}, settings, rule=rule),
    ]


def ranked_of(cohort: Cohort, hits: Hits) -> Ranked | None:
    """Candidates in order of their scores; None where they have none."""
    candidates = cohort.candidates
    if np.isnan(candidates.score).any():
        return None
    counted = hits.counted
    return rank(
        candidates.score[counted],
        hits.candidate_ranked[counted],
        cohort.scans.patient[candidates.scan[counted]],
        lesions=cohort.per_patient(cohort.truths.scan),
        scans=cohort.per_patient(np.arange(cohort.scans.patient.size)),
    )


def ranking_figures(cohort: Cohort, hits: Hits, settings: Evaluation) -> tuple[list[Figure], list[CurvePoint]]:
    """FROC with its band, its mean over seven rates, and average precision."""
    names = [*(f"froc_at_{rate:g}" for rate in FP_RATES), "froc_score", "average_precision"]
    ranked = ranked_of(cohort, hits)
    if ranked is None or cohort.patients.size == 0 or ranked.lesions.sum() == 0:
        why = "masks without scores cannot be ranked" if ranked is None else "there is no true lesion"
        return [Figure("lesion", name, not_estimable(why), hits.rule.name).of(cohort) for name in names], []
    rates = FP_RATES + CURVE_RATES

    def statistic(weights: Floats) -> Floats:
        """(b, rates + 1) sensitivity at each rate, then average precision, of weights (b, patients)."""
        points = curve(ranked, weights)
        return np.column_stack([sensitivity_at(points, rates), average_precision(points)])

    per_patient = max(1.0, ranked.hits.size / max(1, cohort.patients.size))
    draws = bootstrap_of(cohort, settings).run(statistic, cases_per_patient=per_patient)
    if not enough_cases(ranked.lesions[:, None])[0]:
        draws[:] = np.nan
    points = curve(ranked)
    at = sensitivity_at(points, rates)
    values = [*at[:7], at[:7].mean(), float(average_precision(points))]
    resampled = np.column_stack([draws[:, :7], draws[:, :7].mean(axis=1), draws[:, -1]])
    lesions = float(ranked.lesions.sum())
    figures = [
        Figure(
            "lesion",
            name,
            with_interval(float(value), resampled[:, i], name=BOOTSTRAP, counts=(None, lesions), few=too_few(cohort)),
            hits.rule.name,
            draws=resampled[:, i],
        ).of(cohort)
        for i, (name, value) in enumerate(zip(names, values, strict=True))
    ]
    return figures, _points(ranked, draws[:, 7:-1], at[7:])


def _points(ranked: Ranked, draws: Floats, at: Floats) -> list[CurvePoint]:
    band = [percentile_interval(draws[:, i]) or (None, None) for i in range(draws.shape[1])]
    froc = [
        CurvePoint("froc", rate, float(y), low, high)
        for rate, y, (low, high) in zip(CURVE_RATES, at, band, strict=True)
    ]
    points = curve(ranked)
    thresholds = np.concatenate([[np.nan], ranked.thresholds])
    shown = np.unique(np.linspace(0, thresholds.size - 1, min(200, thresholds.size)).astype(int))
    operating = [
        CurvePoint(
            "froc_points", float(points.false_positives[i]), float(points.sensitivity[i]), threshold=thresholds[i]
        )
        for i in shown
    ]
    recall = [
        CurvePoint(
            "precision_recall", float(points.sensitivity[i]), float(points.precision[i]), threshold=thresholds[i]
        )
        for i in shown
    ]
    return froc + operating + recall


def overlap_figures(cohort: Cohort, hits: Hits, settings: Evaluation) -> list[Figure]:
    """Dice and volume of the lesions that were found."""
    pairs, rule = cohort.pairs, hits.rule.name
    known = hits.pair & np.isfinite(pairs.dice)
    scan = cohort.truths.scan[pairs.truth[known]]
    dice = {"dice_of_found": (cohort.per_patient(scan, pairs.dice[known]), cohort.per_patient(scan))}
    (mean,) = ratio_figures(cohort, dice, settings, rule=rule)
    figures = [replace(mean, estimate=replace(mean.estimate, numerator=None))]  # a mean, not so many of so many
    truth = cohort.truths.volume_mm3[pairs.truth[known]]
    found = cohort.candidates.volume_mm3[pairs.candidate[known]]
    measured = np.isfinite(truth) & np.isfinite(found)
    return figures + agreement_figures(
        cohort, truth[measured], found[measured], unit="lesion", what="volume_mm3", rule=rule
    )


def agreement_figures(
    cohort: Cohort, truth: Floats, found: Floats, *, unit: str, what: str, rule: str | None = None
) -> list[Figure]:
    """Bias, limits of agreement and ICC of two measurements of the same things."""
    compared = bland_altman(truth, found)
    few = not_estimable(f"{truth.size} pairs", denominator=truth.size)
    estimates: dict[str, Estimate] = {
        f"bias_{what}": compared.bias if compared else few,
        f"limit_low_{what}": compared.lower_limit if compared else few,
        f"limit_high_{what}": compared.upper_limit if compared else few,
        f"icc_{what}": icc(truth, found),
    }
    return [Figure(unit, name, estimate, rule).of(cohort) for name, estimate in estimates.items()]
