"""From a map of scores to lesions: thresholds, components, and the candidates that became none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.engine.preprocess import Box, box_around, crop
from pipeline.engine.reduce import SCORE_UNIT
from pipeline.errors import ScanError
from pipeline.grid import Grid, Volume
from pipeline.masks import LABEL_TYPE, LesionMask
from schemas.reasons import Reason

CANDIDATE_FLOOR = 0.1
"""Score under which nothing is kept, as a candidate either."""

MOST_CANDIDATES = 500
"""Candidates kept of a scan, the strongest; a network that gives noise must not fill the tables."""

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Component:
    """One 26-connected part of a mask."""

    label: int
    """Its value in the array of components."""
    box: Box
    """Half-open array indices."""
    voxels: int
    """How many it has."""
    score_max: float
    """0 to 1."""
    score_mean: float
    """0 to 1."""
    centre: tuple[float, float, float]
    """Mean array index z, y, x."""

    def row(self, grid: Grid, inside: Box, why_not: str) -> dict[str, object]:
        """As a row of `schemas.results.CANDIDATE`, without `level`; `inside` is the box of the scan that `grid` is."""
        start = [part.start for part in inside]
        return {
            "score_max": self.score_max,
            "score_mean": self.score_mean,
            "centroid_mm": grid.to_lps(self.centre).tolist(),
            "bbox": [s.start + n for s, n in zip(self.box, start, strict=True)]
            + [s.stop + n for s, n in zip(self.box, start, strict=True)],
            "volume_mm3": self.voxels * grid.voxel_mm3,
            "why_not": why_not,
        }


def lesions_from_scores(
    scores: Scores, grid: Grid, *, threshold: float, min_volume_mm3: float = 0.0, keep_candidates: bool = True
) -> LesionMask:
    """Lesions as instances, the strongest first, and the candidates.

    Args:
        scores: [z, y, x] on the scan's grid, in units of 1 / `SCORE_UNIT`.
        grid: where they lie.
        threshold: score from which a voxel is part of a lesion; lesions are 26-connected.
        min_volume_mm3: smaller ones are candidates (`why_not` = min_volume).
        keep_candidates: whether components between `CANDIDATE_FLOOR` and the threshold are kept, where no voxel
            reaches it (`why_not` = threshold).

    Raises:
        ScanError: MODEL_OUTPUT, where there are more lesions than a mask can hold.
    """
    cut = max(1, int(np.ceil(threshold * SCORE_UNIT - 1e-6)))
    floor = min(cut, int(np.ceil(CANDIDATE_FLOOR * SCORE_UNIT))) if keep_candidates else cut
    instances = np.zeros(scores.shape, dtype=LABEL_TYPE)
    box = box_around(scores >= floor, grid, margin_mm=0)
    if box is None:
        return LesionMask(instances, score_max=np.zeros(0), score_mean=np.zeros(0))
    part, inside = crop(Volume(scores, grid), box).grid, scores[box]
    labels, found = components(inside >= cut, inside)
    large = [one for one in found if one.voxels * grid.voxel_mm3 >= min_volume_mm3]
    large.sort(key=lambda one: (-one.score_max, -one.voxels, one.label))
    rows = [one.row(part, box, "min_volume") for one in found if one.voxels * grid.voxel_mm3 < min_volume_mm3]
    if floor < cut:
        _, weaker = components(inside >= floor, inside)
        rows += [one.row(part, box, "threshold") for one in weaker if one.score_max * SCORE_UNIT < cut - 0.5]
    rows.sort(key=lambda row: (-float(str(row["score_max"])), str(row["bbox"])))
    instances[box] = _renumbered(labels, [one.label for one in large])
    return LesionMask(
        instances=instances,
        score_max=np.array([one.score_max for one in large]),
        score_mean=np.array([one.score_mean for one in large]),
        candidates=rows[:MOST_CANDIDATES],
    )


def components(mask: Mask, scores: npt.NDArray[Any]) -> tuple[npt.NDArray[np.integer], list[Component]]:
    """The 26-connected components of a mask [z, y, x]: their labels, and what each is."""
    # cc3d 4 fails on small or dense masks of odd size, [1, 0, 1] among them; one more empty face helps
    padded = cc3d.connected_components(np.pad(mask, ((0, 1),) * 3), connectivity=26)
    labels = padded[:-1, :-1, :-1]
    places = np.flatnonzero(labels)
    if not places.size:
        return labels, []
    owner, values = labels.reshape(-1)[places], scores.reshape(-1)[places].astype(np.float64) / SCORE_UNIT
    count = np.bincount(owner)
    mean = np.bincount(owner, weights=values) / np.maximum(1, count)
    largest = np.zeros(len(count))
    np.maximum.at(largest, owner, values)
    index = np.unravel_index(places, labels.shape)
    centre = np.stack([np.bincount(owner, weights=axis) / np.maximum(1, count) for axis in index], axis=1)
    boxes = ndimage.find_objects(labels)
    return labels, [
        Component(i, boxes[i - 1], int(count[i]), float(largest[i]), float(mean[i]), tuple(centre[i].tolist()))
        for i in range(1, len(count))
    ]


def lesions_from_mask(mask: Mask, grid: Grid, *, min_volume_mm3: float = 0.0) -> LesionMask:
    """Lesions of a mask without scores, the largest first; those too small are candidates without a score."""
    scores = np.where(mask, np.uint16(SCORE_UNIT), np.uint16(0))
    found = lesions_from_scores(scores, grid, threshold=1.0, min_volume_mm3=min_volume_mm3, keep_candidates=False)
    rows = [row | {"score_max": None, "score_mean": None} for row in found.candidates]
    return LesionMask(instances=found.instances, candidates=rows)


def widened(mask: Mask, grid: Grid, margin_mm: float) -> Mask:
    """A mask [z, y, x] grown by a box of `margin_mm` to each side."""
    wide = mask.astype(np.uint8)
    for axis, step in enumerate(grid.spacing_mm):
        size = 2 * int(np.floor(margin_mm / step + 0.5)) + 1
        wide = ndimage.maximum_filter1d(wide, size, axis=axis) if size > 1 else wide
    return wide.astype(bool)


def _renumbered(labels: npt.NDArray[np.integer], chosen: list[int]) -> npt.NDArray[np.uint16]:
    """The chosen labels as 1 ... n in their order, everything else 0."""
    most = np.iinfo(LABEL_TYPE).max
    if len(chosen) > most:
        raise ScanError(
            Reason.MODEL_OUTPUT,
            f"the model marks {len(chosen)} separate lesions, at most {most} can be told apart; at this threshold its "
            "scores are noise",
        )
    numbers = np.zeros(int(labels.max(initial=0)) + 1, dtype=LABEL_TYPE)
    numbers[chosen] = np.arange(1, len(chosen) + 1)
    return numbers[labels]
