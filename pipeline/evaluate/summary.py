"""What `spinetally evaluate` prints: the main figures, and what they do not rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.evaluate.figures import Figure
from pipeline.evaluate.part import RecipeResult
from schemas.config import CohortConfig

MAIN = (
    ("lesion", "sensitivity", "bootstrap_patient"),
    ("lesion", "sensitivity_all_scans", "bootstrap_patient"),
    ("lesion", "false_positives_per_scan", "bootstrap_patient"),
    ("lesion", "froc_score", "bootstrap_patient"),
    ("lesion", "average_precision", "bootstrap_patient"),
    ("lesion", "dice_of_found", "bootstrap_patient"),
    ("vertebra", "auroc", "bootstrap_patient"),
    ("patient", "auroc", "delong_logit"),
    ("patient", "sensitivity", "wilson"),
    ("patient", "specificity", "wilson"),
)
"""Unit, metric and interval of what is shown first, in this order."""


def summarise(
    results: Sequence[RecipeResult],
    references: pa.Table,
    config: CohortConfig,
    *,
    attempt: str,
    readers: Sequence[Figure] = (),
) -> dict[str, Any]:
    """The summary of an evaluation, as JSON can hold it."""
    status = Counter(references["status"].to_pylist())
    reasons = Counter(reason for reason in references["reason_code"].to_pylist() if reason)
    return {
        "attempt": attempt,
        "references": {"ok": status["ok"], "unplaced": status["unplaced"], "failed": status["failed"]},
        "reference_reasons": dict(reasons),
        "references_not_compared": _not_compared(results, references),
        "lesions_outside_their_volume": sum(n or 0 for n in references["n_outside"].to_pylist()),
        "annotation": annotation(config),
        "readers": [_figure(figure) for figure in readers],
        "recipes": {result.recipe_id: _recipe(result) for result in results},
    }


def annotation(config: CohortConfig) -> dict[str, Any]:
    """What is said of who made the reference standard; what is not said is named as such."""
    said = config.truth.model_dump(exclude={"masks", "points", "more_masks"}) if config.truth else {}
    names = ("annotated_by", "readers", "experience", "blinded", "annotated_on")
    return {name: said.get(name) for name in names} | {"not_stated": [n for n in names if said.get(n) is None]}


def _recipe(result: RecipeResult) -> dict[str, Any]:
    scans = result.whole.scans
    return {
        "scans": Counter(scans.status.tolist()),
        "studies_without_reference": result.n_without_reference,
        "scans_in_no_part": 0 if "all" in result.parts else int((scans.split == None).sum()),  # noqa: E711 -- an array
        "sites_in_several_parts": _sites_in_several_parts(result),
        "patients": int(result.whole.patients.size),
        "patients_of_part": {name: int(part.cohort.patients.size) for name, part in result.parts.items()},
        "true_lesions": int(np.nansum(scans.n_truth)),
        "unreadable_references": int(np.isnan(scans.n_truth).sum()),
        "parts": {name: [_figure(f) for f in _main(part.figures)] for name, part in result.parts.items()},
        "drops": [_figure(f) for f in result.figures if f.metric.startswith("drop_")],
    }


def _not_compared(results: Sequence[RecipeResult], references: pa.Table) -> int:
    """Series with a reference that are in no figure: another series stands for their study, or no recipe is of them."""
    compared = {key for result in results for key in result.whole.scans.series}
    return len(set(references["series_key"].to_pylist()) - compared)


def _sites_in_several_parts(result: RecipeResult) -> list[str]:
    scans = result.whole.scans
    of_part = [{str(site) for site in scans.site[scans.split == name] if site is not None} for name in result.parts]
    return sorted(site for site in set().union(*of_part) if sum(site in sites for sites in of_part) > 1)


def _main(figures: Sequence[Figure]) -> list[Figure]:
    """Each of `MAIN` once: with the interval that is meant, else with another, else without any."""
    found = []
    for unit, metric, interval in MAIN:
        named = [f for f in figures if (f.unit, f.metric, f.subgroup) == (unit, metric, "all")]
        found += sorted(named, key=lambda f: (f.estimate.interval != interval, f.estimate.interval is None))[:1]
    return found


def _figure(figure: Figure) -> dict[str, Any]:
    shown = ("unit", "metric", "value", "low", "high", "interval", "numerator", "denominator", "note", "split")
    row = figure.row()
    return {name: row[name] for name in shown if row[name] is not None}
