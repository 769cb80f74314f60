"""Outlines to voxels: a voxel belongs to a region where its centre lies inside the outline."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.grid import Floats


def fill(outlines: Sequence[Floats], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    """Fill closed outlines in one slice by the even-odd rule, so that an outline inside another is a hole.

    A ray along a row crosses the outlines; a voxel is inside where an odd number of crossings lies before its centre.
    All outlines together give the exclusive or of each alone (DICOM PS3.3 C.8.8.6.3 has holes so, and as keyholes).

    Args:
        outlines: each (n, 2), row and column of its corners in voxels, fractions allowed; the last joins the first.
        shape: rows and columns.

    Returns:
        (rows, columns), True inside.
    """
    starts = np.concatenate([np.asarray(outline, dtype=np.float64) for outline in outlines])
    ends = np.concatenate([np.roll(outline, -1, axis=0) for outline in outlines])
    crossings = np.zeros((shape[0], shape[1] + 1), dtype=np.int64)
    for start, end in zip(starts, ends, strict=True):
        _add_crossings(crossings, start, end)
    return (np.cumsum(crossings, axis=1)[:, :-1] % 2).astype(bool)


def _add_crossings(crossings: npt.NDArray[np.int64], start: Floats, end: Floats) -> None:
    """Count one edge where it crosses rows, at the first column whose centre lies behind it; half-open in the row."""
    low, high = (start, end) if start[0] < end[0] else (end, start)
    n_rows, n_columns = crossings.shape
    rows = np.arange(max(int(np.ceil(low[0])), 0), min(int(np.ceil(high[0])), n_rows))
    if rows.size:
        at = low[1] + (rows - low[0]) * (high[1] - low[1]) / (high[0] - low[0])
        columns = np.clip(np.floor(at) + 1, 0, n_columns - 1).astype(int)
        np.add.at(crossings, (rows, columns), 1)
