"""nnU-Net's way to its grid and back, reproduced: transpose, crop to what is not 0, normalise, then resample.

Resampling stretches one array over the other (skimage's `resize`): a map per axis, which is what `AxisMap.stretch` is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from pipeline.engine.axis_map import AxisMap, Float32, Kind, Pointwise, resample_axes
from pipeline.engine.reduce import Maps
from pipeline.engine.resample import align, model_grid
from pipeline.errors import ModelError
from pipeline.grid import Volume
from pipeline.models.formats.nnunet.plans import Plan, Resampling

_ANISOTROPIC = 3.0
"""Ratio of spacings above which nnU-Net treats the coarsest axis apart."""

_KINDS: dict[int, Kind] = {0: "nearest", 1: "linear", 3: "cubic"}

View = Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Prepared:
    """A scan as the network takes it, and the way back."""

    values: Float32
    """[z, y, x] in the network's order of axes."""
    part: View
    """An array on the scan's grid to the part, in the network's order, that the network sees; nothing is copied."""
    back: Maps
    """From the network's grid to that part."""


def prepare(volume: Volume, plan: Plan) -> Prepared:
    """A scan on the network's grid."""
    as_read, spacing = _as_read(volume, plan)
    box = _not_zero(as_read(volume.voxels))
    seen = as_read(volume.voxels)[box]
    shape = [max(1, round(n * own / s)) for n, own, s in zip(seen.shape, spacing, plan.spacing, strict=True)]
    forth = _maps(seen.shape, tuple(shape), plan.image, spacing, plan.spacing)
    back = _maps(tuple(shape), seen.shape, plan.scores, plan.spacing, spacing)
    values = _clipped(*_normaliser(seen, plan), forth)
    return Prepared(values, lambda array: as_read(array)[box], back)


def _as_read(volume: Volume, plan: Plan) -> tuple[View, tuple[float, ...]]:
    """Arrays in the order of axes that the network was trained in, and the spacing along these."""
    if not plan.reorients:
        spacing = tuple(volume.grid.spacing_mm[i] for i in plan.transpose)
        return (lambda array: np.transpose(array, plan.transpose)), spacing
    grid = model_grid(volume.grid, orientation="RAS")
    alignment = align(volume.grid, grid)
    spacing = tuple(grid.spacing_mm[i] for i in plan.transpose)
    return (lambda array: np.transpose(alignment.view(array), plan.transpose)), spacing


def _not_zero(view: npt.NDArray[np.generic]) -> tuple[slice, ...]:
    """The box around what is not 0; all of it where everything is."""
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero((view != 0).any(axis=others))
        if not found.size:
            return (slice(None),) * 3
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _normaliser(seen: npt.NDArray[np.generic], plan: Plan) -> tuple[npt.NDArray[np.generic], Pointwise | None]:
    """What is left to resample, and the change of each value before that."""
    if plan.normalisation == "NoNormalization":
        return seen, None
    if plan.normalisation == "CTNormalization":
        try:
            low, high = plan.intensity["percentile_00_5"], plan.intensity["percentile_99_5"]
            mean, deviation = plan.intensity["mean"], max(plan.intensity["std"], 1e-8)
        except KeyError as failure:
            raise ModelError(f"nnU-Net's plans.json lacks {failure} of the training's intensities") from failure
        return seen, lambda values: values.clamp_(low, high).sub_(mean).div_(deviation)
    if plan.normalisation == "RescaleTo01Normalization":
        low, high = float(seen.min()), float(seen.max())
        return seen, lambda values: values.sub_(low).div_(max(high - low, 1e-8))
    if not plan.inside_mask:
        mean, deviation = float(seen.mean(dtype=np.float64)), max(float(seen.std(dtype=np.float64)), 1e-8)
        return seen, lambda values: values.sub_(mean).div_(deviation)
    values, inside = seen.astype(np.float32), ndimage.binary_fill_holes(seen != 0)
    chosen = values[inside]
    values[inside] = (chosen - chosen.mean(dtype=np.float64)) / max(float(chosen.std(dtype=np.float64)), 1e-8)
    return values, None


def _clipped(values: npt.NDArray[np.generic], pointwise: Pointwise | None, maps: Maps) -> Float32:
    """Resampled, and kept in the range of what went in, slice by slice where slices are resampled apart."""
    result = resample_axes(values, maps, pointwise=pointwise)
    apart = [axis for axis in range(3) if maps[axis].kind == "nearest"]
    if all(one.kind != "cubic" for one in maps):
        return result
    others = tuple(axis for axis in range(3) if axis not in apart)
    ends = np.stack([values.min(axis=others, keepdims=True), values.max(axis=others, keepdims=True)]).astype(np.float32)
    ends = np.sort(pointwise(torch.from_numpy(ends)).numpy(), axis=0) if pointwise else ends
    for axis in apart:
        ends = np.take(ends, np.floor(maps[axis].positions + 0.5).astype(int), axis=axis + 1)
    clipped: Float32 = np.clip(result, ends[0], ends[1], out=result)
    return clipped


def _maps(
    source: tuple[int, ...], target: tuple[int, ...], how: Resampling, now: tuple[float, ...], then: tuple[float, ...]
) -> Maps:
    """A map per axis; along the axis of thick slices with `order_z`, where those are resampled apart."""
    apart = None if source == target else _axis_apart(how.separate_z, now, then)
    z, y, x = (
        AxisMap.stretch(source[axis], target[axis], _KINDS[how.order_z if axis == apart else how.order])
        for axis in range(3)
    )
    return z, y, x


def _axis_apart(forced: bool | None, now: tuple[float, ...], then: tuple[float, ...]) -> int | None:
    """The axis resampled apart: the single coarsest one, where it is much coarser than the finest; else None."""
    if forced is False:
        return None
    for spacing in (now, then):
        if forced or max(spacing) / min(spacing) > _ANISOTROPIC:
            coarsest = [axis for axis in range(3) if spacing[axis] == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None
