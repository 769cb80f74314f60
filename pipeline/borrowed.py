"""Levels of the spine taken from another scan of the same study, such as the CT of a PET/CT."""

from __future__ import annotations

import numpy as np
import zarr
from scipy import ndimage

from pipeline.errors import ScanError
from pipeline.grid import Grid
from pipeline.masks import LevelMask
from pipeline.store import Store, service_errors
from pipeline.volumes import ATTRIBUTE, grid_of
from schemas.reasons import Reason
from schemas.spine import is_named


def borrowed_levels(store: Store, labels_uri: str | None, *, onto: Grid) -> LevelMask:
    """The level mask of another scan, brought onto this scan's grid by the nearest voxel.

    Args:
        store: holds the masks.
        labels_uri: of the other scan; the caller has checked that both share a frame of reference.
        onto: grid of this scan.

    Raises:
        ScanError: there is no such scan, or its levels lie elsewhere.
    """
    if labels_uri is None:
        raise ScanError(
            Reason.MASK_MISSING,
            "the recipe takes levels from another scan of the study, and none with this frame of reference has levels",
        )
    with service_errors("reading masks"):
        group = zarr.open_group(store.zarr(labels_uri), mode="r")
        levels = np.asarray(group["levels"][...])  # type: ignore[index]
    source = grid_of(group.attrs[ATTRIBUTE], levels.shape)
    affine = np.linalg.inv(_zyx(source)) @ _zyx(onto)
    placed = ndimage.affine_transform(
        levels, affine[:3, :3], affine[:3, 3], output_shape=onto.shape, order=0, mode="constant", cval=0
    )
    if levels.any() and not placed.any():
        raise ScanError(Reason.MASK_GRID, "the levels of the other scan lie outside this one: check the registration")
    named = any(is_named(int(number)) for number in np.unique(placed) if number)
    return LevelMask(placed.astype(np.uint16), anchor="borrowed" if named else None)


def _zyx(grid: Grid) -> np.ndarray:
    """4 x 4: array index (z, y, x, 1) to LPS."""
    affine = grid.affine
    return np.column_stack([affine[:, 2], affine[:, 1], affine[:, 0], affine[:, 3]])
