"""The sliding window: overlapping windows through a network, blended, one finished slab at a time.

Windows go row by row (one place along z). Slices are finished, divided and given away, a few at a time, as soon as no
later row reaches them, so that only one row of scores is ever held.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from pipeline.engine.axis_map import Float32
from pipeline.errors import ScanError
from schemas.reasons import Reason

_SLAB_VALUES = 4_000_000
"""Class scores divided and given away at a time: 16 MB."""

SIGMA_OF_PATCH = 0.125
"""Deviation of the blending Gaussian as a share of the window, as nnU-Net and MONAI have it."""

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Blending:
    """How windows lie and are blended."""

    spread: bool = False
    """At even distances and with the Gaussian's middle at patch // 2, as nnU-Net; else as MONAI."""
    gaussian: bool = True
    """By a Gaussian; else all voxels of a window count the same."""
    floor: float = 0.0
    """Least weight of a voxel; the largest is 1."""
    half: bool = False
    """Sums are kept in half precision, with weights up to 10, as nnU-Net keeps them: half the memory, and where classes
    are nearly even the same one wins."""

    def weights(self, patch: Size) -> torch.Tensor:
        """[z, y, x] of a window, in the precision of the sums."""
        result = torch.ones(patch, dtype=torch.float64)
        for axis, size in enumerate(patch if self.gaussian else ()):
            place = torch.arange(size, dtype=torch.float64) - (size // 2 if self.spread else (size - 1) / 2)
            along = torch.exp(-0.5 * (place / (SIGMA_OF_PATCH * size)) ** 2)
            result *= along.reshape([-1 if a == axis else 1 for a in range(3)])
        if not self.half:
            return result.clamp_min(self.floor).float()
        result = (10 * result).half()
        return result.clamp_min(float(result[result > 0].min()))


AS_MONAI = Blending(floor=1e-3)
"""As MONAI's `SlidingWindowInferer(mode="gaussian")`."""

AS_MONAI_FLAT = Blending(gaussian=False)
"""As MONAI's `SlidingWindowInferer(mode="constant")`."""

AS_NNUNET = Blending(spread=True, half=True)
"""As nnU-Net v2."""


class Network(Protocol):
    """What the window runs; see `pipeline.models.network.VoxelNetwork`."""

    device: torch.device

    @property
    def batch(self) -> int:
        """Windows at a time."""

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Class scores [n, k, z, y, x] of windows [n, c, z, y, x]."""


def window_starts(size: int, patch: int, overlap: float, *, spread: bool = False) -> list[int]:
    """Where windows start along an axis, so that each voxel is in one and neighbours share at least `overlap`.

    Args:
        size: voxels along the axis, at least `patch`.
        patch: voxels of a window.
        overlap: share of a window that its neighbour covers too.
        spread: at even distances, as nnU-Net has it; else at a fixed step with the last one moved inside, as MONAI.
    """
    step = max(1, int(patch * (1 - overlap)))
    if not spread:
        return [min(step * i, size - patch) for i in range(-(-(size - patch) // step) + 1)]
    count = int(np.ceil((size - patch) / (patch * (1 - overlap)))) + 1
    return [int(np.round((size - patch) / max(1, count - 1) * i)) for i in range(count)]


def predict_on_model_grid(
    network: Network,
    array: Float32,
    patch: Size,
    overlap: float = 0.5,
    *,
    fill: float = 0.0,
    flips: Sequence[Sequence[int]] = (),
) -> Float32:
    """Blended class scores [k, z, y, x] of a whole volume on the model's own grid, for volumes of moderate size.

    Args:
        network: takes [n, c, z, y, x].
        array: [z, y, x] or [c, z, y, x], as the network expects its values.
        patch: size of the windows.
        overlap: share of a window that its neighbour covers too.
        fill: value around a volume smaller than the window.
        flips: axes (0 z, 1 y, 2 x) mirrored together, an entry per further copy to average over: [[2], [1, 2]].
    """
    slabs = blended_slabs(network, array, patch, overlap, fill=fill, flips=flips)
    return np.concatenate([slab.cpu().numpy() for slab in slabs], axis=1)


def blended_slabs(
    network: Network,
    array: Float32,
    patch: Size,
    overlap: float = 0.5,
    *,
    fill: float = 0.0,
    flips: Sequence[Sequence[int]] = (),
    blending: Blending | None = None,
    empty_below: float | None = None,
) -> Iterator[torch.Tensor]:
    """The same in slabs [k, dz, y, x] along z, each given as soon as it is final, float32 on the network's device.

    Only one row of windows is held, k x patch z x y x x values, whatever the length of the scan.
    Arguments as `predict_on_model_grid`; `blending` is `AS_MONAI` unless said otherwise. A window that holds one value
    only, such as the padding around a scanned disc, is given the network's answer to that value, which is computed
    once. `empty_below` takes a window in which nothing is above it for such a one: quicker still, and no longer exact.
    """
    padded, inner = _padded(array, patch, fill)
    how = blending or AS_MONAI
    zs, ys, xs = (window_starts(n, p, overlap, spread=how.spread) for n, p in zip(padded.shape[1:], patch, strict=True))
    places = list(itertools.product(ys, xs))
    weight = how.weights(patch).to(network.device)
    answers = _Answers(network, flips, empty_below)
    total = weight.new_zeros((patch[0], *padded.shape[2:]))
    row: torch.Tensor | None = None
    for z, after in zip(zs, [*zs[1:], zs[-1] + patch[0]], strict=True):
        for (y, x), scores in answers.of_row(padded, patch, z, places):
            row = total.new_zeros((len(scores), *total.shape)) if row is None else row
            here = np.s_[:, y : y + patch[1], x : x + patch[2]]
            for mine, theirs in zip(row, scores, strict=True):  # a class at a time: the product stays in the cache
                mine[here].add_(theirs * weight)
            total[here].add_(weight)
            del scores  # or they are kept while the next ones are made
        if row is None:
            raise ValueError("a volume without a voxel has no window")
        yield from _finished(row[:, : after - z], total[: after - z], z, inner)
        for buffer in (*row, total):
            _move(buffer, after - z)


def _finished(
    row: torch.Tensor, total: torch.Tensor, z: int, inner: tuple[slice, slice, slice]
) -> Iterator[torch.Tensor]:
    """Weighted sums [k, dz, y, x] over their weights, without the padding, a few slices at a time."""
    step = max(1, _SLAB_VALUES // row[:, 0].numel())
    low, high = max(0, inner[0].start - z), min(len(total), inner[0].stop - z)
    for start in range(low, high, step):
        part = (slice(start, min(start + step, high)), *inner[1:])
        slab = (row[:, *part] / total[part]).float()
        if row.dtype == torch.half and not torch.isfinite(slab.sum()):
            raise ScanError(Reason.MODEL_OUTPUT, "the network's scores are too large for sums in half precision")
        yield slab


def _move(buffer: torch.Tensor, done: int) -> None:
    """Take the first `done` slices [z, y, x] away, and put as many empty ones at the end; in place."""
    for z in range(done, len(buffer), done):
        following = buffer[z : z + done]
        buffer[z - done : z - done + len(following)] = following
    buffer[-done:] = 0


class _Answers:
    """A network's scores of windows, averaged over mirrored copies; those of windows of one value are kept."""

    def __init__(self, network: Network, flips: Sequence[Sequence[int]], empty_below: float | None) -> None:
        self._network = network
        self._flips = flips
        self._empty_below = empty_below
        self._constant: tuple[float, torch.Tensor] | None = None

    def of_row(
        self, padded: Float32, patch: Size, z: int, places: list[tuple[int, int]]
    ) -> Iterator[tuple[tuple[int, int], torch.Tensor]]:
        """(y, x) and the scores [k, z, y, x] of each window at one place along z, a batch at a time."""
        waiting: list[tuple[tuple[int, int], Float32]] = []
        for place in places:
            y, x = place
            window = padded[:, z : z + patch[0], y : y + patch[1], x : x + patch[2]]
            value = self._single_value(window)
            if value is not None:
                yield place, self._of_value(value, window.shape)
                continue
            waiting.append((place, window))
            if len(waiting) >= self._network.batch:
                yield from self._of_batch(waiting)
                waiting = []
        if waiting:
            yield from self._of_batch(waiting)

    def _single_value(self, window: Float32) -> float | None:
        highest = float(window.max())
        if self._empty_below is not None and highest <= self._empty_below:
            return self._empty_below
        return highest if float(window.min()) == highest else None

    def _of_value(self, value: float, shape: tuple[int, ...]) -> torch.Tensor:
        if self._constant is None or self._constant[0] != value:
            self._constant = (value, self._run(torch.full((1, *shape), value))[0])
        return self._constant[1]

    def _of_batch(self, batch: list[tuple[tuple[int, int], Float32]]) -> Iterator[tuple[tuple[int, int], torch.Tensor]]:
        scores = self._run(torch.from_numpy(np.stack([window for _, window in batch])))
        yield from zip((place for place, _ in batch), scores, strict=True)

    def _run(self, windows: torch.Tensor) -> torch.Tensor:
        total = self._network(windows)
        for axes in self._flips:
            dims = [axis + 2 for axis in axes]
            total = total + self._network(windows.flip(dims)).flip(dims)
        return total / (len(self._flips) + 1) if self._flips else total


def _padded(array: Float32, patch: Size, fill: float) -> tuple[Float32, tuple[slice, slice, slice]]:
    """[c, z, y, x] at least as large as the window, and where the volume lies in it (centred)."""
    with_channels = array[None] if array.ndim == 3 else array
    sizes = with_channels.shape[1:]
    before = [max(0, p - n) // 2 for n, p in zip(sizes, patch, strict=True)]
    after = [max(0, p - n) - b for n, p, b in zip(sizes, patch, before, strict=True)]
    z, y, x = (slice(b, b + n) for b, n in zip(before, sizes, strict=True))
    if any(before) or any(after):
        widths = [(0, 0), *zip(before, after, strict=True)]
        with_channels = np.pad(with_channels, widths, constant_values=fill)
    return with_channels, (z, y, x)
