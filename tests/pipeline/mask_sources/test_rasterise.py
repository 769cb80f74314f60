"""Filling outlines: holes, keyholes, and areas that are known."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from pipeline.mask_sources.rasterise import fill


def square(low: float, high: float) -> np.ndarray:
    return np.array([[low, low], [low, high], [high, high], [high, low]])


def test_a_square_takes_the_centres_inside_it() -> None:
    assert np.argwhere(fill([square(1.5, 4.5)], (8, 8))).tolist() == [[r, c] for r in (2, 3, 4) for c in (2, 3, 4)]


def test_an_outline_inside_another_is_a_hole_and_one_inside_that_is_filled() -> None:
    rings = fill([square(0.5, 9.5), square(2.5, 7.5), square(4.5, 5.5)], (11, 11))
    assert rings.sum() == 81 - 25 + 1


def test_a_keyhole_is_a_hole_too() -> None:
    outer, inner = square(0.5, 9.5), square(2.5, 7.5)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    np.testing.assert_array_equal(fill([keyhole], (11, 11)), fill([outer, inner], (11, 11)))


def test_what_lies_beyond_the_slice_is_cut_off() -> None:
    assert fill([square(-50, 50)], (6, 7)).all()
    assert not fill([square(20, 50)], (6, 7)).any()


coordinate = st.floats(-3, 15).map(lambda value: value + 0.123456)  # never on a voxel's centre


def distance_to_edges(point: np.ndarray, outline: np.ndarray) -> float:
    starts, ends = outline, np.roll(outline, -1, axis=0)
    along = ends - starts
    length = (along**2).sum(axis=1)
    share = np.clip(((point - starts) * along).sum(axis=1) / np.where(length == 0, 1, length), 0, 1)
    return float(np.linalg.norm(point - (starts + share[:, None] * along), axis=1).min())


@given(st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=9).map(np.array))
def test_any_outline_is_filled_as_scikit_image_fills_it(outline: np.ndarray) -> None:
    differ = np.argwhere(fill([outline], (12, 12)) != polygon2mask((12, 12), outline))
    assert all(distance_to_edges(point, outline) < 1e-9 for point in differ)  # on an edge either answer is right
