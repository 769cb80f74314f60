"""Which part of a patient a scan covers: grids over a spine."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from pipeline.grid import Grid, Triple
from pipeline.phantom.landmarks import height
from pipeline.phantom.spine import Spine

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
"""i to the left, j to the back, k to the head: the identity in LPS, an axial scan head first."""


class Fov(Enum):
    """What a scan is of."""

    TORSO = "torso"
    ABDOMEN = "abdomen"
    CHEST = "chest"
    LUMBAR = "lumbar"
    CERVICAL = "cervical"
    WHOLE_SPINE = "whole_spine"
    PARTIAL = "partial"
    """A random box about a part of the spine, vertebrae cut by its faces."""


@dataclass(frozen=True)
class Extent:
    """A box in the patient's frame: its middle x, y, z and its sides z, y, x in mm."""

    middle: Triple
    sides_mm: Triple


_RANGE: dict[Fov, tuple[tuple[float, float], tuple[float, float], float, float]] = {
    # top rank, bottom rank (26.5 = low sacrum, 30 = hips), odds of a tight field in the plane, margin in mm
    Fov.TORSO: ((9, 15), (27, 31), 0.1, 10),
    Fov.ABDOMEN: ((16, 18.5), (25, 31), 0.2, 10),
    Fov.CHEST: ((6, 8.5), (17.5, 21.5), 0.2, 10),
    Fov.LUMBAR: ((17, 20), (24.5, 28), 0.7, 5),
    Fov.CERVICAL: ((-2, 2.5), (7, 11), 0.6, 5),
    Fov.WHOLE_SPINE: ((-1, 6), (25, 28), 0.8, 5),
    Fov.PARTIAL: ((1, 22), (3, 27), 0.6, 0),
}
_ODDS = {
    Fov.TORSO: 0.25, Fov.ABDOMEN: 0.15, Fov.CHEST: 0.15, Fov.LUMBAR: 0.15, Fov.CERVICAL: 0.1, Fov.WHOLE_SPINE: 0.05,
    Fov.PARTIAL: 0.15,
}  # fmt: skip


def draw_fov(rng: np.random.Generator) -> Fov:
    """One of all, as often as clinics make them."""
    kinds = list(_ODDS)
    return kinds[int(rng.choice(len(kinds), p=list(_ODDS.values())))]


def draw_extent(rng: np.random.Generator, spine: Spine, fov: Fov) -> Extent:
    """A box over the part of the spine that such a scan covers."""
    tops, bottoms, tight, margin = _RANGE[fov]
    top_rank = float(rng.uniform(*tops))
    if fov is Fov.PARTIAL:
        bottom_rank = min(top_rank + float(rng.uniform(1.5, 7)), 27.5)
    else:
        bottom_rank = float(rng.uniform(*bottoms))
    top, bottom = height(spine, top_rank) + margin, height(spine, bottom_rank) - margin
    if rng.random() < tight:
        sides = (top - bottom, float(rng.uniform(90, 190)), float(rng.uniform(80, 190)))
        shift = rng.uniform((-12, -15), (12, 15))
    else:
        sides = (top - bottom, float(rng.uniform(250, 340)), float(rng.uniform(300, 400)))
        shift = rng.uniform((-20, -45), (20, -15))
    return _extent_about(spine, top, bottom, sides[1:], (float(shift[0]), float(shift[1])))


def extent_of_levels(spine: Spine, first: str, last: str, in_plane_mm: tuple[float, float]) -> Extent:
    """A box that holds two levels and all between them, `in_plane_mm` along y and x.

    Raises:
        ValueError: the spine has no such level.
    """
    stack = {v.name: v for v in (*spine.vertebrae, spine.sacrum)}
    for name in (first, last):
        if name not in stack:
            raise ValueError(f"this spine has no level {name!r}: it has {', '.join(stack)}; choose among these")
    upper, lower = stack[first], stack[last]
    below = 110.0 * spine.scale if last == "SACRUM" else lower.sizes.height / 2 + 0.8 * lower.sizes.spinous + 8
    top = float(upper.centre[2]) + upper.sizes.height / 2 + 22
    return _extent_about(spine, top, float(lower.centre[2]) - below, in_plane_mm, (0.0, 12.0))


def _extent_about(
    spine: Spine, top: float, bottom: float, plane: tuple[float, ...], shift: tuple[float, float]
) -> Extent:
    track = spine.track()
    z = np.linspace(bottom, top, 9)
    x, y = (float(np.interp(z, track[:, 2], track[:, axis]).mean()) for axis in (0, 1))
    middle = (x + shift[0], y + shift[1] + 8, (top + bottom) / 2)
    return Extent(middle, (top - bottom, plane[0], plane[1]))


def grid_of(extent: Extent, spacing_mm: Triple, direction: tuple[float, ...] = AXIAL) -> Grid:
    """The grid of a spacing whose middle is the extent's, along `direction` (sides along its own axes k, j, i)."""
    counts = [max(8, round(side / step)) for side, step in zip(extent.sides_mm, spacing_mm, strict=True)]
    shape = (counts[0], counts[1], counts[2])
    return centred_grid(extent.middle, shape, spacing_mm, direction)


def centred_grid(
    middle: Triple, shape: tuple[int, int, int], spacing_mm: Triple, direction: tuple[float, ...] = AXIAL
) -> Grid:
    """The grid of a shape whose middle lies at a point."""
    corner = Grid(shape, spacing_mm, (0.0, 0.0, 0.0), direction)
    origin = np.asarray(middle) - corner.to_lps([(n - 1) / 2 for n in shape])
    return Grid(shape, spacing_mm, (float(origin[0]), float(origin[1]), float(origin[2])), direction)
