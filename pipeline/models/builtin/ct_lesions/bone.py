"""The bone that is looked at: HU, levels and depths on an isotropic grid around the vertebrae."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.engine.preprocess import Box, box_around, crop
from pipeline.engine.resample import model_grid, nearest_labels, resample_image
from pipeline.grid import Grid, Volume
from pipeline.masks import POSTERIOR, LevelMask
from schemas.spine import BY_NAME

STEP_MM = 1.5
"""Edge of the working grid's voxels."""
BODY_KIND, POSTERIOR_KIND, SACRUM_KIND = 1, 2, 3
KINDS = (BODY_KIND, POSTERIOR_KIND, SACRUM_KIND)

_MARGIN_MM = 4.0
_CLOSE_MM = 6.0

Field = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Bone:
    """What the detector works on; arrays are [z, y, x] on `grid`, z from foot to head."""

    grid: Grid
    """Isotropic, `STEP_MM`, around the vertebrae."""
    hu: Field
    """CT values."""
    levels: npt.NDArray[np.uint16]
    """Level numbers."""
    kind: npt.NDArray[np.uint8]
    """`BODY_KIND`, `POSTERIOR_KIND`, `SACRUM_KIND`, 0 outside."""
    depth: Field
    """Distance to the surface of the bone, mm, positive inside."""
    endplate: Field
    """Distance to the surface along the body's axis, mm, positive inside."""
    box: Box
    """Where the grid lies in the scan."""

    @cached_property
    def inside(self) -> npt.NDArray[np.bool_]:
        """All bone."""
        return self.kind > 0


def lay_out(volume: Volume, within: LevelMask) -> Bone | None:
    """Bone on the working grid; None where the mask holds no vertebra."""
    box = box_around(within.levels, volume.grid, margin_mm=_MARGIN_MM)
    if box is None:
        return None
    part = crop(volume, box)
    grid = model_grid(part.grid, spacing_mm=(STEP_MM,) * 3, orientation="LPS")
    levels = nearest_labels(within.levels[box], part.grid, grid).astype(np.uint16)
    parts = None if within.parts is None else nearest_labels(within.parts[box], part.grid, grid)
    kind = _kinds(levels, parts)
    _close_bodies(levels, kind)
    return Bone(
        grid=grid,
        hu=resample_image(part.voxels, part.grid, grid, smooth=True),
        levels=levels,
        kind=kind,
        depth=_depth(kind > 0, (STEP_MM,) * 3),
        endplate=_depth(kind > 0, (STEP_MM, 400.0, 400.0)),
        box=box,
    )


def _kinds(levels: npt.NDArray[np.uint16], parts: npt.NDArray[np.generic] | None) -> npt.NDArray[np.uint8]:
    kind = np.where(levels > 0, BODY_KIND, 0).astype(np.uint8)
    if parts is not None:
        kind[(parts == POSTERIOR) & (levels > 0)] = POSTERIOR_KIND
    kind[levels == BY_NAME["SACRUM"].number] = SACRUM_KIND
    return kind


def _close_bodies(levels: npt.NDArray[np.uint16], kind: npt.NDArray[np.uint8]) -> None:
    """Fill dents and holes of each body in place: a lytic lesion is often missing from the mask of its vertebra."""
    reach = round(_CLOSE_MM / STEP_MM)
    ball = sum(axis**2 for axis in np.mgrid[-reach : reach + 1, -reach : reach + 1, -reach : reach + 1]) <= reach**2
    for number, box in enumerate(ndimage.find_objects(levels), start=1):
        if box is None or number == BY_NAME["SACRUM"].number:
            continue
        own = np.pad((levels[box] == number) & (kind[box] == BODY_KIND), reach)
        closed = ndimage.binary_fill_holes(ndimage.binary_closing(own, ball))
        added = closed[reach:-reach, reach:-reach, reach:-reach] & (levels[box] == 0)
        levels[box][added] = number
        kind[box][added] = BODY_KIND


def _depth(inside: npt.NDArray[np.bool_], spacing: tuple[float, float, float]) -> Field:
    """Distance from a voxel's middle to the surface, in mm; the volume's faces are no surface."""
    distance = ndimage.distance_transform_edt(inside, sampling=spacing)
    return np.maximum(np.asarray(distance, dtype=np.float32) - STEP_MM / 2, 0)
