"""From a box on a model's grid to the voxels of the scan that it covers."""

from __future__ import annotations

import itertools

import numpy as np

from pipeline.engine.preprocess import Box
from pipeline.grid import Grid


def part_of(grid: Grid, box: Box) -> Grid:
    """The grid of the voxels in a box of array indices."""
    start = [part.start for part in box]
    z, y, x = (part.stop - part.start for part in box)
    left, back, up = grid.to_lps(start).tolist()
    return Grid((z, y, x), grid.spacing_mm, (left, back, up), grid.direction)


def widened(box: tuple[slice, ...], by: int, shape: tuple[int, ...]) -> Box:
    """A box with `by` more voxels on each side, as far as there are any."""
    z, y, x = (slice(max(0, s.start - by), min(n, s.stop + by)) for s, n in zip(box, shape, strict=True))
    return z, y, x


def covered(part: Grid, scan: Grid) -> Box:
    """The box of the scan's voxels whose middles lie in a grid's field of view; it may be empty."""
    ends = [(-0.5, n - 0.5) for n in part.shape]
    corners = scan.to_index(part.to_lps(list(itertools.product(*ends))))
    low = np.clip(np.ceil(corners.min(axis=0) - 1e-6), 0, scan.shape).astype(int)
    high = np.clip(np.floor(corners.max(axis=0) + 1e-6) + 1, low, scan.shape).astype(int)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x
