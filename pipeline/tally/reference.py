"""Normal bone of the scan, which lesions are compared with: the eroded interior of vertebrae without lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.grid import Grid, Volume
from pipeline.masks import BODY, LevelMask
from pipeline.regions import Bools, Labels, Region
from schemas.spine import level_name

EROSION_MM = 3.0
"""Depth below the surface of a vertebra from which bone counts as trabecular: cortex and partial volume stay out."""

METAL_HU = 3000.0
"""Values above are metal; a vertebra that holds some is no reference."""

MIN_VOXELS = 10
"""Fewer voxels of eroded interior say nothing."""

NOT_REFERENCE = ("SACRUM", "COCCYX")
"""Their bone is another than that of the vertebrae above."""

_AT_ONCE = 4_000_000
"""Voxels copied at a time while a mask is eroded."""

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Reference:
    """What is normal in this scan."""

    median: float
    """Median of the stored values of normal trabecular bone, in the volume's unit."""
    mad: float
    """Their median absolute deviation, unscaled, in the same unit."""


@dataclass(frozen=True)
class Interior:
    """The eroded interior of one vertebra, without lesions."""

    number: int
    """Its level in the mask."""
    values: Values
    """Stored values of its voxels; may be empty."""
    is_normal: bool
    """Whether it holds no lesion and no metal and its bone is comparable."""

    @property
    def median(self) -> float | None:
        """Median of its values; None where there are too few."""
        return float(np.median(self.values)) if self.values.size >= MIN_VOXELS else None


def interior_of(
    region: Region, *, volume: Volume, levels: LevelMask, lesions: Labels | None, metal_above: float | None
) -> Interior:
    """The eroded interior of one vertebra: of its body where the parts are known, else of the whole.

    `metal_above` is None where the unit has no known value for metal.
    """
    values: Values = volume.voxels[region.box]
    affected = lesions is not None and bool((lesions[region.box][region.mask] > 0).any())
    has_metal = metal_above is not None and bool((values[region.mask] > metal_above).any())
    inner = _body(region, levels)
    erode(inner, volume.grid)
    if lesions is not None:
        inner &= lesions[region.box] == 0
    kept = finite(values[inner])
    comparable = level_name(region.label) not in NOT_REFERENCE and kept.size >= MIN_VOXELS
    return Interior(region.label, kept, comparable and not affected and not has_metal)


def pooled(interiors: list[Interior]) -> Reference | None:
    """Median and deviation over all normal vertebrae together; None where there is none."""
    normal = [interior.values for interior in interiors if interior.is_normal]
    if not normal:
        return None
    values = np.concatenate(normal).astype(np.float64)
    median = float(np.median(values))
    return Reference(median, float(np.median(np.abs(values - median))))


def erode(mask: Bools, grid: Grid) -> None:
    """Take `EROSION_MM` off a mask along each voxel axis, in whole voxels and in place; beyond its crop is outside."""
    for axis in range(3):
        steps = round(EROSION_MM / grid.spacing_mm[axis]) if grid.shape[axis] > 1 else 0
        across = int(axis == 0)
        for part in np.array_split(mask, -(-mask.size // _AT_ONCE), axis=across) if steps else ():
            _erode_along(np.moveaxis(part, axis, 0), steps)


def _erode_along(kept: Bools, steps: int) -> None:
    before = kept.copy(order="K")  # as it lies in memory: across it, each step would take ten times as long
    for step in range(1, min(steps, len(before)) + 1):
        kept[step:] &= before[:-step]
        kept[:step] = False
        kept[:-step] &= before[step:]
        kept[-step:] = False


def finite(values: Values) -> Values:
    """The values that are numbers; whole numbers always are."""
    return values if np.issubdtype(values.dtype, np.integer) else values[np.isfinite(values)]


def _body(region: Region, levels: LevelMask) -> Bools:
    if levels.parts is None:
        return region.mask
    body = region.mask & (levels.parts[region.box] == BODY)
    return body if body.any() else region.mask
