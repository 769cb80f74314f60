"""From a scan's grid to a model's and back: axes in another order, reversed, and with another spacing.

A model's grid keeps the lines along which the scan's axes run, so an oblique scan stays oblique, nothing is rotated,
and resampling goes axis by axis.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.engine.axis_map import AxisMap, Kind, resample_axes
from pipeline.engine.axis_map import Float32 as Float32
from pipeline.grid import Grid, Triple

Voxels = npt.NDArray[np.generic]
T = TypeVar("T")

_AXIS_OF = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
"""A direction's letter to its axis in LPS and its sign."""


@dataclass(frozen=True)
class Alignment:
    """How the axes of a target grid lie on those of a source grid."""

    axes: tuple[int, int, int]
    """The source's array axis along which each array axis of the target runs."""
    flipped: tuple[bool, bool, bool]
    """Whether it runs the other way."""
    maps: tuple[AxisMap, AxisMap, AxisMap]
    """For each array axis of the target, from the source's view (see `view`) to the target."""

    def view(self, array: Voxels) -> Voxels:
        """An array [z, y, x] of the source with its axes in the target's order and sense; nothing is copied."""
        ordered = np.transpose(array, self.axes)
        return ordered[tuple(slice(None, None, -1 if flip else None) for flip in self.flipped)]


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
        letters[column] = ("LPS" if grid.matrix[lps_axis, column] > 0 else "RAI")[lps_axis]
    return "".join(letters)


def model_grid(
    source: Grid, *, spacing_mm: Triple | None = None, orientation: str = "LPS", centres: bool = False
) -> Grid:
    """The grid that a model asks for, over the same field of view.

    Args:
        source: grid of the scan.
        spacing_mm: distance along z, y, x of the model's grid; None keeps the scan's own.
        orientation: anatomical directions in which its indices i, j, k grow.
        centres: lay the centre of its first voxel on that of the scan, not the outer corner, as MONAI's `Spacing`.

    Returns:
        A grid with the scan's axes, the spacing exactly as asked, the outer corner of its first voxel where that of
        the scan lies, and as many voxels as come nearest to the field of view.
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
    spacing = own if spacing_mm is None else np.asarray(spacing_mm, dtype=np.float64)[::-1]
    steps = own * (count - 1) if centres else own * count - spacing
    shape = np.maximum(1, np.floor(steps / spacing + 1.5))
    centre = source.to_lps((np.asarray(source.shape) - 1) / 2)
    origin = centre - direction @ (steps / 2)
    shape_zyx, spacing_zyx = _triple(shape[::-1], int), _triple(spacing[::-1], float)
    return Grid(shape_zyx, spacing_zyx, _triple(origin, float), tuple(direction.ravel().tolist()))


def align(source: Grid, target: Grid, kind: Kind = "linear") -> Alignment:
    """How the axes of `target` lie on those of `source`.

    Raises:
        ValueError: their axes do not run along the same lines.
    """
    step = (np.linalg.inv(source.matrix) @ target.matrix)[::-1, ::-1]
    axes = np.argmax(np.abs(step), axis=0)
    scale = step[axes, np.arange(3)]
    if len(set(axes.tolist())) < 3 or np.abs(np.abs(step).sum(axis=0) / np.abs(scale) - 1).max() > 1e-3:
        raise ValueError("the axes of the two grids do not run along the same lines; reorient one of them first")
    counts = np.asarray(source.shape)[axes]
    start = source.to_index(target.origin_mm)[axes]
    offset = np.where(scale < 0, counts - 1 - start, start)
    x = [AxisMap(int(counts[a]), target.shape[a], abs(float(scale[a])), float(offset[a]), kind) for a in range(3)]
    return Alignment(_triple(axes, int), _triple(scale < 0, bool), (x[0], x[1], x[2]))


def resample_image(voxels: Voxels, source: Grid, target: Grid, *, smooth: bool = False) -> Float32:
    """Values [z, y, x] of an image on another grid, by linear interpolation; outside, the nearest face counts.

    Args:
        voxels: [z, y, x] of `source`, any numeric type.
        source: where they lie.
        target: a grid along the same axes, such as one of `model_grid`; with the two exchanged it is the way back.
        smooth: average over what a coarser voxel covers, instead of taking the value at its centre.

    Raises:
        ValueError: the axes of the grids do not run along the same lines.
    """
    alignment = align(source, target, "smooth" if smooth else "linear")
    return resample_axes(alignment.view(voxels), alignment.maps)


def nearest_labels(labels: Voxels, source: Grid, target: Grid) -> Voxels:
    """Labels [z, y, x] on another grid along the same axes: each voxel takes the nearest one; outside is 0.

    Raises:
        ValueError: the axes of the grids do not run along the same lines.
    """
    alignment = align(source, target)
    result = np.zeros(target.shape, dtype=labels.dtype)
    inside, picked = [], []
    for one in alignment.maps:
        index = np.floor(one.scale * np.arange(one.n_target) + one.offset + 0.5).astype(int)
        within = (index >= 0) & (index < one.n_source)
        inside.append(np.flatnonzero(within))
        picked.append(index[within])
    result[np.ix_(*inside)] = alignment.view(labels)[np.ix_(*picked)]
    return result


def _columns_of_patient_axes(grid: Grid) -> tuple[int, ...]:
    """For L, P, S the image axis (0 i, 1 j, 2 k) that runs nearest to it, each axis used once."""
    cosines = np.abs(np.reshape(grid.direction, (3, 3)))
    return max(itertools.permutations(range(3)), key=lambda columns: cosines[[0, 1, 2], columns].sum())


def _triple(values: npt.ArrayLike, kind: Callable[[Any], T]) -> tuple[T, T, T]:
    first, second, third = np.asarray(values).tolist()
    return kind(first), kind(second), kind(third)
