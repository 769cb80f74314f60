"""Two readers of the same scans: how far they agree."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.evaluate.figures import Figure
from pipeline.evaluate.lesion_metrics import BOOTSTRAP
from pipeline.evaluate.matching import Pairs, allowed, assign
from pipeline.evaluate.statistics.agreement import kappa
from pipeline.evaluate.statistics.estimate import (
    FEW_PATIENTS,
    FEW_WITH_CASES,
    Estimate,
    not_estimable,
    with_interval,
)
from pipeline.evaluate.statistics.resampling import LEAST_PATIENTS, PatientBootstrap, enough_cases, ratio
from pipeline.grid import Floats
from pipeline.store import Store
from pipeline.store.volumes import read_labels
from schemas.evaluation import Evaluation, MatchRule


def reader_figures(
    references: pa.Table, store: Store, settings: Evaluation, *, first: str, second: str
) -> list[Figure]:
    """Agreement of two readers over the scans that both annotated with masks, not points; nothing where there is none.

    Detection agreement is 2 TP / (2 TP + FP + FN), the same whoever is called the truth; Dice is that of lesions both
    drew, both with intervals by the bootstrap over patients; kappa is of whether a scan holds a lesion.
    """
    by_reader = {
        reader: {
            row["series_key"]: row
            for row in references.to_pylist()
            if row["reader"] == reader and row["status"] == "ok" and row["labels_uri"] is not None
        }
        for reader in (first, second)
    }
    shared = sorted(by_reader[first].keys() & by_reader[second].keys())
    if not shared:
        return []
    rows = [[by_reader[reader][key] for reader in (first, second)] for key in shared]
    counts = np.array([[row["n_lesions"] for row in pair] for pair in rows])
    dice = [_dice(pair, store, settings.rule) for pair in rows]
    patients, of_scan = np.unique([pair[0]["patient_key"] for pair in rows], return_inverse=True)
    both = np.array([len(found) for found in dice], dtype=np.float64)
    sums = (2 * both, counts.sum(axis=1), [sum(found) for found in dice], both)
    of_patient = [np.bincount(of_scan, values, minlength=patients.size).astype(np.float64) for values in sums]
    estimates = {
        "reader_detection_agreement": _ratio(of_patient[0], of_patient[1], settings),
        "reader_dice": replace(_ratio(of_patient[2], of_patient[3], settings), numerator=None),
        "reader_kappa_scan": kappa(counts[:, 0] > 0, counts[:, 1] > 0),
    }
    return [
        Figure("scan" if "kappa" in name else "lesion", name, estimate, settings.rule.name, subgroup="readers",
               stratum=f"{first} and {second}", n_scans=len(shared), n_patients=int(patients.size))
        for name, estimate in estimates.items()
    ]  # fmt: skip


def _dice(pair: list[dict[str, Any]], store: Store, rule: MatchRule) -> list[float]:
    one, two = (read_labels(store, row["labels_uri"])[0] for row in pair)
    return [] if one is None or two is None else matched_dice(one, two, rule)


def _ratio(top: Floats, bottom: Floats, settings: Evaluation) -> Estimate:
    """A ratio of sums with its interval over patients."""
    counts = float(top.sum()), float(bottom.sum())
    if not counts[1]:
        return not_estimable("neither reader drew a lesion")
    everyone = np.zeros(top.size, dtype=np.int64)
    draws = PatientBootstrap(everyone, n=settings.bootstraps, seed=settings.seed).run(ratio(top, bottom))[:, 0]
    if not enough_cases(bottom[:, None])[0]:
        draws[:] = np.nan
    few = FEW_PATIENTS if top.size < LEAST_PATIENTS else FEW_WITH_CASES
    return with_interval(counts[0] / counts[1], draws, name=BOOTSTRAP, counts=counts, few=few)


def matched_dice(first: npt.NDArray[np.uint16], second: npt.NDArray[np.uint16], rule: MatchRule) -> list[float]:
    """Dice of each two lesions that are the same under a rule of iou, dice or overlap; one to one."""
    sizes = [np.bincount(mask.ravel()) for mask in (first, second)]
    both = (first > 0) & (second > 0)
    common, voxels = np.unique(np.stack([first[both], second[both]], axis=1), axis=0, return_counts=True)
    if not voxels.size:
        return []
    one, two = (common[:, i].astype(np.int64) for i in (0, 1))
    total = sizes[0][one] + sizes[1][two]
    n = voxels.size
    pairs = Pairs(
        truth=one - 1,
        candidate=two - 1,
        iou=voxels / (total - voxels),
        dice=2 * voxels / total,
        distance_mm=np.zeros(n),
        centroid_in_truth=np.ones(n, dtype=np.bool_),
        radius_mm=np.zeros(n),
    )
    scores = np.full(sizes[1].size, np.nan)
    hits = assign(pairs, scores=scores, n_truths=sizes[0].size, usable=allowed(pairs, rule))
    return pairs.dice[hits].tolist()
