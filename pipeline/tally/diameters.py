"""Diameters of a mask by one convention, `schemas.results.DIAMETER_CONVENTION`.

The outline of a slice runs through the midpoints of the edges of its pixels. The long axis is the largest distance of
two points of the outline of the mask's convex hull drawn in pixels, along each axis by its own spacing: what
scikit-image 0.26 calls `feret_diameter_max`. At 0.8 mm a block of 10 x 20 pixels measures 17.55 mm so, 16.82 mm from
centre to centre and 17.89 mm from corner to corner. The short axis is the longest chord of that outline at right
angles to the long axis (RECIST 1.1, Eisenhauer 2009, doi 10.1016/j.ejca.2008.10.026).

For two voxels `d` apart the largest distance of their edge (or face) midpoints is max over axes a of
sqrt(|d|^2 + 2 s_a |d_a| + s_a^2), with the spacing s: the midpoints of a voxel span an octahedron, the difference of
two of them is one of twice the size, and a convex function is largest at a corner.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull, QhullError

from pipeline.grid import Floats
from pipeline.tally.regions import Bools

_TOLERANCE = 1e-9
_PAIRS_WITHOUT_HULL = 64


@dataclass(frozen=True)
class SliceDiameters:
    """The two diameters of a mask in one slice."""

    slice_index: int
    """Slice of the stack, counted in the mask given."""
    long_mm: float
    """Largest distance of two points of the outline, mm."""
    short_mm: float
    """Longest chord of the outline at right angles to it, mm."""
    ends: Floats
    """(2, 2) the ends of the long axis as fractional row and column of the slice."""
    n_pixels: int
    """Pixels of the mask in that slice."""


def largest_slice(stack: Bools, spacing_mm: tuple[float, float]) -> SliceDiameters:
    """The slice with the longest diameter; of equals the one with more pixels, then the first.

    Args:
        stack: (slices, rows, columns), with one True at least.
        spacing_mm: Distance of rows and of columns.
    """
    best: tuple[float, int, int] | None = None
    chosen: tuple[Floats, Floats] | None = None
    for bound, index in _by_largest_box(stack, spacing_mm):
        if best is not None and bound < best[0] - _TOLERANCE:
            break
        ends, length, pixels = _long_axis(stack[index], spacing_mm)
        rank = (round(length, 9), int(np.count_nonzero(stack[index])), -index)
        if best is None or rank > best:
            best, chosen = rank, (ends, pixels)
    if best is None or chosen is None:
        raise ValueError("the mask is empty: a diameter needs one voxel at least")
    ends, pixels = chosen
    long_mm = float(np.linalg.norm((ends[1] - ends[0]) * spacing_mm))
    return SliceDiameters(-best[2], long_mm, _short_axis(pixels, ends, spacing_mm), ends, best[1])


def feret_3d(mask: Bools, spacing_mm: tuple[float, float, float]) -> float:
    """The largest distance of two face midpoints of the mask's voxels, mm."""
    first, last = mask.argmax(axis=2), mask.shape[2] - 1 - mask[:, :, ::-1].argmax(axis=2)
    z, y = np.nonzero(mask.any(axis=2))
    points = np.concatenate([np.stack([z, y, ends[z, y]], axis=1) for ends in (first, last)])
    spacing = np.asarray(spacing_mm)
    return _widest(_corners(points * spacing), spacing)[1]


def _by_largest_box(stack: Bools, spacing_mm: tuple[float, float]) -> list[tuple[float, int]]:
    """No diameter of a slice is longer than the diagonal of its box: (diagonal, index), the longest first."""
    bounds = []
    for index, image in enumerate(stack):
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        if rows.size:
            height = (rows[-1] - rows[0] + 1) * spacing_mm[0]
            width = (columns[-1] - columns[0] + 1) * spacing_mm[1]
            bounds.append((float(np.hypot(height, width)), index))
    return sorted(bounds, key=lambda bound: (-bound[0], bound[1]))


