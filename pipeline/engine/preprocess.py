"""A volume on the grid and in the units that a model asks for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.engine.axis_map import Float32
from pipeline.engine.resample import model_grid, resample_image
from pipeline.errors import ModelError
from pipeline.grid import Grid, Volume
from schemas.model import Intensity, ModelSpec

Box = tuple[slice, slice, slice]


def prepare(volume: Volume, spec: ModelSpec) -> tuple[Float32, Grid]:
    """Voxels [z, y, x] as the model's network expects them, and the grid on which they lie.

    `options` of the spec: `grid: centres` lays the grid as MONAI's `Spacing` does, on the centre of the scan's first
    voxel and not its corner; `smooth: true` averages over what a coarser voxel covers.

    Raises:
        ModelError: the option `grid` is neither of the two.
    """
    laid = spec.options.get("grid", "corners")
    if laid not in ("corners", "centres"):
        raise ModelError(f"model {spec.name!r}: option grid is {laid!r}; allowed are corners and centres")
    target = model_grid(
        volume.grid, spacing_mm=spec.spacing_mm, orientation=spec.orientation, centres=laid == "centres"
    )
    values = resample_image(volume.voxels, volume.grid, target, smooth=bool(spec.options.get("smooth", False)))
    return normalise(values, spec.intensity), target


def normalise(values: Float32, intensity: Intensity) -> Float32:
    """Clip, subtract and divide, then standardise where the model asks for it; changes `values` and returns it."""
    if intensity.clip is not None:
        np.clip(values, *intensity.clip, out=values)
    values -= np.float32(intensity.subtract)
    values /= np.float32(intensity.divide)
    if intensity.per_scan != "none":
        chosen = values[values != 0] if intensity.per_scan == "zscore_nonzero" else values
        mean, deviation = (float(chosen.mean(dtype=float)), float(chosen.std(dtype=float))) if chosen.size else (0, 1)
        np.subtract(values, mean, out=values, where=True if intensity.per_scan == "zscore" else values != 0)
        values /= max(deviation, 1e-8)
    return values


def box_around(mask: npt.NDArray[np.generic], grid: Grid, *, margin_mm: float) -> Box | None:
    """The smallest box of array indices around a mask's voxels that are not 0, widened by a margin; None if all are."""
    slices = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(mask.any(axis=others))
        if not found.size:
            return None
        extra = int(np.ceil(margin_mm / grid.spacing_mm[axis]))
        slices.append(slice(max(0, int(found[0]) - extra), min(mask.shape[axis], int(found[-1]) + 1 + extra)))
    return slices[0], slices[1], slices[2]


def crop(volume: Volume, box: Box) -> Volume:
    """The part of a volume in a box of array indices; a view, nothing is copied."""
    start = [part.indices(size)[0] for part, size in zip(box, volume.grid.shape, strict=True)]
    voxels = volume.voxels[box]
    z, y, x = voxels.shape
    left, back, up = volume.grid.to_lps(start).tolist()
    grid = Grid((z, y, x), volume.grid.spacing_mm, (left, back, up), volume.grid.direction)
    return Volume(voxels, grid)
