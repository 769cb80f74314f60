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

SAME_PLACE_MM = 0.01
"""Slices nearer than this lie at one place: a hundredth of the thinnest slice that scanners make."""

Integers = npt.NDArray[np.int64]

_STEP_SHARE = 0.05
_ROUNDING_MM = 0.06  # positions written with one decimal are off by 0.05 mm at most
_ROUNDING_SHARE = 0.25
_COSINE = 1e-3
_TILT_MM_PER_STEP = 0.01
_PARALLEL = 1e-4


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
    """In-plane displacement per step along row direction (x) and column direction (y): not 0 where tilted."""
    missing: tuple[int, ...] = ()
    """Places in the even stack where no slice is; only where gaps were allowed."""

    @property
    def is_tilted(self) -> bool:
        """Whether slices are displaced in their plane, as a tilted gantry leaves them."""
        return self.shift_mm != (0.0, 0.0)


def axes(orientation: Floats) -> Floats:
    """Row, column and normal direction as the columns of a 3 x 3 matrix, made exactly orthonormal.

    Args:
        orientation: six cosines of ImageOrientationPatient: direction of a row, then of a column.

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
    if abs(float(row @ column)) > _COSINE:
        angle = np.degrees(np.arccos(np.clip(row @ column, -1, 1)))
        raise ScanError(
            Reason.GEOMETRY_CONFLICT, f"rows and columns of the image should be at 90 degrees, they are at {angle:.2f}"
        )
    return np.stack([row, column, np.cross(row, column)], axis=1)


def are_parallel(one: Floats, other: Floats) -> bool:
    """Whether two ImageOrientationPatient agree, to the rounding of their text."""
    return bool(np.max(np.abs(np.asarray(one, dtype=float) - np.asarray(other, dtype=float))) < 1e-3)


def places(positions: Floats, normal: Floats) -> tuple[Floats, list[list[int]]]:
    """Distances along the normal, ascending, and which slices lie at each.

    Args:
        positions: (n, 3) ImagePositionPatient.
        normal: (3,) unit vector.
    """
    along = np.asarray(positions, dtype=np.float64) @ normal
    order = np.argsort(along, kind="stable")
    groups: list[list[int]] = []
    for index in order:
        if groups and along[index] - along[groups[-1][0]] < SAME_PLACE_MM:
            groups[-1].append(int(index))
        else:
            groups.append([int(index)])
    return np.array([along[group[0]] for group in groups]), groups


def stack(positions: Floats, orientation: Floats, *, allow_gaps: bool = False) -> Stack:
    """Sort slices along their normal and check that they are evenly spaced.

    Args:
        positions: (n, 3) ImagePositionPatient, one slice at each place.
        orientation: six cosines, the same for all.
        allow_gaps: whole steps may be missing; `missing` names them.

    Raises:
        ScanError: gap, irregular_spacing, sheared, duplicate_slices, no_geometry, geometry_conflict.
    """
    matrix = axes(orientation)
    positions = np.asarray(positions, dtype=np.float64)
    along, groups = places(positions, matrix[:, 2])
    if len(groups) < len(positions):
        raise ScanError(
            Reason.DUPLICATE_SLICES, f"{len(positions) - len(groups)} of {len(positions)} slices lie where another lies"
        )
    order = tuple(group[0] for group in groups)
    if len(order) == 1:
        return Stack(order, 0.0, 0.0, (0.0, 0.0))
    numbers = _numbers(along, allow_gaps=allow_gaps)
    step = float((along[-1] - along[0]) / numbers[-1])
    error = float(np.max(np.abs(along - along[0] - step * numbers)))
    shift = _shift(positions[list(order)], matrix, numbers, step)
    missing = tuple(sorted(set(range(numbers[-1] + 1)) - set(numbers.tolist())))
    return Stack(order, step, error, shift, missing)


def tolerance_mm(step_mm: float) -> float:
    """How far a slice may lie from its place: 5 % of a step, or the rounding of positions written with one decimal."""
    return max(_STEP_SHARE * step_mm, min(_ROUNDING_MM, _ROUNDING_SHARE * step_mm))


def _numbers(along: Floats, *, allow_gaps: bool) -> Integers:
    """The place of each slice in an even stack."""
    count = len(along)
    even = np.arange(count)
    step = (along[-1] - along[0]) / (count - 1)
    if np.max(np.abs(along - along[0] - step * even)) <= tolerance_mm(step):
        return even
    steps = np.diff(along)
    base = float(np.median(steps[steps <= 1.5 * steps.min()]))
    whole = np.rint(steps / base).astype(np.int64)
    numbers = np.concatenate([[0], np.cumsum(whole)])
    base = (along[-1] - along[0]) / numbers[-1]
    if np.max(np.abs(along - along[0] - base * numbers)) > tolerance_mm(base):
        raise ScanError(Reason.IRREGULAR_SPACING, f"the distance of neighbouring slices goes {_range(steps)}")
    if not allow_gaps:
        raise ScanError(
            Reason.GAP,
            f"{numbers[-1] + 1 - count} of {numbers[-1] + 1} slices are missing: steps of {base:.3f} mm are expected, "
            f"the largest is {steps.max():.3f} mm",
        )
    return numbers


def _range(steps: Floats) -> str:
    return f"from {steps.min():.3f} to {steps.max():.3f} mm with a median of {np.median(steps):.3f} mm"


def _shift(positions: Floats, matrix: Floats, numbers: Integers, step: float) -> tuple[float, float]:
    """In-plane displacement per step; (0, 0) where it is rounding.

    Raises:
        ScanError: sheared where slices are displaced and not along a line.
    """
    in_plane = (positions - positions[0]) @ matrix[:, :2]
    per_step = in_plane[-1] / numbers[-1]
    error = float(np.max(np.abs(in_plane - np.outer(numbers, per_step))))
    if error > max(0.1, 0.1 * step):
        raise ScanError(
            Reason.SHEARED, f"slices are displaced in their own plane by up to {error:.2f} mm off a straight line"
        )
    drift = float(np.max(np.abs(in_plane)))
    if drift <= max(0.1, 0.02 * step) or float(np.linalg.norm(per_step)) < _TILT_MM_PER_STEP:
        return 0.0, 0.0
    return float(per_step[0]), float(per_step[1])
