"""What may be done to slices that do not lie on a straight, full grid; each is named in the catalog as `derived`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.dicom.values import Voxels
from pipeline.grid import Floats, Grid, Volume

INTERPOLATED = "interpolated"
"""Missing slices were made from their neighbours."""
GANTRY_TILT = "gantry_tilt"
"""Slices of a tilted gantry were moved within their planes onto a straight grid."""


def fill_gaps(voxels: Voxels, missing: Sequence[int]) -> Voxels:
    """Put slices between their neighbours, weighted by distance.

    Args:
        voxels: [z, y, x] the slices that are there, in order.
        missing: places along z, in the full stack, of those that are not.
    """
    count = len(voxels) + len(missing)
    present = np.array([place for place in range(count) if place not in set(missing)])
    filled = np.empty((count, *voxels.shape[1:]), voxels.dtype)
    filled[present] = voxels
    for place in missing:
        above = int(np.searchsorted(present, place))
        low, high = int(present[above - 1]), int(present[above])
        weight = (place - low) / (high - low)
        mixed = voxels[above - 1] * (1.0 - weight) + voxels[above] * weight
        filled[place] = _as(mixed, voxels.dtype)
    return filled


def straighten(volume: Volume, shift_mm: tuple[float, float]) -> Volume:
    """Move slices within their planes, so that they stand straight above each other.

    Nothing is resampled across slices. Pixels are interpolated linearly; the field of view grows to hold all slices,
    and what none of them covers takes the volume's lowest value.

    Args:
        volume: slices as they were taken; the grid's step is the perpendicular one, its origin that of the first.
        shift_mm: displacement of a slice against the one below, along x (rows) and y (columns) of the image.
    """
    _, row_mm, column_mm = volume.grid.spacing_mm
    per_slice = np.array([shift_mm[1] / row_mm, shift_mm[0] / column_mm])  # pixels along y, x
    last = per_slice * (volume.grid.shape[0] - 1)
    before = [max(0, math.ceil(-pixels - 1e-6)) for pixels in last]
    after = [max(0, math.ceil(pixels - 1e-6)) for pixels in last]
    count, rows, columns = volume.grid.shape
    shape = (count, rows + before[0] + after[0], columns + before[1] + after[1])
    straight = np.full(shape, volume.voxels.min(), volume.voxels.dtype)
    for number, picture in enumerate(volume.voxels):
        offset = per_slice * number + before
        moved, corner = _moved(picture.astype(np.float64), offset)
        straight[number, corner[0] : corner[0] + moved.shape[0], corner[1] : corner[1] + moved.shape[1]] = _as(
            moved, straight.dtype
        )
    return Volume(straight, _grown(volume.grid, shape, before))


def _moved(picture: Floats, offset: Floats) -> tuple[Floats, tuple[int, int]]:
    """A picture moved by an offset in pixels: what is known of it on whole pixels, and where that begins."""
    corner = []
    for axis in (0, 1):
        whole = math.floor(offset[axis] + 1e-6)
        fraction = max(0.0, float(offset[axis]) - whole)
        if fraction > 1e-6:
            low = np.take(picture, range(picture.shape[axis] - 1), axis)
            high = np.take(picture, range(1, picture.shape[axis]), axis)
            picture = low * fraction + high * (1.0 - fraction)
            whole += 1
        corner.append(whole)
    return picture, (corner[0], corner[1])


def _as(values: Floats, kind: np.dtype[np.generic]) -> Voxels:
    return np.rint(values).astype(kind) if np.issubdtype(kind, np.integer) else values.astype(kind)


def _grown(grid: Grid, shape: tuple[int, int, int], before: list[int]) -> Grid:
    origin = grid.to_lps([0, -before[0], -before[1]])
    return Grid(shape, grid.spacing_mm, (float(origin[0]), float(origin[1]), float(origin[2])), grid.direction)
