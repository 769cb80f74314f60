"""Class scores reduced on the way back: the same as interpolating everything first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.engine.axis_map import AxisMap, resample_axes
from pipeline.engine.reduce import SCORE_UNIT, Labels, Scores, reduce_slabs
from pipeline.engine.resample import align, model_grid
from pipeline.grid import Grid

GRIDS = [
    Grid((21, 40, 36), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)),
    Grid((30, 18, 25), (1.0, 3.0, 1.4), (4.0, 5.0, 6.0), (0, 0, -1, 1, 0, 0, 0, -1, 0)),
]


def _scores(classes: int, shape: tuple[int, ...], *, noise: float) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    coarse = torch.randn(1, classes, 4, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=shape, mode="trilinear")[0]
    return smooth + noise * torch.randn(smooth.shape, generator=generator)


def _reduced(source: Grid, scores: torch.Tensor, reducer: Labels | Scores, grid: Grid, dtype: type) -> np.ndarray:
    forth = align(source, grid)
    z, y, x = (one.inverse() for one in forth.maps)
    result = np.zeros(source.shape, dtype=dtype)
    slabs = torch.split(scores, 5, dim=1)
    reduce_slabs(slabs, (z, y, x), [(reducer, forth.view(result))])
    return result


def _whole(source: Grid, scores: torch.Tensor, grid: Grid) -> np.ndarray:
    """Every class interpolated to every voxel, [k, z, y, x]."""
    back = align(grid, source)
    return np.stack([resample_axes(back.view(channel.numpy()), back.maps) for channel in scores])


@pytest.mark.parametrize("source", GRIDS)
@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (0.8, 0.8, 0.8)])
@pytest.mark.parametrize("centres", [False, True])
def test_labels(source: Grid, noise: float, spacing: tuple[float, float, float], centres: bool) -> None:
    grid = model_grid(source, spacing_mm=spacing, centres=centres)
    scores = _scores(5, grid.shape, noise=noise)
    values = np.array([0, 24, 23, 22, 300], dtype=np.uint16)
    found = _reduced(source, scores, Labels(lambda _: values), grid, np.uint16)
    whole = _whole(source, scores, grid)
    top = np.sort(whole, axis=0)
    clear = top[-1] - top[-2] > 1e-3
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(found[clear], values[whole.argmax(axis=0)][clear])


@pytest.mark.parametrize("source", GRIDS)
def test_scores(source: Grid) -> None:
    grid = model_grid(source, spacing_mm=(2.0, 2.0, 2.0))
    scores = _scores(2, grid.shape, noise=0.2)
    found = _reduced(source, scores, Scores(lambda s: torch.softmax(s, 0)[1:]), grid, np.uint16)
    whole = _whole(source, torch.softmax(scores, 0)[1:], grid)[0]
    np.testing.assert_allclose(found / SCORE_UNIT, whole, atol=1e-4)


def test_nothing_interpolated_where_the_grid_is_the_same() -> None:
    source = GRIDS[0]
    scores = _scores(3, source.shape, noise=1.0)
    found = _reduced(source, scores, Labels(lambda k: np.arange(k, dtype=np.uint8)), source, np.uint8)
    np.testing.assert_array_equal(found, scores.argmax(dim=0).numpy())


def test_nearest_slices_with_stretched_planes() -> None:
    scores = _scores(3, (4, 10, 10), noise=0.1)
    maps = (AxisMap.stretch(4, 9, "nearest"), AxisMap.stretch(10, 21), AxisMap.stretch(10, 17))
    result = np.zeros((9, 21, 17), np.uint8)
    reduce_slabs([scores], maps, [(Labels(lambda k: np.arange(k, dtype=np.uint8)), result)])
    whole = np.stack([resample_axes(channel.numpy(), maps) for channel in scores])
    assert (result == whole.argmax(axis=0)).mean() > 0.999
