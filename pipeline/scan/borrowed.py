"""Levels of the spine taken from another scan of the same study, such as the CT of a PET/CT."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import DamagedError, ScanError
from pipeline.grid import Grid
from pipeline.masks import LevelMask
from pipeline.store import Store
from pipeline.store.volumes import read_stored_masks
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
    try:
        stored = read_stored_masks(store, labels_uri)
    except DamagedError:
        raise ScanError(Reason.MASK_MISSING, "the levels of the other scan are damaged in the store") from None
    if stored.levels is None or stored.grid is None:
        raise ScanError(Reason.MASK_MISSING, "the other scan of the study has no levels")
    affine = np.linalg.inv(_zyx(stored.grid)) @ _zyx(onto)
    placed = _placed(stored.levels, affine, onto)
    parts = None if stored.parts is None else _placed(stored.parts, affine, onto)
    if stored.levels.any() and not placed.any():
        raise ScanError(Reason.MASK_GRID, "the levels of the other scan lie outside this one: check the registration")
    named = any(is_named(int(number)) for number in np.unique(placed) if number)
    return LevelMask(placed, parts, anchor="borrowed" if named else None)


def _placed(mask: npt.NDArray[Any], affine: npt.NDArray[np.float64], onto: Grid) -> npt.NDArray[Any]:
    """A mask [z, y, x] on another grid, by the nearest voxel."""
    return ndimage.affine_transform(
        mask, affine[:3, :3], affine[:3, 3], output_shape=onto.shape, order=0, mode="constant", cval=0
    )


def _zyx(grid: Grid) -> np.ndarray:
    """4 x 4: array index (z, y, x, 1) to LPS."""
    affine = grid.affine
    return np.column_stack([affine[:, 2], affine[:, 1], affine[:, 0], affine[:, 3]])
