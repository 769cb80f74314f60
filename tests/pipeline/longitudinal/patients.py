"""A made-up patient: three vertebrae that move each by itself between two scans, and lesions whose fate is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from pipeline.grid import Floats, Grid, Volume
from pipeline.longitudinal.motions import MaskedScan
from pipeline.longitudinal.register import STILL, Rigid
from pipeline.longitudinal.timeline import LesionFacts
from pipeline.masks import LesionMask, LevelMask
from pipeline.tally import tally_scan
from schemas.config import TypeRule
from schemas.spine import level_number

CENTRES = {"T11": (45.0, 38.0, 84.0), "T12": (45.0, 38.0, 52.0), "L1": (45.0, 38.0, 20.0)}
"""Middle of each body in the first scan, x, y, z, mm."""


def grid_at(spacing: tuple[float, float, float] = (2.0, 1.5, 1.5), from_z: float = 0.0, to_z: float = 104.0) -> Grid:
    shape = (int((to_z - from_z) / spacing[0]), int(90 / spacing[1]), int(90 / spacing[2]))
    return Grid(shape, spacing, (0.0, 0.0, from_z), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Sphere:
    """A lesion."""

    level: str
    offset: tuple[float, float, float]
    radius: float
    hu: float = -50.0


@dataclass(frozen=True)
class Body:
    """How the patient lies: a motion of each vertebra from the first scan, none for those that lie still."""

    motions: dict[str, Rigid] = field(default_factory=dict)

    def points_of(self, level: str, grid: Grid) -> Floats:
        """Voxel centres in the coordinates of a vertebra: x, y, z from the middle of its body."""
        points = grid.to_lps(np.stack(np.indices(grid.shape), axis=-1))
        return self.motions.get(level, STILL).inverse().apply(points) - np.array(CENTRES[level])


def turned(level: str, degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> Rigid:
    """A motion about the middle of a vertebra's body."""
    rotation = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    centre = np.array(CENTRES[level])
    return Rigid(rotation, centre + np.array(shift) - rotation @ centre)


def scanned(
    lesions: list[Sphere],
    *,
    body: Body = Body(),
    grid: Grid | None = None,
    frame: str | None = None,
    with_levels: bool = True,
    names: dict[str, str] | None = None,
    modality: str = "CT",
    seed: int = 0,
) -> MaskedScan:
    """One scan of the patient, tallied."""
    grid = grid or grid_at()
    rng = np.random.default_rng(seed)
    levels, instances = np.zeros(grid.shape, np.uint16), np.zeros(grid.shape, np.uint16)
    voxels = np.full(grid.shape, 30.0)
    for level in CENTRES:
        points = body.points_of(level, grid)
        inside = _vertebra(points)
        levels[inside] = level_number((names or {}).get(level, level))
        voxels[inside] = 180 + 40 * np.sin(points[inside][:, 0] / 5) * np.cos(points[inside][:, 2] / 4)
    for label, sphere in enumerate(lesions, start=1):
        away = body.points_of(sphere.level, grid) - np.array(sphere.offset)
        mask = np.linalg.norm(away, axis=-1) <= sphere.radius
        instances[mask], voxels[mask] = label, sphere.hu
    voxels = (voxels + rng.normal(0, 15, grid.shape)).astype(np.int16)
    return masked(Volume(voxels, grid), instances, levels if with_levels else None, frame, modality)


def masked(
    volume: Volume,
    instances: npt.NDArray[np.uint16],
    levels: npt.NDArray[np.uint16] | None,
    frame: str | None,
    modality: str,
) -> MaskedScan:
    """A scan with the facts that the tally finds."""
    result = tally_scan(
        volume,
        modality=modality,
        intensity_unit="HU" if modality == "CT" else None,
        suv_factor=None,
        lesions=LesionMask(instances),
        levels=None if levels is None else LevelMask(levels),
        type_rule=TypeRule(),
        threshold=None,
        model=None,
    )
    names = ("lesion_id", "level", "volume_mm3", "area_mm2", "long_axis_mm", "hu_mean", "suv_max", "lesion_type")
    facts = tuple(
        LesionFacts(**{name: row.get(name) for name in names}, centroid_mm=tuple(row["centroid_mm"]))
        for row in result["lesions"]
    )
    return MaskedScan(volume, instances, levels, facts, frame)


def _vertebra(points: Floats) -> npt.NDArray[np.bool_]:
    x, y, z = np.moveaxis(points, -1, 0)
    body = ((x / 20) ** 2 + (y / 15) ** 2 <= 1) & (np.abs(z) <= 11)
    arch = (np.abs(x) <= 15) & (y > 12) & (y < 26) & (np.abs(z) <= 5) & ~((np.abs(x) < 8) & (y < 20))
    spinous = (np.abs(x) <= 3) & (y >= 24) & (y < 40) & (np.abs(z + 5) <= 5)
    return body | arch | spinous
