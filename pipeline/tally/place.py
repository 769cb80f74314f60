"""Where a lesion lies: its levels by overlap, and the parts of the vertebra."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.grid import Grid
from pipeline.masks import BODY, POSTERIOR, LevelMask
from pipeline.regions import Region
from schemas.spine import OUTSIDE, craniocaudal_rank, level_name

BOTH_SHARE = 0.1
"""A part of the vertebra counts for the compartment from this share of the voxels that lie in either part."""


@dataclass(frozen=True)
class Place:
    """How a lesion's voxels fall on the levels."""

    n_voxels: int
    """Its voxels."""
    by_level: tuple[tuple[int, int], ...]
    """(level, voxels) by falling share, of equals the one nearer the head; without what lies outside."""
    body: int | None
    """Its voxels in any vertebral body; None where the parts are not told apart."""
    posterior: int | None
    """Its voxels in posterior elements."""
    body_of_primary: int | None
    """Its voxels in the body of its first level."""

    @property
    def primary(self) -> int:
        """The level with the largest share; 0 outside all."""
        return self.by_level[0][0] if self.by_level else 0

    @property
    def outside(self) -> int:
        """Its voxels outside all levels."""
        return self.n_voxels - sum(voxels for _, voxels in self.by_level)


def place_of(region: Region, levels: LevelMask) -> Place:
    """How a lesion lies on the levels of the same grid."""
    numbers = levels.levels[region.box][region.mask]
    counts = np.bincount(numbers)
    present = [(int(n), int(counts[n])) for n in np.flatnonzero(counts) if n > 0]
    by_level = tuple(sorted(present, key=lambda item: (-item[1], craniocaudal_rank(item[0]))))
    if levels.parts is None:
        return Place(region.n_voxels, by_level, None, None, None)
    parts = levels.parts[region.box][region.mask]
    in_body = parts == BODY
    primary = by_level[0][0] if by_level else 0
    return Place(
        n_voxels=region.n_voxels,
        by_level=by_level,
        body=int(np.count_nonzero(in_body)),
        posterior=int(np.count_nonzero(parts == POSTERIOR)),
        body_of_primary=int(np.count_nonzero(in_body & (numbers == primary))) if primary else None,
    )


def place_columns(place: Place, body_voxels: dict[int, int]) -> dict[str, object]:
    """The columns on a lesion's place.

    Args:
        place: How it lies on the levels.
        body_voxels: Voxels of each level's body; empty where the parts are not told apart.
    """
    columns: dict[str, object] = {"level": level_name(place.primary) if place.primary else OUTSIDE}
    for name, (number, voxels) in zip(("level", "level2"), place.by_level[:2], strict=False):
        columns |= {name: level_name(number), f"{name}_fraction": voxels / place.n_voxels}
    if place.body is None or place.posterior is None:
        return columns
    columns["body_fraction"] = place.body / place.n_voxels
    columns["compartment"] = _compartment(place.body, place.posterior)
    of_body = body_voxels.get(place.primary, 0)
    if place.body_of_primary is not None and of_body:
        columns["involved_body_fraction"] = place.body_of_primary / of_body
    return columns


def level_at(levels: LevelMask, grid: Grid, candidate: dict[str, object]) -> str:
    """The level of a candidate, of which only centroid and box are known: that at its centroid, else the one that fills
    most of its box, else `none`.
    """
    centroid, bbox = candidate.get("centroid_mm"), candidate.get("bbox")
    if centroid is not None:
        z, y, x = np.rint(grid.to_index(np.asarray(centroid, dtype=np.float64))).astype(int)
        if all(0 <= i < n for i, n in zip((z, y, x), grid.shape, strict=True)) and levels.levels[z, y, x]:
            return level_name(int(levels.levels[z, y, x]))
    if bbox is not None:
        low, high = np.reshape(np.asarray(bbox, dtype=np.int64), (2, 3))
        return _commonest(levels.levels[low[0] : high[0], low[1] : high[1], low[2] : high[2]])
    return OUTSIDE


def _commonest(numbers: npt.NDArray[np.uint16]) -> str:
    counts = np.bincount(numbers[numbers > 0])
    return level_name(int(counts.argmax())) if counts.size else OUTSIDE


def _compartment(body: int, posterior: int) -> str | None:
    within = body + posterior
    if not within:
        return None
    if min(body, posterior) >= BOTH_SHARE * within:
        return "both"
    return "body" if body > posterior else "posterior"
