"""One part of a cohort: every figure that is estimated of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pipeline.evaluate.case_metrics import missed_patients_figure, patient_figures, scan_figures, vertebra_figures
from pipeline.evaluate.cohort import Bools, Cohort, Hits, Texts, hits_of, size_bins
from pipeline.evaluate.figures import CurvePoint, Figure
from pipeline.evaluate.lesion_metrics import (
    BOOTSTRAP,
    Parts,
    intention_figures,
    overlap_figures,
    parts_of,
    ranking_figures,
    ratio_figures,
    threshold_figures,
)
from pipeline.evaluate.sites import SiteEstimate
from pipeline.evaluate.statistics.estimate import FEW_PATIENTS, Estimate, with_interval
from pipeline.evaluate.statistics.proportions import proportion
from schemas.evaluation import Evaluation, MatchRule
from schemas.spine import craniocaudal_rank, is_named, level_number, region

DROPS = (("lesion", "sensitivity"), ("lesion", "froc_score"), ("vertebra", "auroc"), ("patient", "auroc"))
"""Unit and metric of what is compared between the internal and the external part, the plainest first."""

FAILED = ("quarantined", "failed", "excluded")
"""Scans without a result, which stay in the denominator of `sensitivity_all_scans`."""


@dataclass(frozen=True)
class PartResult:
    """What is known of a part."""

    figures: list[Figure]
    points: list[CurvePoint]
    cohort: Cohort
    """The scans with a result and an annotation."""
    hits: Hits


@dataclass(frozen=True)
class RecipeResult:
    """Everything that was estimated of one recipe."""

    recipe_id: str
    parts: dict[str, PartResult]
    """Part of the cohort to its figures; `all` where no part is named."""
    figures: list[Figure]
    """Of all parts, their drops and differences."""
    points: list[CurvePoint]
    sites: list[SiteEstimate]
    whole: Cohort
    """Every scan with a reference."""
    n_without_reference: int = 0
    """Studies with a result but no reference: in no figure."""


def evaluate_part(
    whole: Cohort, settings: Evaluation, *, name: str, attributes: Mapping[str, Texts] | None = None
) -> PartResult:
    """Every figure of one part.

    Args:
        whole: its scans, with or without a result.
        settings: of the evaluation.
        name: of the part.
        attributes: subgroup to (scans,) strata, such as the scanner of each.
    """
    known = np.isfinite(whole.scans.n_truth)
    ok = known & (whole.scans.status == "ok")
    cohort = whole.of_scans(ok)
    hits = hits_of(cohort, settings.rule)
    ranking, froc = ranking_figures(cohort, hits, settings)
    patients, roc = patient_figures(cohort, settings)
    vertebrae, more = vertebra_figures(cohort, settings)
    figures = [
        *threshold_figures(cohort, hits, settings),
        *_intention(whole, known, cohort, hits, settings),
        *ranking,
        *overlap_figures(cohort, hits, settings),
        *vertebrae,
        *scan_figures(cohort),
        *patients,
        *_rules(cohort, settings),
        *_lesion_subgroups(cohort, hits, settings),
        *_scan_subgroups(cohort, hits, settings, {n: values[ok] for n, values in (attributes or {}).items()}),
    ]
    return PartResult(
        [replace(figure, split=name) for figure in figures],
        [replace(point, split=name) for point in froc + roc + more],
        cohort,
        hits,
    )


def _intention(whole: Cohort, known: Bools, cohort: Cohort, hits: Hits, settings: Evaluation) -> list[Figure]:
    everything = whole.of_scans(known & np.isin(whole.scans.status, ("ok", *FAILED)))
    positives = set(everything.patients[everything.positive])
    found = len(positives & set(cohort.patients[cohort.called]))
    return [
        *intention_figures(everything, cohort, hits, settings),
        missed_patients_figure(everything, found),
    ]


def _rules(cohort: Cohort, settings: Evaluation) -> list[Figure]:
    """How results change with the rule, and with the rule and the size."""
    figures: list[Figure] = []
    for rule in settings.other_rules:
        hits = hits_of(cohort, rule)
        parts = parts_of(cohort, hits)
        shown = {name: parts[name] for name in ("sensitivity", "false_positives_per_scan", "f1")}
        wilson = proportion(int(hits.truth.sum()), hits.truth.size)
        figures.append(Figure("lesion", "sensitivity", wilson, rule.name, subgroup="rule").of(cohort))
        figures += [replace(f, subgroup="rule") for f in ratio_figures(cohort, shown, settings, rule=rule.name)]
        figures += _by_size(cohort, hits, settings, rule)
    return figures


def _by_size(cohort: Cohort, hits: Hits, settings: Evaluation, rule: MatchRule) -> list[Figure]:
    return _sensitivities(
        cohort, hits, settings, size_bins(cohort.truths.diameter_mm, settings.size_bins_mm), "size", rule.name
    )


def _lesion_subgroups(cohort: Cohort, hits: Hits, settings: Evaluation) -> list[Figure]:
    truths = cohort.truths
    regions = np.array([_region(level) for level in truths.level], dtype=object)
    named = np.array([_named(level) for level in truths.level], dtype=object)
    divisions = {"type": truths.kind, "level": named, "region": regions}
    figures = _by_size(cohort, hits, settings, settings.rule)
    for subgroup, strata in divisions.items():
        figures += _sensitivities(cohort, hits, settings, strata, subgroup, settings.rule.name)
    return figures


def _named(level: object) -> object:
    """The level's name; unnumbered vertebrae are one stratum, for `V2` of two scans are two levels."""
    try:
        return level if level is None or is_named(level_number(str(level))) else "not named"
    except ValueError:
        return level


