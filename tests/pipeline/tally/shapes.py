"""Small scans whose measures are known."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import numpy.typing as npt

from pipeline.grid import Grid, Triple, Volume
from pipeline.masks import BODY, POSTERIOR, LesionMask, LevelMask
from pipeline.tally import tally_scan
from schemas.config import TypeRule
from schemas.spine import level_number

Bools = npt.NDArray[np.bool_]
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
ORIENTATIONS = [
    tuple(float(sign[row]) if order[row] == column else 0.0 for row in range(3) for column in range(3))
    for order in permutations(range(3))
    for sign in product((1, -1), repeat=3)
]
"""Every way to lay three voxel axes along those of the patient, mirrored ones included."""


def grid_of(
    shape: tuple[int, int, int],
    spacing_mm: Triple = (1.0, 1.0, 1.0),
    direction: tuple[float, ...] = IDENTITY,
    origin_mm: Triple = (0.0, 0.0, 0.0),
) -> Grid:
    return Grid(shape, spacing_mm, origin_mm, direction)


def ellipsoid(grid: Grid, centre_lps: npt.ArrayLike, radii_mm: npt.ArrayLike) -> Bools:
    """Voxels whose centre lies in an ellipsoid along the patient's axes."""
    points = grid.to_lps(np.stack(np.indices(grid.shape), axis=-1))
    return (((points - np.asarray(centre_lps)) / np.asarray(radii_mm)) ** 2).sum(axis=-1) <= 1.0


def tilted(degrees: float) -> tuple[float, ...]:
    """A direction turned about the patient's left-right axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return (1.0, 0.0, 0.0, 0.0, float(c), float(-s), 0.0, float(s), float(c))


def lesion_mask(instances: npt.NDArray[np.integer], **more: object) -> LesionMask:
    return LesionMask(instances.astype(np.uint16), **more)  # type: ignore[arg-type]


def spine(names: tuple[str, ...], *, from_z: int = 4, empty_above: int = 4) -> tuple[Grid, LevelMask]:
    """Blocks of vertebrae, the first name at the top (largest z); 12 mm high, body before posterior elements."""
    shape = (from_z + 14 * len(names) + empty_above, 64, 60)
    levels, parts = np.zeros(shape, np.uint16), np.zeros(shape, np.uint8)
    for place, name in enumerate(reversed(names)):
        z = slice(from_z + 14 * place, from_z + 14 * place + 12)
        levels[z, 10:40, 12:48] = level_number(name)
        parts[z, 10:40, 12:48] = BODY
        levels[z, 40:54, 16:44] = level_number(name)
        parts[z, 40:54, 16:44] = POSTERIOR
    return grid_of(shape), LevelMask(levels, parts, "mask")


def bone(levels: LevelMask, seed: int = 0) -> npt.NDArray[np.int16]:
    """HU: water around, trabecular bone of 150 +- 20 inside."""
    rng = np.random.default_rng(seed)
    return np.where(levels.levels > 0, rng.normal(150, 20, levels.levels.shape), 0).astype(np.int16)


def tally(
    voxels: npt.NDArray[np.generic],
    grid: Grid,
    *,
    lesions: LesionMask | None = None,
    levels: LevelMask | None = None,
    modality: str | None = "CT",
    intensity_unit: str | None = "HU",
    suv_factor: float | None = None,
) -> dict[str, object]:
    return tally_scan(
        Volume(voxels, grid),
        modality=modality,
        intensity_unit=intensity_unit,
        suv_factor=suv_factor,
        lesions=lesions,
        levels=levels,
        type_rule=TypeRule(),
        threshold=0.5,
        model="test/1",
    )
