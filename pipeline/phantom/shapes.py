"""Implicit shapes on a lattice of voxel centres: signed distances in mm, negative inside, each on its own box only.

Shapes are first-order distances: exact on the surface, near enough a few millimetres away from it, which is all that
partial volume and thin cortical shells need. The capsule and the ellipsoid follow the formulas of I. Quilez,
"distance functions" (iquilezles.org/articles/distfunctions and /ellipsoids).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.grid import Floats, Grid

Field = npt.NDArray[np.float32]
"""A value per voxel of a patch; axes of length 1 broadcast."""
Coords = tuple[Field, Field, Field]
"""Left, posterior and superior coordinate of each voxel of a patch, in mm."""
Point = tuple[float, float, float]
Slices = tuple[slice, slice, slice]

IDENTITY: Floats = np.eye(3)


def rotation_xyz(pitch: float, roll: float, yaw: float) -> Floats:
    """Rx(pitch) Ry(roll) Rz(yaw) in degrees: pitch > 0 leans the top forward, roll > 0 to the left, yaw turns."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians((pitch, roll, yaw))), np.sin(np.radians((pitch, roll, yaw)))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_x @ about_y @ about_z


@dataclass(frozen=True)
class Patch:
    """A box of a lattice's voxels."""

    lattice: Lattice
    """The lattice that it is a part of."""
    slices: Slices
    """Which voxels, along z, y, x."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along z, y, x."""
        z, y, x = ((s.stop - s.start) for s in self.slices)
        return z, y, x

    def coords(self, centre: npt.ArrayLike = (0.0, 0.0, 0.0), rotation: Floats = IDENTITY) -> Coords:
        """Coordinates in the frame at `centre` whose axes are the columns of `rotation`."""
        start = np.array([s.start for s in self.slices], dtype=np.float64)
        slope = rotation.T @ self.lattice.matrix
        offset = rotation.T @ (self.lattice.origin + self.lattice.matrix @ start - np.asarray(centre, dtype=np.float64))
        u, v, w = (_ramp(slope[axis], float(offset[axis]), self.shape) for axis in range(3))
        return u, v, w


def _ramp(slope: Floats, offset: float, shape: tuple[int, int, int]) -> Field:
    out = np.full((1, 1, 1), offset, dtype=np.float32)
    for axis in range(3):
        if abs(slope[axis]) > 1e-7:
            along = (slope[axis] * np.arange(shape[axis])).astype(np.float32)
            out = out + along.reshape([-1 if other == axis else 1 for other in range(3)])
    return out


@dataclass(frozen=True)
class Lattice:
    """Voxel centres in the patient's own frame (x left, y posterior, z superior)."""

    shape: tuple[int, int, int]
    """Voxels along z, y, x."""
    matrix: Floats
    """3 x 3: array index (z, y, x) to a displacement in mm."""
    origin: Floats
    """Centre of voxel [0, 0, 0] in mm."""
    spacing_mm: tuple[float, float, float]
    """Distance of neighbours along z, y, x."""

    @classmethod
    def of(cls, grid: Grid, pose: Floats = IDENTITY) -> Lattice:
        """The voxels of a grid, seen by a patient turned by `pose` (columns: the patient's axes in LPS) about LPS 0."""
        origin = pose.T @ np.asarray(grid.origin_mm, dtype=np.float64)
        return cls(grid.shape, pose.T @ grid.matrix[:, ::-1], origin, grid.spacing_mm)

    @property
    def everything(self) -> Patch:
        """All voxels."""
        z, y, x = (slice(0, n) for n in self.shape)
        return Patch(self, (z, y, x))

    @cached_property
    def blur_mm(self) -> float:
        """Width over which a surface passes through a voxel: the edge of a cube of the voxel's volume."""
        return float(np.prod(self.spacing_mm) ** (1 / 3))

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Two corners of the patient's frame that no voxel centre lies beyond, mm."""
        ends = self.matrix * (np.asarray(self.shape) - 1)
        return self.origin + np.minimum(ends, 0).sum(axis=1), self.origin + np.maximum(ends, 0).sum(axis=1)

    @cached_property
    def to_index(self) -> Floats:
        """3 x 3: a displacement in mm to an array index (z, y, x)."""
        return np.asarray(np.linalg.inv(self.matrix), dtype=np.float64)

    def box(
        self,
        low: npt.ArrayLike,
        high: npt.ArrayLike,
        *,
        centre: npt.ArrayLike = (0.0, 0.0, 0.0),
        rotation: Floats = IDENTITY,
    ) -> Patch | None:
        """The voxels that can lie between two corners of a frame at `centre`; None where there are none."""
        low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
        to_index = self.to_index @ rotation
        middle = to_index @ ((low + high) / 2) + self.to_index @ (np.asarray(centre) - self.origin)
        half = np.abs(to_index) @ ((high - low) / 2)
        start = np.maximum(np.floor(middle - half), 0).astype(int)
        stop = np.minimum(np.ceil(middle + half) + 1, self.shape).astype(int)
        if (stop <= start).any():
            return None
        z, y, x = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        return Patch(self, (z, y, x))


def capsule(
    at: Coords, a: Point | Floats, b: Point | Floats, radius: float, *, end: float | None = None, tall: float = 1.0
) -> Field:
    """Distance to a thick segment from `a` to `b`, its radius going over to `end`, `tall` times as high as wide."""
    u, v, w = at[0] - np.float32(a[0]), at[1] - np.float32(a[1]), (at[2] - np.float32(a[2])) / np.float32(tall)
    axis = np.array([b[0] - a[0], b[1] - a[1], (b[2] - a[2]) / tall], dtype=np.float32)
    unit = axis / np.float32(max(float(axis @ axis), 1e-6))
    along = np.clip(u * unit[0] + v * unit[1] + w * unit[2], 0, 1)
    distance = np.sqrt((u - along * axis[0]) ** 2 + (v - along * axis[1]) ** 2 + (w - along * axis[2]) ** 2)
    return distance - np.float32(radius) - along * np.float32((radius if end is None else end) - radius)


def ellipsoid(at: Coords, centre: Point | Floats, radii: Point | Floats) -> Field:
    """Distance to an ellipsoid along the axes of the frame."""
    u, v, w = (np.float32(1 / r) * (x - np.float32(c)) for x, c, r in zip(at, centre, radii, strict=True))
    size = np.sqrt(u * u + v * v + w * w)
    slope = np.sqrt((u / np.float32(radii[0])) ** 2 + (v / np.float32(radii[1])) ** 2 + (w / np.float32(radii[2])) ** 2)
    return size * (size - 1) / np.maximum(slope, np.float32(1e-6))


def ellipse(u: Field, v: Field, a: Field | float, b: Field | float) -> Field:
    """Distance to an ellipse with half axes `a` and `b` in the plane of `u` and `v`."""
    p, q = u / a, v / b
    size = np.sqrt(p * p + q * q)
    return size * (size - 1) / np.maximum(np.sqrt((p / a) ** 2 + (q / b) ** 2), np.float32(1e-6))


def blend(a: Field, b: Field, width: float) -> Field:
    """The union of two shapes with a fillet of `width` mm."""
    near = np.maximum(np.float32(width) - np.abs(a - b), 0)
    return np.minimum(a, b) - near * near * np.float32(0.25 / width)


def coverage(distance: Field, blur_mm: float) -> Field:
    """How much of a voxel lies inside: 0 to 1, linear over `blur_mm` about the surface."""
    return np.clip(np.float32(0.5) - distance / np.float32(blur_mm), 0, 1)
