"""Recipe against recipe on the scans that both have: paired differences with intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.errors import RequestError
from pipeline.evaluate.cohort import Cohort, Hits, hits_of
from pipeline.evaluate.figures import Figure
from pipeline.evaluate.lesion_metrics import BOOTSTRAP, Parts, bootstrap_of, parts_of, ranked_of, too_few
from pipeline.evaluate.statistics.estimate import Estimate, not_estimable, with_interval
from pipeline.evaluate.statistics.ranking import average_precision, curve, sensitivity_at
from pipeline.evaluate.statistics.resampling import enough_cases
from pipeline.evaluate.statistics.roc import compare_areas
from pipeline.grid import Floats
from schemas.evaluation import Evaluation


def shared_scans(first: Cohort, second: Cohort) -> tuple[Cohort, Cohort]:
    """Both cohorts cut down to the scans with a result and the same annotation in both, in the same order.

    Raises:
        RequestError: there is none.
    """
    usable = [
        dict(zip(c.scans.series[ok], c.scans.n_truth[ok], strict=True))
        for c in (first, second)
        for ok in [(c.scans.status == "ok") & np.isfinite(c.scans.n_truth)]
    ]
    shared = [key for key, n in usable[0].items() if usable[1].get(key) == n]
    if not shared:
        raise RequestError("the two recipes share no scan with a result and a reference: run both on the same scans")
    one, two = (_in_order(cohort, shared) for cohort in (first, second))
    return one, two


def _in_order(cohort: Cohort, series: list[str]) -> Cohort:
    # rows of a cohort are in the order of series_key, as update_comparisons writes them
    return cohort.of_scans(np.isin(cohort.scans.series, series))


def compare_recipes(first: Cohort, second: Cohort, settings: Evaluation) -> list[Figure]:
    """Differences second less first, patient by patient.

    Sensitivity, false positives and the FROC score by the bootstrap over patients, with the same patients drawn for
    both; the area under the ROC curve by DeLong's paired test as well.
    """
    one, two = shared_scans(first, second)
    hits = tuple(hits_of(cohort, settings.rule) for cohort in (one, two))
    figures = [*_ratio_differences((one, two), hits, settings), *_ranking_differences((one, two), hits, settings)]
    figures += _area_difference(one, two)
    return [replace(figure, subgroup="difference").of(one) for figure in figures]


def _ratio_differences(cohorts: tuple[Cohort, Cohort], hits: tuple[Hits, ...], settings: Evaluation) -> list[Figure]:
    parts = [parts_of(cohort, hit) for cohort, hit in zip(cohorts, hits, strict=True)]
    bootstrap = bootstrap_of(cohorts[0], settings)
    names = ("sensitivity", "false_positives_per_scan", "f1")

    def statistic(weights: Floats) -> Floats:
        """(b, metrics) of weights (b, patients)."""
        return _ratios(parts[1], names, weights) - _ratios(parts[0], names, weights)

    everyone = np.ones((1, cohorts[0].patients.size))
    values, draws = statistic(everyone)[0], bootstrap.run(statistic, cases_per_patient=len(names))
    for part in parts:
        draws[:, ~enough_cases(np.stack([part[name][1] for name in names], axis=1))] = np.nan
    return [
        Figure(
            "lesion",
            f"difference_{name}",
            with_interval(float(values[i]), draws[:, i], name=BOOTSTRAP, few=too_few(cohorts[0])),
            settings.rule.name,
        )
        for i, name in enumerate(names)
    ]


def _ratios(parts: Parts, names: tuple[str, ...], weights: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([(weights @ parts[name][0]) / (weights @ parts[name][1]) for name in names], axis=1)


def _ranking_differences(cohorts: tuple[Cohort, Cohort], hits: tuple[Hits, ...], settings: Evaluation) -> list[Figure]:
    names = ("froc_score", "average_precision")
    one, two = (ranked_of(cohort, hit) for cohort, hit in zip(cohorts, hits, strict=True))
    if one is None or two is None or one.lesions.sum() == 0:
        why = not_estimable("masks without scores cannot be ranked" if one is None or two is None else "no true lesion")
        return [Figure("lesion", f"difference_{name}", why, settings.rule.name) for name in names]

    def scores(weights: Floats | None) -> Floats:
        """(b, 2) FROC score and average precision, second less first, of weights (b, patients); (2,) of all once."""
        both = []
        for ranked in (one, two):
            points = curve(ranked, weights)
            both.append(np.stack([sensitivity_at(points).mean(axis=-1), average_precision(points)], axis=-1))
        return both[1] - both[0]

    n_candidates = max(one.hits.size, two.hits.size)
    bootstrap = bootstrap_of(cohorts[0], settings)
    draws = bootstrap.run(scores, cases_per_patient=max(1.0, 2 * n_candidates / cohorts[0].patients.size))
    if not enough_cases(one.lesions[:, None])[0]:
        draws[:] = np.nan
    values = scores(None)
    return [
        Figure(
            "lesion",
            f"difference_{name}",
            with_interval(float(values[i]), draws[:, i], name=BOOTSTRAP, few=too_few(cohorts[0])),
            settings.rule.name,
        )
        for i, name in enumerate(names)
    ]


def said_p(p: float) -> str:
    """`p = 0.0312`, never `p = 0.0000`."""
    return f"p = {p:.4f}" if p >= 0.0001 else "p < 0.0001"


def _area_difference(one: Cohort, two: Cohort) -> list[Figure]:
    scores = one.patient_score, two.patient_score
    compared = None if np.isnan(np.concatenate(scores)).any() else compare_areas(one.positive, *scores)
    if compared is None:
        why = not_estimable("one class only, or masks without scores")
        return [Figure("patient", "difference_auroc", why)]
    p = "" if compared.p is None else f"{said_p(compared.p)} (DeLong, two-sided)"
    estimate = compared.difference
    noted = Estimate(
        estimate.value, estimate.low, estimate.high, estimate.interval, denominator=estimate.denominator,
        note=estimate.note or p or None,
    )  # fmt: skip
    return [Figure("patient", "difference_auroc", noted)]
