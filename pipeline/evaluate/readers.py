"""Two readers of the same scans: how far they agree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.evaluate.figures import Figure
from pipeline.evaluate.matching import Pairs, allowed, assign
from pipeline.evaluate.statistics.agreement import kappa
from pipeline.evaluate.statistics.estimate import Estimate, not_estimable
from pipeline.evaluate.statistics.proportions import f1
from pipeline.store import Store
from pipeline.store.volumes import read_labels
from schemas.evaluation import MatchRule


def reader_figures(references: pa.Table, store: Store, rule: MatchRule, *, first: str, second: str) -> list[Figure]:
    """Agreement of two readers over the scans that both annotated with masks, not points; nothing where there is none.

    Detection agreement is 2 TP / (2 TP + FP + FN), the same whoever is called the truth; Dice is that of lesions both
    drew; kappa is of whether a scan holds a lesion.
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
    counts = np.array([[by_reader[r][key]["n_lesions"] for r in (first, second)] for key in shared])
    dice: list[float] = []
    both = 0
    for key in shared:
        one, two = (read_labels(store, by_reader[r][key]["labels_uri"])[0] for r in (first, second))
        if one is not None and two is not None:
            found = matched_dice(one, two, rule)
            both += len(found)
            dice += found
    total = counts.sum(axis=0)
    agreement = f1(both, float(total[1] - both), float(total[0] - both))
    nothing = not_estimable("neither reader drew a lesion")
    estimates = {
        "reader_detection_agreement": nothing
        if agreement is None
        else Estimate(agreement, numerator=2 * both, denominator=float(total.sum())),
        "reader_dice": Estimate(float(np.mean(dice)), denominator=len(dice)) if dice else nothing,
        "reader_kappa_scan": kappa(counts[:, 0] > 0, counts[:, 1] > 0),
    }
    return [
        Figure("scan" if "kappa" in name else "lesion", name, estimate, rule.name, subgroup="readers",
               stratum=f"{first} and {second}", n_scans=len(shared))
        for name, estimate in estimates.items()
    ]  # fmt: skip


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
