"""How high each vertebral body is, against its neighbours: a measure of collapse."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pipeline.grid import Floats, Grid
from pipeline.regions import Bools
from schemas.spine import BY_NAME, LEVELS, UNNUMBERED_BASE, is_named

NOT_COMPARED = ("C1", "C2", "SACRUM", "COCCYX")
"""Levels whose shape is another than that of their neighbours."""

_THIRDS = 3
_NEXT = {upper.number: lower.number for upper, lower in pairwise(LEVELS)}


def height_ratios(heights: dict[int, Floats]) -> dict[int, float]:
    """For each vertebra with a neighbour: the smallest of its anterior, middle and posterior height, each over the mean
    of the same height of the vertebrae next to it (after Genant 1993, doi 10.1002/jbmr.5650080915).

    Args:
        heights: `body_heights` of the vertebrae that are in the field of view in full, by number.
    """
    left_out = {BY_NAME[name].number for name in NOT_COMPARED}
    heights = {number: own for number, own in heights.items() if number not in left_out}
    ratios = {}
    for number, own in heights.items():
        beside = [heights[n] for n in neighbours(number, set(heights))]
        if beside:
            ratios[number] = float((own / np.mean(beside, axis=0)).min())
    return ratios


def body_heights(body: Bools, grid: Grid) -> Floats:
    """Median height in mm of the columns of the anterior, middle and posterior third of a body.

    Columns run along the voxel axis nearest to superior-inferior, thirds along the one nearest to anterior-posterior.
    """
    upright = grid.axis_nearest(2)
    columns = np.count_nonzero(body, axis=upright) * grid.spacing_mm[upright]
    backwards = np.abs(np.reshape(grid.direction, (3, 3))[1])
    lying = sorted({0, 1, 2} - {upright})
    depth = int(backwards[2 - lying[1]] > backwards[2 - lying[0]])
    flat = np.moveaxis(columns, depth, 0)
    occupied = np.flatnonzero(flat.any(axis=1))
    flat = flat[occupied[0] : occupied[-1] + 1]
    thirds = np.array_split(flat, _THIRDS) if len(flat) >= _THIRDS else [flat] * _THIRDS
    return np.array([_median_height(third) for third in thirds])


def neighbours(number: int, present: set[int]) -> list[int]:
    """The levels directly above and below that are present; T13 and L6 count where they are."""
    return [n for n in present if _follows(number, n, present) or _follows(n, number, present)]


def _follows(upper: int, lower: int, present: set[int]) -> bool:
    if not is_named(upper) or not is_named(lower):
        return lower == upper + 1 and upper > UNNUMBERED_BASE
    if _NEXT.get(upper) == lower:
        return True
    skipped = _NEXT.get(upper)
    return skipped == BY_NAME["T13"].number and skipped not in present and _NEXT.get(skipped) == lower


def _median_height(columns: Floats) -> float:
    standing = columns[columns > 0]
    return float(np.median(standing)) if standing.size else 0.0
