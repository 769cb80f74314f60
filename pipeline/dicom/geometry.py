"""Where slices lie: pure functions on arrays of positions and orientations, in millimetres, LPS.

Nothing here trusts InstanceNumber, SliceThickness, SpacingBetweenSlices or the tilt tag: only ImagePositionPatient and
ImageOrientationPatient (PS3.3 C.7.6.2.1.1) say where a slice is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import ScanError
from pipeline.grid import Floats
from schemas.reasons import Reason

Integers = npt.NDArray[np.int64]

SAME_PLACE_MM = 0.01
"""Slices nearer than this lie at one place: a tenth of the thinnest slice that scanners make."""

MOST_TILT_DEGREES = 45.0
"""A gantry tilts by 30 degrees at most; what is displaced further is no tilt."""

_STEP_SHARE = 0.05
_ROUNDING_MM = 0.11  # positions written with one decimal are off by 0.05 mm, and so are the ends they are held to
_ROUNDING_SHARE = 0.25
_COSINE = 1e-3


@dataclass(frozen=True)
class Stack:
    """Slices in order along their normal."""

    order: tuple[int, ...]
    """Index of each slice among those given, from the lowest along row x column."""
    step_mm: float
    """Mean distance along the normal; 0 for one slice."""
    max_error_mm: float
    """Largest distance of a slice from its place in an even stack."""
    shift_mm: tuple[float, float]
    """Displacement per step within the plane, along x (rows) and y (columns) of the image; 0 unless tilted."""
    missing: tuple[int, ...] = ()
    """Places in the even stack where no slice is; only where gaps were allowed."""

    @property
    def is_tilted(self) -> bool:
        """Whether slices are displaced within their planes, as a tilted gantry leaves them."""
        return self.shift_mm != (0.0, 0.0)

    @property
    def tilt_degrees(self) -> float:
        """Angle between the way from slice to slice and the normal."""
        return float(np.degrees(np.arctan2(np.hypot(*self.shift_mm), self.step_mm)))


def axes(orientation: npt.ArrayLike) -> Floats:
    """Directions of rows, of columns, and their normal, as the columns of an orthonormal 3 x 3 matrix.

    Args:
        orientation: six cosines of ImageOrientationPatient: where a row runs to, then where a column does.

    Raises:
        ScanError: no_geometry where they are no directions, geometry_conflict where they are not at right angles.
    """
    row, column = np.asarray(orientation, dtype=np.float64).reshape(2, 3)
    lengths = np.linalg.norm([row, column], axis=1)
    if not np.all(np.isfinite(lengths)) or np.any(np.abs(lengths - 1) > 0.01):
        raise ScanError(
            Reason.NO_GEOMETRY,
            f"ImageOrientationPatient should be two unit vectors, not of lengths {lengths[0]:.3f} and {lengths[1]:.3f}",
        )
    cosine = float(row @ column)
    if abs(cosine) > _COSINE:
        raise ScanError(
            Reason.GEOMETRY_CONFLICT,
            f"rows and columns of an image should be at 90 degrees, they are at {np.degrees(np.arccos(cosine)):.2f}",
        )
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    column = column / lengths[1]
    return np.stack([np.cross(column, normal), column, normal], axis=1)  # ITK straightens the row too


def are_parallel(one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    """Whether two ImageOrientationPatient agree, to the rounding of their text."""
    return bool(np.max(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float))) < 1e-3)


def places(positions: npt.ArrayLike, normal: Floats) -> tuple[Floats, list[list[int]]]:
    """Distances along the normal, ascending, and which slices lie at each.

    Args:
        positions: (n, 3) ImagePositionPatient.
        normal: (3,) unit vector.
    """
    along = np.asarray(positions, dtype=np.float64) @ normal
    groups: list[list[int]] = []
    for index in np.argsort(along, kind="stable").tolist():
        if groups and along[index] - along[groups[-1][0]] < SAME_PLACE_MM:
            groups[-1].append(index)
        else:
            groups.append([index])
    return along[[group[0] for group in groups]], groups


def stack(positions: npt.ArrayLike, orientation: npt.ArrayLike, *, pixel_mm: float, allow_gaps: bool = False) -> Stack:
    """Sort slices along their normal, and check that they make up an even stack.

    Args:
        positions: (n, 3) ImagePositionPatient, one slice at each place.
        orientation: six cosines, those of all slices.
        pixel_mm: the smaller pixel spacing: slices displaced by less than half of it are taken as straight.
        allow_gaps: whole steps may be missing, fewer than there are slices; `missing` names them.

    Raises:
        ScanError: gap, irregular_spacing, sheared, duplicate_slices, no_geometry, geometry_conflict.
    """
    matrix = axes(orientation)
    points = np.asarray(positions, dtype=np.float64)
    along, groups = places(points, matrix[:, 2])
    if len(groups) < len(points):
        raise ScanError(
            Reason.DUPLICATE_SLICES, f"{len(points) - len(groups)} of {len(points)} slices lie where another lies"
        )
    order = tuple(group[0] for group in groups)
    if len(order) == 1:
        return Stack(order, 0.0, 0.0, (0.0, 0.0))
    numbers = _numbers(along)
    missing = tuple(sorted(set(range(int(numbers[-1]) + 1)) - set(numbers.tolist())))
    step = float((along[-1] - along[0]) / numbers[-1])
    if missing and not (allow_gaps and len(missing) < len(order)):
        too_many = "; more than there are would be made up" if allow_gaps else ""
        raise ScanError(
            Reason.GAP,
            f"{len(missing)} of {numbers[-1] + 1} slices are missing: steps are {step:.3f} mm, the largest is "
            f"{np.diff(along).max():.3f} mm{too_many}",
        )
    error = float(np.max(np.abs(along - along[0] - step * numbers)))
    shift = _shift(points[list(order)], matrix, numbers, pixel_mm)
    if shift == (0.0, 0.0):  # as ITK has it: from the first slice to the last, whatever rounding did to the normal
        step = float(np.linalg.norm(points[order[-1]] - points[order[0]]) / numbers[-1])
    return Stack(order, step, error, shift, missing)


def tolerance_mm(step_mm: float) -> float:
    """How far a slice may lie from its place: 5 % of a step, or the rounding of positions written with one decimal."""
    return max(_STEP_SHARE * step_mm, min(_ROUNDING_MM, _ROUNDING_SHARE * step_mm))


def _numbers(along: Floats) -> Integers:
    """The place of each slice in an even stack.

    Raises:
        ScanError: irregular_spacing.
    """
    even = np.arange(len(along))
    if _fits(along, even):
        return even
    steps = np.diff(along)
    base = float(np.median(steps[steps <= 1.5 * steps.min()]))
    numbers = np.concatenate([[0], np.cumsum(np.rint(steps / base).astype(np.int64))])
    if not _fits(along, numbers):
        raise ScanError(
            Reason.IRREGULAR_SPACING,
            f"the distance of neighbouring slices goes from {steps.min():.3f} to {steps.max():.3f} mm with a median of "
            f"{np.median(steps):.3f} mm",
        )
    return numbers


def _fits(along: Floats, numbers: Integers) -> bool:
    step = float((along[-1] - along[0]) / numbers[-1])
    return bool(np.max(np.abs(along - along[0] - step * numbers)) <= tolerance_mm(step))


def _shift(points: Floats, matrix: Floats, numbers: Integers, pixel_mm: float) -> tuple[float, float]:
    """Displacement per step within the plane; (0, 0) where all of it is less than half a pixel.

    Raises:
        ScanError: sheared where slices are displaced off a straight line, or further than a gantry tilts.
    """
    within = (points - points[0]) @ matrix[:, :2]
    if float(np.max(np.abs(within))) <= 0.5 * pixel_mm:
        return 0.0, 0.0
    per_step = within[-1] / numbers[-1]
    error = float(np.max(np.abs(within - np.outer(numbers, per_step))))
    if error > 0.5 * pixel_mm:
        raise ScanError(
            Reason.SHEARED, f"slices are displaced within their planes, by up to {error:.2f} mm off a straight line"
        )
    step = float((points[-1] - points[0]) @ matrix[:, 2] / numbers[-1])
    angle = float(np.degrees(np.arctan2(np.hypot(*per_step), step)))
    if angle > MOST_TILT_DEGREES:
        raise ScanError(Reason.SHEARED, f"slices are displaced within their planes, by {angle:.1f} degrees")
    return float(per_step[0]), float(per_step[1])
