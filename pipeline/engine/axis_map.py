"""Resampling along axes: what an axis of a target takes from an axis of a source, and three of them applied.

A resampling along one axis is a small matrix with a narrow band: of two values a row it is a mixture of two slices, of
few a weighted sum of them, of many (splines) a product of matrices. Plain linear interpolation in a plane has torch's
own way, and goes before the slices where it leaves less for them to do; other planes go after slices that become
fewer. Slabs of slices are done one after the other, so that beside the result only a few slices are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Kind = Literal["linear", "smooth", "nearest", "cubic"]

_SLAB_VALUES = 1_000_000
"""Source voxels converted to float32 at a time: 4 MB, which stay in the processor's cache for the next step. Twice as
many for splines, which reach over so many slices that neighbouring slabs share them.
"""

_NEGLIGIBLE = 1e-6
"""Weight of a spline that is left out."""

_FEW = 10
"""Slices up to which a weighted sum, one after the other, is faster than a product of matrices."""

_TAKEN = [np.dtype(kind) for kind in ("i1", "i2", "i4", "u1", "f4", "f8")]
"""Types in which torch can turn an array round."""

Pointwise = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class AxisMap:
    """Resampling along one axis: the target's index t takes its value at the source's index scale * t + offset."""

    n_source: int
    """Values along the axis of the source."""
    n_target: int
    """Values along the axis of the target."""
    scale: float
    """Steps of the source in one step of the target, positive."""
    offset: float
    """Index in the source of the target's index 0."""
    kind: Kind = "linear"
    """`smooth` averages over what a coarser voxel covers; `cubic` is the B-spline of `scipy.ndimage.zoom`, and is
    only for maps made by `stretch`."""

    @classmethod
    def stretch(cls, n_source: int, n_target: int, kind: Kind = "linear") -> AxisMap:
        """The source's extent laid exactly over the target's, as `skimage.transform.resize` and so nnU-Net have it."""
        scale = n_source / n_target
        return cls(n_source, n_target, scale, 0.5 * scale - 0.5, kind)

    @cached_property
    def positions(self) -> Floats:
        """(n_target,) fractional indices in the source; those outside are moved to the nearest end."""
        return np.clip(self.scale * np.arange(self.n_target, dtype=np.float64) + self.offset, 0, self.n_source - 1)

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self.n_source == self.n_target and abs(self.scale - 1) < 1e-6 and abs(self.offset) < 1e-4

    @property
    def is_bilinear(self) -> bool:
        """Whether it is plain linear and both begin at the same face of their first voxel, as torch has it."""
        return self.kind == "linear" and abs(self.offset - (0.5 * self.scale - 0.5)) < 1e-4

    @cached_property
    def matrix(self) -> Float32:
        """(n_target, n_source) weights, each row summing to one."""
        if self.kind == "cubic":
            zoom = (self.n_target / self.n_source, 1)
            spline = ndimage.zoom(np.eye(self.n_source), zoom, order=3, mode="nearest", grid_mode=True)
            spline[np.abs(spline) < _NEGLIGIBLE] = 0  # its reach fades by 0.27 a voxel; a band keeps slabs small
            return np.asarray(spline / spline.sum(axis=1, keepdims=True), dtype=np.float32)
        place = np.floor(self.positions + 0.5) if self.kind == "nearest" else self.positions
        width = max(1.0, self.scale) if self.kind == "smooth" else 1.0
        distance = np.abs(place[:, None] - np.arange(self.n_source)[None, :])
        weights = np.maximum(0.0, 1.0 - distance / width)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)

    def inverse(self) -> AxisMap:
        """The way back, from the target to the source."""
        return AxisMap(self.n_target, self.n_source, 1 / self.scale, -self.offset / self.scale, self.kind)


