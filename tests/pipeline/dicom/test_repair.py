from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.dicom.repair import fill_gaps, straighten
from pipeline.grid import Grid, Volume

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def field(points: np.ndarray) -> np.ndarray:
    """A value that linear interpolation reproduces exactly."""
    return points @ np.array([2.0, -3.0, 5.0]) + 1000


@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_straightened_slices_show_what_lies_at_each_place(shift_x: float, shift_y: float) -> None:
    grid = Grid((7, 9, 8), (2.0, 0.8, 0.7), (-10.0, 20.0, 5.0), IDENTITY)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    shifted = grid.to_lps(index) + index[..., :1] * np.array([shift_x, shift_y, 0.0])
    straight = straighten(Volume(field(shifted), grid), (shift_x, shift_y))

    covered = straight.voxels > straight.voxels.min()
    places = straight.grid.to_lps(np.argwhere(covered))
    np.testing.assert_allclose(straight.voxels[covered], field(places), atol=1e-6)
    assert covered.sum() >= 0.6 * 7 * 9 * 8
    assert straight.grid.spacing_mm == grid.spacing_mm
    assert straight.grid.direction == grid.direction


def test_the_first_slice_stays_where_it_was() -> None:
    voxels = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    grid = Grid((2, 3, 4), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY)
    straight = straighten(Volume(voxels, grid), (0.0, -1.5))
    assert straight.voxels.dtype == np.int16
    assert straight.grid.shape == (2, 5, 4)
    assert straight.grid.origin_mm == (0.0, -2.0, 0.0)
    np.testing.assert_array_equal(straight.voxels[0, 2:], voxels[0])


def test_missing_slices_lie_between_their_neighbours() -> None:
    full = np.arange(6, dtype=np.float64)[:, None, None] * 10 * np.ones((1, 2, 2))
    there = full[[0, 1, 4, 5]].astype(np.int16)
    np.testing.assert_array_equal(fill_gaps(there, (2, 3)), full.astype(np.int16))


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.float32])
def test_types_stay(kind: type) -> None:
    assert fill_gaps(np.ones((2, 2, 2), kind), (1,)).dtype == kind
