"""Linear resampling between grids whose axes run along the same lines: reorient, then one small matrix per axis.

A model's grid is the scan's own with its axes in another order, reversed, and with another spacing; an oblique scan
stays oblique. Resampling is then separable: along one axis it is a matrix [n_target, n_source], and a volume is
resampled by three products of matrices, slab by slab, so that beside the result only a few slices are in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from pipeline.grid import Grid, Triple

Voxels = npt.NDArray[np.generic]
Float32 = npt.NDArray[np.float32]

T = TypeVar("T")

_AXIS_OF = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
"""A direction's letter to its axis in LPS and its sign."""

_SLAB_VALUES = 24_000_000
"""Source voxels converted to float32 at a time."""


@dataclass(frozen=True)
class Alignment:
    """How the axes of a target grid lie on those of a source grid; all in array order z, y, x of the target."""

    axes: tuple[int, int, int]
    """The source's array axis along which each axis of the target runs."""
    flipped: tuple[bool, bool, bool]
    """Whether it runs the other way."""
    scale: Triple
    """Steps of the source in one step of the target, positive."""
    offset: Triple
    """Index in the source's view (see `view`) of the target's index 0."""

    def view(self, array: Voxels) -> Voxels:
        """An array [z, y, x] of the source with its axes in the target's order and sense; nothing is copied."""
        ordered = np.transpose(array, self.axes)
        return ordered[tuple(slice(None, None, -1 if flip else None) for flip in self.flipped)]

    def source_positions(self, axis: int, n_target: int) -> npt.NDArray[np.float64]:
        """(n_target,) fractional indices in the source's view for the target's indices along an axis."""
        return np.arange(n_target, dtype=np.float64) * self.scale[axis] + self.offset[axis]

    def target_positions(self, axis: int, n_source: int) -> npt.NDArray[np.float64]:
        """(n_source,) fractional indices in the target for the indices of the source's view along an axis."""
        return (np.arange(n_source, dtype=np.float64) - self.offset[axis]) / self.scale[axis]


def check_orientation(orientation: str) -> str:
    """The orientation itself, where it names three different axes such as LPS or RAI.

    Raises:
        ValueError: it does not.
    """
    if len(orientation) != 3 or {_AXIS_OF.get(letter, (None,))[0] for letter in orientation} != {0, 1, 2}:
        raise ValueError(
            f"orientation {orientation!r} does not name three axes: one letter of L R, one of P A and one of S I "
            "are allowed, in the order of the indices i, j, k, such as 'LPS'"
        )
    return orientation


def oriented_as(grid: Grid) -> str:
    """The anatomical directions nearest to the growing indices i, j, k of a grid, such as LPS."""
    letters = [""] * 3
    for lps_axis, column in enumerate(_columns_of_patient_axes(grid)):
        positive = grid.matrix[lps_axis, column] > 0
        letters[column] = "LPS"[lps_axis] if positive else "RAI"[lps_axis]
    return "".join(letters)


def model_grid(source: Grid, *, spacing_mm: Triple | None = None, orientation: str = "LPS") -> Grid:
    """The grid that a model asks for, over the same field of view.

    Args:
        source: grid of the scan.
        spacing_mm: distance along z, y, x of the model's grid; None keeps the scan's own.
        orientation: anatomical directions in which its indices i, j, k grow.

    Returns:
        A grid with the scan's axes (an oblique scan stays oblique), the spacing exactly as asked, the field of view's
        centre where it was, and as many voxels as come nearest to the field of view.
    """
    columns = _columns_of_patient_axes(source)
    picked, signs = [], []
    for letter in check_orientation(orientation):
        lps_axis, sign = _AXIS_OF[letter]
        picked.append(columns[lps_axis])
        signs.append(sign if source.matrix[lps_axis, columns[lps_axis]] > 0 else -sign)
    direction = np.reshape(source.direction, (3, 3))[:, picked] * signs
    own = np.asarray(source.spacing_mm)[::-1][picked]
    count = np.asarray(source.shape)[::-1][picked]
    spacing = own if spacing_mm is None else np.asarray(spacing_mm, dtype=float)[::-1]
    shape = np.maximum(1, np.rint(count * own / spacing)).astype(int)
    centre = source.to_lps((np.asarray(source.shape) - 1) / 2)
    origin = centre - direction @ (spacing * (shape - 1) / 2)
    return Grid(
        _triple(shape[::-1], int),
        _triple(spacing[::-1], float),
        _triple(origin, float),
        tuple(direction.ravel().tolist()),
    )


