from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.dicom.geometry import axes, places, stack
from pipeline.errors import ScanError
from schemas.reasons import Reason

ROTATIONS = st.builds(
    lambda a, b, c: Rotation.from_euler("xyz", (a, b, c), degrees=True).as_matrix(), *[st.floats(-180, 180)] * 3
)
STEPS = st.floats(0.3, 10.0)
COUNTS = st.integers(2, 40)
AXIAL = (1, 0, 0, 0, 1, 0)


def positions(matrix: np.ndarray, count: int, step: float) -> np.ndarray:
    return np.array([3.0, -70.0, 12.0]) + np.outer(np.arange(count) * step, matrix[:, 2])


def cosines(matrix: np.ndarray) -> np.ndarray:
    return np.concatenate([matrix[:, 0], matrix[:, 1]])


def reason(points: np.ndarray, orientation: object = AXIAL, **options: object) -> Reason:
    with pytest.raises(ScanError) as caught:
        stack(points, orientation, pixel_mm=0.5, **options)  # type: ignore[arg-type]
    return caught.value.reason


@given(ROTATIONS, COUNTS, STEPS, st.randoms())
def test_slices_in_any_order_and_direction_are_sorted_along_their_normal(matrix, count, step, random) -> None:  # type: ignore[no-untyped-def]
    points = positions(matrix, count, step)
    shuffled = random.sample(range(count), count)
    placed = stack(points[shuffled], cosines(matrix), pixel_mm=0.5)
    assert [shuffled[i] for i in placed.order] == list(range(count))
    assert placed.step_mm == pytest.approx(step, rel=1e-6)
    assert placed.max_error_mm < 1e-6
    assert not placed.is_tilted


@given(ROTATIONS, st.integers(4, 40), STEPS, st.data())
def test_missing_slices_are_a_gap_and_named_where_allowed(matrix, count, step, data) -> None:  # type: ignore[no-untyped-def]
    missing = data.draw(st.sets(st.integers(1, count - 2), min_size=1, max_size=max(1, (count - 2) // 2)))
    kept = [i for i in range(count) if i not in missing]
    if not any(b - a == 1 for a, b in pairwise(kept)):
        return  # every second slice is gone: nothing tells
    points = positions(matrix, count, step)[kept]
    assert reason(points, cosines(matrix)) is Reason.GAP
    placed = stack(points, cosines(matrix), pixel_mm=0.5, allow_gaps=True)
    assert set(placed.missing) == missing
    assert placed.step_mm == pytest.approx(step, rel=1e-6)


@given(ROTATIONS, st.integers(3, 30), STEPS, st.floats(-30, 30).filter(lambda a: abs(a) > 10))
def test_tilt_is_the_displacement_within_the_plane(matrix, count, step, degrees) -> None:  # type: ignore[no-untyped-def]
    per_step = step * np.tan(np.radians(degrees))
    points = positions(matrix, count, step) + np.outer(np.arange(count) * per_step, matrix[:, 1])
    placed = stack(points, cosines(matrix), pixel_mm=0.1)
    assert placed.step_mm == pytest.approx(step, rel=1e-6)
    np.testing.assert_allclose(placed.shift_mm, (0, per_step), atol=1e-6)
    assert placed.tilt_degrees == pytest.approx(abs(degrees), abs=1e-4)


def test_rounded_positions_are_no_irregularity() -> None:
    along = np.round(np.arange(50) * 1.25, 1)
    assert not stack(np.outer(along, (0, 0, 1)), AXIAL, pixel_mm=0.5).missing


def test_a_slice_off_its_place_is_irregular() -> None:
    along = np.arange(10) * 2.0
    along[4] += 0.4
    assert reason(np.outer(along, (0, 0, 1))) is Reason.IRREGULAR_SPACING


def test_two_slice_distances_in_one_series_are_irregular() -> None:
    along = np.concatenate([np.arange(5) * 4.0, 16 + 1.08 + np.arange(5) * 7.0])
    assert reason(np.outer(along, (0, 0, 1))) is Reason.IRREGULAR_SPACING


def test_slices_at_one_place_are_duplicates() -> None:
    assert reason(np.outer([0, 1, 1.001, 2], (0, 0, 1))) is Reason.DUPLICATE_SLICES


def test_displacement_off_a_line_is_shear() -> None:
    points = np.outer(np.arange(5.0), (0, 0, 1))
    points[2, 0] += 3
    assert reason(points) is Reason.SHEARED


def test_a_displacement_of_60_degrees_is_no_tilt() -> None:
    points = np.outer(np.arange(5.0), (0, np.tan(np.radians(60)), 1))
    assert reason(points) is Reason.SHEARED


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        ((0, 0, 0, 0, 0, 0), Reason.NO_GEOMETRY),
        ((1, 0, 0, 0, float("nan"), 0), Reason.NO_GEOMETRY),
        ((1, 0, 0, 0.1, 0.995, 0), Reason.GEOMETRY_CONFLICT),
    ],
)
def test_what_is_no_orientation(orientation: tuple[float, ...], expected: Reason) -> None:
    assert reason(np.zeros((1, 3)), orientation) is expected


@given(ROTATIONS)
def test_axes_are_a_right_handed_frame(matrix: np.ndarray) -> None:
    frame = axes(np.round(cosines(matrix), 6))
    np.testing.assert_allclose(frame.T @ frame, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(frame, matrix, atol=1e-5)


def test_places_hold_what_lies_together() -> None:
    along, groups = places(np.outer([5, 1, 5.002, 3], (0, 0, 1)), np.array([0, 0, 1.0]))
    assert groups == [[1], [3], [0, 2]]
    np.testing.assert_allclose(along, [1, 3, 5])
