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
from pipeline.regions import Bools

_TOLERANCE = 1e-9
_PAIRS_WITHOUT_HULL = 64
_DIRECTIONS = 16
_PAIRS_AT_ONCE = 1 << 17
"""Of which the distances are in memory at the same time: what fits a processor's cache."""

Lines = npt.NDArray[np.integer]
"""(n, 4): slice, row, first and last pixel."""


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
    short_ends: Floats
    """(2, 2) those of the short axis."""
    n_pixels: int
    """Pixels of the mask in that slice."""


def largest_slice(stack: Bools, spacing_mm: tuple[float, float]) -> SliceDiameters:
    """The slice with the longest diameter; of equals the one with more pixels, then the first.

    Args:
        stack: (slices, rows, columns), with one True at least.
        spacing_mm: Distance of rows and of columns.
    """
    lines = _lines(stack)
    best: tuple[float, int, int] | None = None
    chosen: tuple[Floats, Floats] | None = None
    for bound, index in _by_bound(lines, spacing_mm):
        if best is not None and bound < best[0] - _TOLERANCE:
            break
        pixels = _hull_pixels(lines[lines[:, 0] == index, 1:])
        ends, length = _long_axis(pixels, spacing_mm)
        rank = (round(length, 9), int(np.count_nonzero(stack[index])), -index)
        if best is None or rank > best:
            best, chosen = rank, (ends, pixels)
    if best is None or chosen is None:
        raise ValueError("the mask is empty: a diameter needs one voxel at least")
    ends, pixels = chosen
    short_ends = _short_axis(pixels, ends, spacing_mm)
    return SliceDiameters(
        slice_index=-best[2],
        long_mm=_length(ends, spacing_mm),
        short_mm=_length(short_ends, spacing_mm),
        ends=ends,
        short_ends=short_ends,
        n_pixels=best[1],
    )


def feret_3d(mask: Bools, spacing_mm: tuple[float, float, float]) -> float:
    """The largest distance of two face midpoints of the mask's voxels, mm."""
    first = mask.argmax(axis=2)
    last = mask.shape[2] - 1 - mask[:, :, ::-1].argmax(axis=2)
    occupied = np.asarray(mask.any(axis=2))
    sides = [
        np.concatenate([np.argwhere(corner), ends[corner][:, np.newaxis]], axis=1)
        for ends, corner in ((first, _bulges(-first, occupied)), (last, _bulges(last, occupied)))
    ]
    spacing = np.asarray(spacing_mm)
    return _longest(_corners(np.concatenate(sides) * spacing), spacing)


def _bulges(heights: npt.NDArray[np.integer], occupied: Bools) -> Bools:
    """Where a surface over rows and columns lies above the middle of its neighbours: only there a hull has corners."""
    surface = np.where(occupied, heights.astype(np.float64), -np.inf)
    bulging = occupied.copy()
    for axis in (0, 1):
        here, kept = np.moveaxis(surface, axis, 0), np.moveaxis(bulging, axis, 0)
        kept[1:-1] &= 2.0 * here[1:-1] > here[:-2] + here[2:]
    return bulging


def _lines(stack: Bools) -> Lines:
    """Every occupied row of a stack with its first and its last pixel: no other pixel can be an end of a diameter."""
    slices, rows = np.nonzero(stack.any(axis=2))
    first = stack[slices, rows].argmax(axis=1)
    last = stack.shape[2] - 1 - stack[slices, rows, ::-1].argmax(axis=1)
    return np.stack([slices, rows, first, last], axis=1)


def _by_bound(lines: Lines, spacing_mm: tuple[float, float]) -> list[tuple[float, int]]:
    """Slices with a length that their diameter cannot exceed, the longest first.

    The diameter of a convex outline is its width in some direction, so it is at most its largest width in k directions
    that are evenly spread, over cos(pi / 2k). Pixels that only the drawn hull holds lie half a pixel beyond at most.
    """
    angles = np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS
    across = np.stack([np.cos(angles), np.sin(angles)]) * np.reshape(spacing_mm, (2, 1))
    ends = np.concatenate([lines[:, [1, 2]] @ across, lines[:, [1, 3]] @ across], axis=1)
    low, high = ends.reshape(-1, 2, _DIRECTIONS).min(axis=1), ends.reshape(-1, 2, _DIRECTIONS).max(axis=1)
    slices, starts = np.unique(lines[:, 0], return_index=True)
    widths = np.maximum.reduceat(high, starts) - np.minimum.reduceat(low, starts) if len(lines) else low
    longest = (widths + 2.0 * np.abs(across).max(axis=0)).max(axis=1) / np.cos(np.pi / (2 * _DIRECTIONS))
    return sorted(zip(longest.tolist(), slices.tolist(), strict=True), key=lambda bound: (-bound[0], bound[1]))