def _long_axis(image: Bools, spacing_mm: tuple[float, float]) -> tuple[Floats, float, Floats]:
    pixels = _hull_pixels(image)
    spacing = np.asarray(spacing_mm)
    (first, second, axis), length = _widest(pixels * spacing, spacing)
    ends = np.array([pixels[first], pixels[second]], dtype=np.float64)
    towards = 1.0 if ends[0, axis] > ends[1, axis] else -1.0
    ends[:, axis] += (0.5 * towards, -0.5 * towards)
    return ends, length, pixels


def _short_axis(pixels: Floats, ends: Floats, spacing_mm: tuple[float, float]) -> float:
    along = (ends[1] - ends[0]) * spacing_mm
    along /= np.linalg.norm(along)
    outline = _midpoints(pixels) * spacing_mm
    outline = outline[ConvexHull(outline).vertices]
    turned = np.stack([outline @ along, outline @ (-along[1], along[0])], axis=1)
    low, high = _chords(turned, turned[:, 0])
    return float((high - low).max())


def _hull_pixels(image: Bools) -> Floats:
    """First and last pixel of each row of the convex hull, drawn in pixels: those whose centre it holds."""
    rows = np.flatnonzero(image.any(axis=1))
    first = image[rows].argmax(axis=1)
    last = image.shape[1] - 1 - image[rows, ::-1].argmax(axis=1)
    outline = _midpoints(np.concatenate([np.stack([rows, first], axis=1), np.stack([rows, last], axis=1)]))
    hull = outline[ConvexHull(outline).vertices]
    all_rows = np.arange(rows[0], rows[-1] + 1, dtype=np.float64)
    low, high = _chords(hull, all_rows)
    starts, stops = np.ceil(low - _TOLERANCE), np.floor(high + _TOLERANCE)
    return np.concatenate([np.stack([all_rows, starts], axis=1), np.stack([all_rows, stops], axis=1)])


def _midpoints(pixels: npt.NDArray[np.generic]) -> Floats:
    """The midpoints of the four edges of each pixel: (n, 2) to (4 n, 2)."""
    offsets = np.array([(-0.5, 0.0), (0.5, 0.0), (0.0, -0.5), (0.0, 0.5)])
    return (pixels[:, np.newaxis, :] + offsets).reshape(-1, 2)


def _chords(polygon: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Where lines of constant first coordinate cut a convex polygon: lowest and highest second coordinate."""
    start, step = polygon, np.roll(polygon, -1, axis=0) - polygon
    slanted = np.abs(step[:, 0]) > _TOLERANCE
    start, step = start[slanted], step[slanted]
    share = (at[:, np.newaxis] - start[:, 0]) / step[:, 0]
    cuts = start[:, 1] + np.clip(share, 0.0, 1.0) * step[:, 1]
    hit = (share >= -_TOLERANCE) & (share <= 1.0 + _TOLERANCE)
    return np.where(hit, cuts, np.inf).min(axis=1), np.where(hit, cuts, -np.inf).max(axis=1)


def _widest(points: Floats, spacing: Floats) -> tuple[tuple[int, int, int], float]:
    """The pair of voxel centres, and the axis, with the largest distance of midpoints: (first, second, axis), mm."""
    apart = np.abs(points[:, np.newaxis, :] - points[np.newaxis, :, :])
    squares = (apart**2).sum(axis=2)[:, :, np.newaxis] + 2.0 * spacing * apart + spacing**2
    first, second, axis = np.unravel_index(int(squares.argmax()), squares.shape)
    return (int(first), int(second), int(axis)), float(np.sqrt(squares.max()))


def _corners(points: Floats) -> Floats:
    """The points that can be an end of the largest diameter: the corners of their convex hull."""
    if len(points) <= _PAIRS_WITHOUT_HULL:
        return points
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # all in one plane: let Qhull shake them by rounding errors
        return points[ConvexHull(points, qhull_options="QJ").vertices]
