"""Parallel planes in space, as the frames of a SEG and the contours of an RTSTRUCT have them, as a grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.errors import ScanError
from pipeline.grid import Floats, Grid
from schemas.reasons import Reason

ON_PLANE = 0.02
"""Largest distance of a plane from its place in the stack, in steps: positions are written with few decimals."""


MAX_VOXELS = 2_000_000_000
"""What a mask may span."""


def step_between(positions_mm: Floats, *, stated_mm: float | None, scan_mm: float | None) -> float:
    """Distance of neighbouring planes in mm, where some planes between may be left out for being empty.

    The distance is the scan's where all planes lie on its slices, else the stated one, else the smallest that occurs.

    Raises:
        ScanError: MASK_GRID, the planes are unevenly spaced.
    """
    distinct = np.unique(np.round(positions_mm, 3))
    smallest = float(np.diff(distinct).min()) if distinct.size > 1 else None
    for step in (scan_mm, stated_mm, smallest):
        if step and fits(distinct, step):
            return step
    raise ScanError(
        Reason.MASK_GRID,
        f"the {distinct.size} planes of the mask are unevenly spaced or their distance is not given: resample the mask",
    )


def fits(positions_mm: Floats, step_mm: float) -> bool:
    """Whether the positions are whole steps apart."""
    steps = (positions_mm - positions_mm.min()) / step_mm
    return bool(np.abs(steps - np.rint(steps)).max() <= ON_PLANE)


def stack_grid(
    *, corner_mm: Floats, row_axis: Floats, column_axis: Floats, shape: tuple[int, int, int], spacing_mm: Floats
) -> Grid:
    """The grid of planes stacked along row axis x column axis.

    Args:
        corner_mm: centre of the first voxel of the first plane, x, y, z in LPS.
        row_axis: direction in which columns grow.
        column_axis: direction in which rows grow.
        shape: planes, rows, columns.
        spacing_mm: of planes, rows, columns.

    Raises:
        ScanError: TOO_LARGE.
    """
    if (n_voxels := int(np.prod(shape, dtype=np.int64))) > MAX_VOXELS:
        raise ScanError(Reason.TOO_LARGE, f"the planes of the mask span {n_voxels} voxels, {MAX_VOXELS} are allowed")
    axes = np.stack([row_axis, column_axis, np.cross(row_axis, column_axis)], axis=1)
    return Grid(
        shape=shape,
        spacing_mm=(float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2])),
        origin_mm=(float(corner_mm[0]), float(corner_mm[1]), float(corner_mm[2])),
        direction=tuple(float(cosine) for cosine in axes.ravel()),
    )


def axis_along(grid: Grid, normal: Floats) -> int | None:
    """The array axis of a grid that runs along a plane's normal; None where none does (within 0.1 degrees)."""
    cosines = np.abs(np.reshape(grid.direction, (3, 3)).T @ normal)
    nearest = int(cosines.argmax())
    return 2 - nearest if cosines[nearest] >= np.cos(np.radians(0.1)) else None


def claim(values: npt.NDArray[np.uint16], region: npt.NDArray[np.bool_], value: int, *, merge: bool) -> None:
    """Write a region into a slice of the mask, in place.

    Raises:
        ScanError: MASK_VALUES, another region has some of its voxels, and they are not to be merged.
    """
    taken = region & (values != 0) & (values != value)
    if not merge and taken.any():
        raise ScanError(
            Reason.MASK_VALUES,
            f"segment {value} of the mask shares {int(taken.sum())} voxels of a slice with segment "
            f"{int(values[taken][0])}: a voxel belongs to one. Choose segments, or merge them by `labels: binary`",
        )
    values[region] = value
