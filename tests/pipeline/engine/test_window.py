"""The sliding window: every voxel blended once, slabs as good as the whole."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.window import AS_NNUNET, blended_slabs, predict_on_model_grid, window_starts
from pipeline.errors import ScanError


class Counting:
    """Two channels: the values, and their square; counts its windows."""

    device = torch.device("cpu")

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch
        self.windows = 0

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        self.windows += len(windows)
        return torch.cat([windows, windows**2], dim=1)


class Leaning(Counting):
    """Gives where in the window a voxel lies along x, so that only averaging over flips makes it even."""

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.arange(windows.shape[-1], dtype=torch.float32).expand_as(windows)


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 200),
    patch=st.integers(8, 64),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 0.75]),
    spread=st.booleans(),
)
def test_starts_cover_everything(size: int, patch: int, overlap: float, spread: bool) -> None:
    size = max(size, patch)
    starts = window_starts(size, patch, overlap, spread=spread)
    assert starts[0] == 0
    assert starts[-1] == size - patch
    assert all(0 < b - a <= max(1, round(patch * (1 - overlap)) + spread) for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("shape", [(20, 23, 31), (5, 40, 9), (16, 16, 16), (3, 2, 1)])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_network_of_voxels_gives_what_it_gives_to_voxels(shape: tuple[int, int, int], batch: int) -> None:
    array = _noise(*shape)
    scores = predict_on_model_grid(Counting(batch), array, (16, 12, 10), 0.5)
    assert scores.shape == (2, *shape)
    np.testing.assert_allclose(scores, np.stack([array, array**2]), atol=1e-5)


def test_channels_pass() -> None:
    array = _noise(2, 9, 9, 9)
    scores = predict_on_model_grid(Counting(), array, (4, 4, 4), 0.5)
    np.testing.assert_allclose(scores, np.concatenate([array, array**2]), atol=1e-5)


def test_slabs_come_in_order_and_are_the_whole() -> None:
    array = _noise(50, 20, 20)
    slabs = list(blended_slabs(Counting(), array, (16, 16, 16), 0.5))
    assert len(slabs) > 3
    np.testing.assert_allclose(torch.cat(slabs, dim=1)[0].numpy(), array, atol=1e-5)


def test_flips_average() -> None:
    scores = predict_on_model_grid(Leaning(), _noise(8, 8, 8), (8, 8, 8), flips=[(2,)])
    np.testing.assert_allclose(scores, 3.5, atol=1e-5)


def test_windows_of_one_value_run_once() -> None:
    array = np.full((8, 64, 64), -1.0, np.float32)
    array[:, :8, :8] = _noise(8, 8, 8)
    network = Counting()
    scores = predict_on_model_grid(network, array, (8, 8, 8), 0.0)
    assert network.windows == 2
    np.testing.assert_allclose(scores, np.stack([array, array**2]), atol=1e-5)


def test_empty_windows_are_filled() -> None:
    array = _noise(8, 16, 16) * 0.1 - 1
    array[:, :8, :8] += 5
    network = Counting()
    slabs = list(blended_slabs(network, array, (8, 8, 8), 0.0, empty_below=-0.5))
    assert network.windows == 2
    assert torch.cat(slabs, dim=1)[0, :, 8:, 8:].unique().tolist() == [-0.5]


def test_half_precision_rounds_as_nnunet() -> None:
    array, size = _noise(12, 14, 9), 8
    weight = 10 * np.exp(
        -0.5 * (np.add.outer(*[(np.arange(size) - 4.0) ** 2] * 2)[..., None] + (np.arange(size) - 4.0) ** 2)
    )
    weight = torch.from_numpy(weight).half()
    weight[weight == 0] = weight[weight > 0].min()
    sums, covered = torch.zeros(2, *array.shape, dtype=torch.half), torch.zeros(array.shape, dtype=torch.half)
    for z, y, x in itertools.product(*(window_starts(n, size, 0.5, spread=True) for n in array.shape)):
        here = np.s_[..., z : z + size, y : y + size, x : x + size]
        window = torch.from_numpy(array[here])
        sums[here] += torch.stack([window, window**2]) * weight
        covered[here] += weight
    slabs = list(blended_slabs(Counting(), array, (size,) * 3, 0.5, blending=AS_NNUNET))
    np.testing.assert_array_equal(torch.cat(slabs, dim=1).numpy(), (sums / covered).float().numpy())


def test_scores_beyond_half_precision_are_refused() -> None:
    with pytest.raises(ScanError, match="half precision"):
        list(blended_slabs(Counting(), _noise(8, 8, 8) * 1e3, (8, 8, 8), 0.5, blending=AS_NNUNET))