def resample_axes(
    view: npt.NDArray[np.generic], maps: Sequence[AxisMap], *, pointwise: Pointwise | None = None
) -> Float32:
    """An array [z, y, x] of any numeric type resampled by one map per axis, a slab of slices at a time.

    `pointwise` changes the values before, in float32 and slab by slab, so that no changed copy of the whole is needed.
    """
    along_z, along_y, along_x = maps
    result = torch.empty((along_z.n_target, along_y.n_target, along_x.n_target))
    values = _SLAB_VALUES * (2 if along_z.kind == "cubic" else 1)
    slices = max(1, values // max(1, view.shape[1] * view.shape[2]))
    planes_last = along_z.scale > (along_y.scale * along_x.scale if _is_bilinear(along_y, along_x) else 1)
    room = torch.empty((0, *view.shape[1:]))
    for start, stop, used in _slabs(along_z, slices):
        part = view[used]
        room = room if len(room) >= len(part) else torch.empty(part.shape)
        slab = _float32(part, room[: len(part)])
        slab = pointwise(slab) if pointwise else slab
        if all(one.is_identity for one in maps):
            result[start:stop] = slab
            continue
        weights = along_z.matrix[start:stop, used]
        if planes_last:
            result[start:stop] = resample_planes(mix_slices(slab, weights), along_y, along_x)
        else:
            mix_slices(resample_planes(slab, along_y, along_x), weights, out=result[start:stop])
    return result.numpy()


def resample_planes(planes: torch.Tensor, along_y: AxisMap, along_x: AxisMap) -> torch.Tensor:
    """[..., y, x] resampled along its last two axes, on its own device."""
    if along_y.is_identity and along_x.is_identity:
        return planes
    if _is_bilinear(along_y, along_x):
        flat = planes.reshape(1, -1, *planes.shape[-2:])
        size, scales = (along_y.n_target, along_x.n_target), (1 / along_y.scale, 1 / along_x.scale)
        flat = torch.ops.aten.upsample_bilinear2d(flat, size, False, *scales)
        return flat.reshape(*planes.shape[:-2], *size)
    matrix_y, matrix_x = (torch.from_numpy(one.matrix).to(planes.device) for one in (along_y, along_x))
    return torch.matmul(matrix_y, torch.matmul(planes, matrix_x.T))


def _is_bilinear(along_y: AxisMap, along_x: AxisMap) -> bool:
    return along_y.is_bilinear and along_x.is_bilinear


def mix_slices(planes: torch.Tensor, weights: Float32, out: torch.Tensor | None = None) -> torch.Tensor:
    """[z, y, x] to [m, y, x]: each new slice a mixture of the old ones by its row of `weights` (m, z)."""
    out = planes.new_empty((len(weights), *planes.shape[1:])) if out is None else out
    most = int(np.count_nonzero(weights, axis=1).max())
    if most <= 2:
        low, high = _ends(weights)
        share, slices = weights[np.arange(len(weights)), high].tolist(), planes.unbind()
        for mixed, a, b, of_b in zip(out.unbind(), low.tolist(), high.tolist(), share, strict=True):
            torch.lerp(slices[a], slices[b], of_b, out=mixed)
        return out
    if planes.device.type == "cpu" and most <= _FEW:
        old, product = planes.numpy(), np.empty(planes.shape[1:], dtype=np.float32)
        for new, row in zip(out.numpy(), weights, strict=True):  # numpy: threads would wait for each other at each sum
            first, *others = np.flatnonzero(row)
            np.multiply(old[first], row[first], out=new)
            for other in others:
                np.multiply(old[other], row[other], out=product)
                new += product
        return out
    matrix = torch.from_numpy(np.ascontiguousarray(weights)).to(planes.device)
    torch.mm(matrix, planes.reshape(len(planes), -1), out=out.view(len(weights), -1))
    return out


def _ends(weights: Float32) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The first and the last value that each row of weights takes."""
    taken = weights != 0
    return taken.argmax(axis=1), taken.shape[1] - 1 - taken[:, ::-1].argmax(axis=1)


def _float32(part: npt.NDArray[np.generic], room: torch.Tensor) -> torch.Tensor:
    """A copy in float32 in the room for it, made on all threads; what torch cannot take from numpy, numpy copies.

    The room is used again: memory that is new each time costs as much as what is done in it.
    """
    if part.dtype not in _TAKEN or not part.flags.writeable:
        np.copyto(room.numpy(), part, casting="unsafe")
        return room
    backwards = tuple(axis for axis, stride in enumerate(part.strides) if stride < 0)
    forwards = torch.from_numpy(np.flip(part, backwards))
    return room.copy_(forwards.flip(backwards) if backwards else forwards)


def _slabs(along_z: AxisMap, max_slices: int) -> Iterator[tuple[int, int, slice | npt.NDArray[np.intp]]]:
    """(start, stop) of the target, and the slices of the source that these use: about `max_slices` at most."""
    uses = along_z.matrix != 0
    low, last = _ends(along_z.matrix)
    high = last + 1
    start = 0
    for stop in range(1, len(low) + 1):
        if stop == len(low) or high[stop] - low[start] > max_slices:
            used = np.flatnonzero(uses[start:stop].any(axis=0))
            yield start, stop, slice(int(used[0]), int(used[-1]) + 1) if len(used) == np.ptp(used) + 1 else used
            start = stop
