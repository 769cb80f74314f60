"""The slices in which diameters are taken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.grid import Grid

NAMED_WITHIN_DEGREES = 30.0
"""A slice is called axial, sagittal or coronal up to this angle; rules that need an axial diameter get none beyond."""

SAME_SPACING = 1.01
"""Spacings whose ratio is smaller count as equal."""

_NORMALS = {"axial": 2, "sagittal": 0, "coronal": 1}


@dataclass(frozen=True)
class Plane:
    """A stack of slices of the source's own grid."""

    axis: int
    """Array axis (0 z, 1 y, 2 x) across which the slices lie."""
    name: str
    """axial, sagittal, coronal; or `oblique 34` with the degrees between it and the axial plane."""

    @property
    def is_axial(self) -> bool:
        """Whether an axial diameter can be read in it."""
        return self.name == "axial"

    @property
    def in_plane(self) -> tuple[int, int]:
        """The two array axes that lie in a slice."""
        first, second = sorted({0, 1, 2} - {self.axis})
        return first, second


def is_planar(grid: Grid, modality: str | None) -> bool:
    """Whether the image is one projection (planar scintigraphy): it has areas, not volumes."""
    return modality == "NM" and grid.shape[0] == 1


def measuring_plane(grid: Grid, modality: str | None) -> Plane:
    """Which slices of the grid diameters are taken in.

    CT and PT: those across the voxel axis nearest to superior-inferior. MR and NM: the acquisition plane, across the
    coarsest spacing; where several axes share it, across the one of them that is nearest to superior-inferior.
    """
    axis = 0 if is_planar(grid, modality) else _axis(grid, modality)
    return Plane(axis, plane_name(grid, axis))


def plane_name(grid: Grid, axis: int) -> str:
    """What a slice across an array axis is called."""
    normal = np.abs(np.reshape(grid.direction, (3, 3))[:, 2 - axis])
    degrees = np.degrees(np.arccos(np.clip(normal / np.linalg.norm(normal), 0.0, 1.0)))
    for name, lps_axis in _NORMALS.items():
        if degrees[lps_axis] <= NAMED_WITHIN_DEGREES:
            return name
    return f"oblique {degrees[2]:.0f}"


def _axis(grid: Grid, modality: str | None) -> int:
    if modality not in ("MR", "NM"):
        return grid.axis_nearest(2)
    coarsest = max(grid.spacing_mm)
    shared = [axis for axis in range(3) if grid.spacing_mm[axis] * SAME_SPACING >= coarsest]
    if grid.axis_nearest(2) in shared:
        return grid.axis_nearest(2)
    towards_feet = np.abs(np.reshape(grid.direction, (3, 3))[2])
    return max(shared, key=lambda axis: float(towards_feet[2 - axis]))