def _region(level: object) -> str | None:
    try:
        return region(level_number(str(level)))
    except ValueError:
        return None


def _sensitivities(
    cohort: Cohort, hits: Hits, settings: Evaluation, strata: Texts, subgroup: str, rule: str
) -> list[Figure]:
    """Lesion sensitivity in each stratum, with both intervals."""
    names = sorted({str(s) for s in strata if s is not None}, key=stratum_order)
    parts: Parts = {}
    figures = []
    for name in names:
        chosen = strata == name
        wilson = proportion(int(hits.truth[chosen].sum()), int(chosen.sum()))
        figures.append(Figure("lesion", "sensitivity", wilson, rule, subgroup=subgroup, stratum=name).of(cohort))
        scan = cohort.truths.scan
        parts[name] = (cohort.per_patient(scan, hits.truth & chosen), cohort.per_patient(scan, chosen))
    if parts and cohort.patients.size:
        by_patient = ratio_figures(cohort, parts, settings, rule=rule)
        figures += [
            replace(f, metric="sensitivity", subgroup=subgroup, stratum=f.metric, draws=None) for f in by_patient
        ]
    return figures


def stratum_order(stratum: str) -> tuple[float, bool, str]:
    """A key to sort strata by: bins by their numbers, levels from head to foot, others by name."""
    number = re.match(r"(?:<|>=|>)?=?(\d+(?:\.\d+)?)", stratum)
    if number:
        return float(number[1]), not stratum.startswith("<"), stratum
    try:
        return float(craniocaudal_rank(level_number(stratum))), True, stratum
    except ValueError:
        return math.inf, True, stratum


def _scan_subgroups(cohort: Cohort, hits: Hits, settings: Evaluation, attributes: Mapping[str, Texts]) -> list[Figure]:
    figures: list[Figure] = []
    for subgroup, strata in attributes.items():
        for name in sorted({str(s) for s in strata if s is not None}, key=stratum_order):
            figures += _stratum(cohort.of_scans(strata == name), settings, hits.rule, subgroup, name)
    return figures


def _stratum(cohort: Cohort, settings: Evaluation, rule: MatchRule, subgroup: str, name: str) -> list[Figure]:
    hits = hits_of(cohort, rule)
    parts = parts_of(cohort, hits)
    shown = {n: parts[n] for n in ("sensitivity", "false_positives_per_scan")}
    wilson = Figure("lesion", "sensitivity", proportion(int(hits.truth.sum()), hits.truth.size), rule.name).of(cohort)
    few = settings.model_copy(update={"bootstraps": min(settings.bootstraps, 500)})
    patients = [f for f in patient_figures(cohort, few)[0] if f.metric in ("auroc", "sensitivity", "specificity")]
    figures = [wilson, *ratio_figures(cohort, shown, settings, rule=rule.name), *patients]
    return [replace(figure, subgroup=subgroup, stratum=name, draws=None) for figure in figures]


def drops(first: PartResult, second: PartResult) -> list[Figure]:
    """How much the main figures fall from one part to another; their patients are others, so draws are independent."""
    ours, theirs = (_main(result, set(DROPS)) for result in (first, second))
    figures = []
    for key in (kind for kind in DROPS if kind in ours and kind in theirs):
        one, two = ours[key], theirs[key]
        if one.estimate.value is None or two.estimate.value is None or one.draws is None or two.draws is None:
            continue
        value = two.estimate.value - one.estimate.value
        figures.append(
            Figure(
                key[0],
                f"drop_{key[1]}",
                _difference(value, one, two),
                rule=two.rule,
                split=f"{one.split} to {two.split}",
                n_patients=one.n_patients + two.n_patients,
                n_scans=one.n_scans + two.n_scans,
            )
        )
    return figures


def _main(result: PartResult, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], Figure]:
    return {
        (f.unit, f.metric): f
        for f in result.figures
        if (f.unit, f.metric) in wanted and f.draws is not None and f.subgroup == "all"
    }


def _difference(value: float, one: Figure, two: Figure) -> Estimate:
    """Resamples of one part less resamples of another, put together at random.

    Both are drawn from the same seed: resample i of one picks the same places in its list of patients as resample i of
    the other. Taken pair by pair, two parts of equal size would not be independent.
    """
    if one.draws is None or two.draws is None:
        raise ValueError("a difference of resamples needs resamples of both")
    shuffled = np.random.default_rng(two.draws.size).permutation(two.draws)
    few = one.estimate.note or two.estimate.note or FEW_PATIENTS
    return with_interval(value, shuffled - one.draws, name=BOOTSTRAP, few=few)