def _long_axis(pixels: Floats, spacing_mm: tuple[float, float]) -> tuple[Floats, float]:
    spacing = np.asarray(spacing_mm)
    (first, second, axis), length = _widest(pixels * spacing, spacing)
    ends = np.array([pixels[first], pixels[second]], dtype=np.float64)
    outwards = 0.5 if ends[0, axis] > ends[1, axis] else -0.5
    ends[:, axis] += (outwards, -outwards)
    return ends, length


def _short_axis(pixels: Floats, ends: Floats, spacing_mm: tuple[float, float]) -> Floats:
    """The ends of the longest chord at right angles to the long axis; of equals the one nearest to its middle."""
    along = (ends[1] - ends[0]) * spacing_mm
    along /= np.linalg.norm(along)
    turn = np.array([along, (-along[1], along[0])])
    outline = _midpoints(pixels) * spacing_mm
    turned = outline[ConvexHull(outline).vertices] @ turn.T
    low, high = _chords(turned, turned[:, 0])
    from_middle = np.abs(turned[:, 0] - (ends.mean(axis=0) * spacing_mm) @ along)
    longest = np.lexsort((from_middle, -(high - low).round(9)))[0]
    chord = np.array([(turned[longest, 0], low[longest]), (turned[longest, 0], high[longest])])
    return chord @ turn / spacing_mm


def _length(ends: Floats, spacing_mm: tuple[float, float]) -> float:
    return float(np.linalg.norm((ends[1] - ends[0]) * spacing_mm))


def _hull_pixels(lines: Lines) -> Floats:
    """First and last pixel of each row of the convex hull, drawn in pixels: those whose centre it holds.

    Args:
        lines: (n, 3) row, first and last pixel of each row of one slice.
    """
    outline = _midpoints(np.concatenate([lines[:, [0, 1]], lines[:, [0, 2]]]))
    hull = outline[ConvexHull(outline).vertices]
    rows = np.arange(lines[0, 0], lines[-1, 0] + 1, dtype=np.float64)
    low, high = _chords(hull, rows)
    starts, stops = np.ceil(low - _TOLERANCE), np.floor(high + _TOLERANCE)
    return np.concatenate([np.stack([rows, starts], axis=1), np.stack([rows, stops], axis=1)])


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
    squares = _squares(points, points, spacing)
    first, second = np.unravel_index(int(squares.argmax()), squares.shape)
    ahead = 2.0 * spacing * np.abs(points[first] - points[second]) + spacing**2
    return (int(first), int(second), int(ahead.argmax())), float(np.sqrt(squares[first, second]))


def _longest(points: Floats, spacing: Floats) -> float:
    """The length alone, in blocks: a ball of 400 voxels has 16,000 corners, whose pairs took 10 GB at once."""
    some = max(1, _PAIRS_AT_ONCE // len(points))
    blocks = (_squares(points[i : i + some], points[i:], spacing) for i in range(0, len(points), some))
    return float(np.sqrt(max(block.max() for block in blocks)))


def _squares(points: Floats, others: Floats, spacing: Floats) -> Floats:
    """(n, m): of each pair of voxel centres the largest squared distance of two midpoints, mm2."""
    squares, further = np.zeros((len(points), len(others))), np.zeros((len(points), len(others)))
    for along, across, step in zip(points.T, others.T, spacing, strict=True):
        apart = np.abs(along[:, np.newaxis] - across)
        squares += apart * apart
        np.maximum(further, (2.0 * step) * apart + step * step, out=further)
    squares += further
    return squares


def _corners(points: Floats) -> Floats:
    """The points that can be an end of the largest diameter: the corners of their convex hull."""
    if len(points) <= _PAIRS_WITHOUT_HULL:
        return points
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # all in one plane: let Qhull shake them by rounding errors
        return points[ConvexHull(points, qhull_options="QJ").vertices]
