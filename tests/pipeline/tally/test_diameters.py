from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import pdist

from pipeline.tally.diameters import feret_3d, largest_slice

measure = pytest.importorskip("skimage.measure", reason="scikit-image checks the convention, it is no dependency")


def ours(image: np.ndarray, spacing: tuple[float, float]) -> float:
    return largest_slice(image[np.newaxis], spacing).long_mm


def test_block_of_the_convention() -> None:
    found = largest_slice(np.ones((1, 10, 20), dtype=bool), (0.8, 0.8))
    assert found.long_mm == pytest.approx(17.55, abs=0.005)
    assert np.linalg.norm(np.diff(found.ends, axis=0) * 0.8) == pytest.approx(found.long_mm)
    assert found.n_pixels == 200


@settings(max_examples=150, deadline=None)
@given(
    image=hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(lambda a: a.any()),
    spacing=st.tuples(st.floats(0.3, 5.0), st.floats(0.3, 5.0)),
)
def test_long_axis_is_that_of_scikit_image(image: np.ndarray, spacing: tuple[float, float]) -> None:
    region = measure.regionprops(image.astype(np.uint8), spacing=spacing)[0]
    assert ours(image, spacing) == pytest.approx(region.feret_diameter_max, rel=1e-9)


@settings(max_examples=80, deadline=None)
@given(image=hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(lambda a: a.any()))
def test_axes_are_those_of_the_mirrored_and_turned_image(image: np.ndarray) -> None:
    long_mm = ours(image, (0.7, 1.3))
    assert ours(image[::-1], (0.7, 1.3)) == pytest.approx(long_mm)
    assert ours(image[:, ::-1], (0.7, 1.3)) == pytest.approx(long_mm)
    assert ours(image.T, (1.3, 0.7)) == pytest.approx(long_mm)


def test_short_axis_is_a_chord_not_a_width() -> None:
    found = largest_slice(np.ones((1, 100, 200), dtype=bool), (0.1, 0.1))
    # across the diagonal of a 10 x 20 rectangle the longest chord is 10 / cos(atan(1/2)), its widest extent 17.9
    assert found.short_mm == pytest.approx(10 * np.sqrt(5) / 2, abs=0.2)


def test_ellipse() -> None:
    rows, columns = np.indices((60, 100))
    image = ((rows - 29.5) * 0.7 / 12) ** 2 + ((columns - 49.5) * 0.5 / 20) ** 2 <= 1
    found = largest_slice(image[np.newaxis], (0.7, 0.5))
    assert found.long_mm == pytest.approx(40, abs=0.7)
    assert found.short_mm == pytest.approx(24, abs=0.7)


def test_one_pixel_has_its_spacing() -> None:
    found = largest_slice(np.ones((1, 1, 1), dtype=bool), (0.8, 0.5))
    assert (found.long_mm, found.short_mm) == (pytest.approx(0.8), pytest.approx(0.5))


def test_the_longest_slice_is_taken() -> None:
    stack = np.zeros((3, 9, 9), dtype=bool)
    stack[0, 4, 3:5] = stack[1, 4, 1:8] = stack[2, 2:5, 4] = True
    assert largest_slice(stack, (1.0, 1.0)).slice_index == 1
    assert largest_slice(stack, (3.0, 1.0)).slice_index == 2


def test_an_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        largest_slice(np.zeros((2, 3, 3), dtype=bool), (1.0, 1.0))


@settings(max_examples=60, deadline=None)
@given(
    mask=hnp.arrays(bool, st.tuples(*[st.integers(1, 7)] * 3)).filter(lambda a: a.any()),
    spacing=st.tuples(*[st.floats(0.3, 5.0)] * 3),
)
def test_3d_diameter_is_the_largest_distance_of_face_midpoints(
    mask: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    offsets = np.concatenate([np.eye(3), -np.eye(3)]) / 2
    points = (np.argwhere(mask)[:, np.newaxis] + offsets).reshape(-1, 3) * spacing
    assert feret_3d(mask, spacing) == pytest.approx(pdist(points).max(), rel=1e-9)


@pytest.mark.parametrize("shape", [(1, 30, 40), (30, 1, 40), (1, 1, 90), (40, 40, 1)])
def test_3d_diameter_of_flat_masks(shape: tuple[int, int, int]) -> None:
    lengths = sorted(shape, reverse=True)
    spread = feret_3d(np.ones(shape, dtype=bool), (1.0, 1.0, 1.0))
    assert np.hypot(lengths[0] - 1, lengths[1] - 1) < spread < np.hypot(lengths[0], lengths[1]) + 1


def test_3d_diameter_of_voxels_on_a_slanted_plane() -> None:
    z, y, x = np.indices((20, 20, 20))
    assert feret_3d(z + y + x == 30, (1.0, 1.0, 1.0)) > 25


def test_3d_diameter_is_the_same_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.random.default_rng(0).random((9, 14, 11)) < 0.1
    whole = feret_3d(mask, (1.5, 0.7, 0.8))
    monkeypatch.setattr("pipeline.tally.diameters._PAIRS_AT_ONCE", 100)
    assert feret_3d(mask, (1.5, 0.7, 0.8)) == whole


def test_3d_diameter_of_a_large_ball_needs_no_memory_for_all_pairs() -> None:
    """A ball of 120 voxels has 2,600 corners, whose pairs are 160 MB in three arrays."""
    z, y, x = np.ogrid[-60:61, -60:61, -60:61]
    ball = z * z + y * y + x * x <= 3600
    tracemalloc.start()
    try:
        assert feret_3d(ball, (1.0, 1.0, 1.0)) == pytest.approx(121)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6