def align(source: Grid, target: Grid) -> Alignment:
    """How the axes of `target` lie on those of `source`.

    Raises:
        ValueError: their axes do not run along the same lines.
    """
    step = (np.linalg.inv(source.matrix) @ target.matrix)[::-1, ::-1]
    start = source.to_index(target.origin_mm)
    axes = np.argmax(np.abs(step), axis=0)
    scale = step[axes, np.arange(3)]
    if len(set(axes.tolist())) < 3 or np.abs(np.abs(step).sum(axis=0) / np.abs(scale) - 1).max() > 1e-3:
        raise ValueError("the axes of the two grids do not run along the same lines; reorient one of them first")
    flipped = scale < 0
    offset = np.where(flipped, np.asarray(source.shape)[axes] - 1 - start[axes], start[axes])
    return Alignment(_triple(axes, int), _triple(flipped, bool), _triple(np.abs(scale), float), _triple(offset, float))


def axis_matrix(positions: npt.ArrayLike, n_source: int, *, width: float = 1.0) -> Float32:
    """(n_target, n_source) weights of linear interpolation at fractional indices; beyond the ends, the end counts.

    Args:
        positions: (n_target,) fractional indices.
        n_source: values along the axis.
        width: half the base of the triangle; above 1 it averages over what a coarser grid covers (no aliasing).
    """
    place = np.clip(np.asarray(positions, dtype=np.float64), 0, n_source - 1)
    distance = np.abs(place[:, None] - np.arange(n_source)[None, :])
    weights = np.maximum(0.0, 1.0 - distance / max(1.0, width))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


def resample_image(voxels: Voxels, source: Grid, target: Grid, *, smooth: bool = False) -> Float32:
    """Values [z, y, x] of an image on another grid, by linear interpolation; outside, the nearest face counts.

    Args:
        voxels: [z, y, x] of `source`, any numeric type.
        source: where they lie.
        target: a grid along the same axes, such as one of `model_grid`.
        smooth: average over what a coarser voxel covers, instead of taking the value at its centre.
    """
    alignment = align(source, target)
    view = alignment.view(voxels)
    matrices = [
        axis_matrix(alignment.source_positions(a, n), view.shape[a], width=alignment.scale[a] if smooth else 1.0)
        for a, n in enumerate(target.shape)
    ]
    return apply_matrices(view, matrices)


def resample_to_source(values: Float32, model: Grid, source: Grid) -> Float32:
    """Values [z, y, x] on a model's grid brought to the scan's grid: the way back of `resample_image`."""
    return resample_image(values, model, source)


def nearest_labels(labels: Voxels, source: Grid, target: Grid) -> Voxels:
    """Labels [z, y, x] on another grid along the same axes: each voxel takes the nearest one; outside is 0."""
    alignment = align(source, target)
    view = alignment.view(labels)
    result = np.zeros(target.shape, dtype=labels.dtype)
    inside, picked = [], []
    for axis, count in enumerate(target.shape):
        index = np.floor(alignment.source_positions(axis, count) + 0.5).astype(int)
        within = (index >= 0) & (index < view.shape[axis])
        inside.append(np.flatnonzero(within))
        picked.append(index[within])
    result[np.ix_(*inside)] = view[np.ix_(*picked)]
    return result


def apply_matrices(view: Voxels, matrices: list[Float32]) -> Float32:
    """An array [z, y, x] times a matrix [n_target, n_source] along each axis, a slab of targets at a time."""
    along_z, along_y, along_x = (torch.from_numpy(np.ascontiguousarray(m)) for m in matrices)
    result = np.empty((len(matrices[0]), len(matrices[1]), len(matrices[2])), dtype=np.float32)
    for start, stop, low, high in _slabs(matrices[0], max(1, _SLAB_VALUES // max(1, view.shape[1] * view.shape[2]))):
        slab = torch.from_numpy(np.ascontiguousarray(view[low:high], dtype=np.float32))
        slab = torch.matmul(along_y, torch.matmul(slab, along_x.T))
        weights = along_z[start:stop, low:high]
        torch.mm(weights, slab.flatten(1), out=torch.from_numpy(result[start:stop]).flatten(1))
    return result


def _slabs(along_z: Float32, max_slices: int) -> list[tuple[int, int, int, int]]:
    """(start, stop) of the target and (low, high) of the source that it needs, at most about `max_slices` of these."""
    used = along_z != 0
    low = used.argmax(axis=1)
    high = along_z.shape[1] - used[:, ::-1].argmax(axis=1)
    slabs, start = [], 0
    for stop in range(1, len(low) + 1):
        if stop == len(low) or high[stop] - low[start] > max_slices:
            slabs.append((start, stop, int(low[start]), int(high[stop - 1])))
            start = stop
    return slabs


def _columns_of_patient_axes(grid: Grid) -> tuple[int, ...]:
    """For L, P, S the image axis (0 i, 1 j, 2 k) that runs nearest to it, each axis used once."""
    cosines = np.abs(np.reshape(grid.direction, (3, 3)))
    return max(itertools.permutations(range(3)), key=lambda columns: cosines[[0, 1, 2], columns].sum())


def _triple(values: npt.ArrayLike, kind: Callable[[Any], T]) -> tuple[T, T, T]:
    first, second, third = np.asarray(values).tolist()
    return kind(first), kind(second), kind(third)
