"""Where voxels lie: the grid of a volume in patient coordinates.

Arrays are `[z, y, x]`. A voxel with array index (z, y, x) has the image index (i, j, k) = (x, y, z), and its centre
lies at `origin + direction @ diag(spacing_x, spacing_y, spacing_z) @ (i, j, k)`, in millimetres, LPS (as DICOM PS3.3
C.7.6.2.1.1 and ITK have it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """The lattice of a volume's voxel centres."""

    shape: tuple[int, int, int]
    """Voxels along z, y, x."""
    spacing_mm: Triple
    """Distance of neighbours along z, y, x, in mm."""
    origin_mm: Triple
    """Centre of voxel [0, 0, 0] as x, y, z in LPS, in mm."""
    direction: tuple[float, ...]
    """Nine cosines, row by row; the columns are the axes i, j, k (as `SimpleITK.Image.GetDirection`)."""

    @property
    def matrix(self) -> Floats:
        """3 x 3: image index (i, j, k) to a displacement in mm."""
        return np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing_mm[::-1])

    @property
    def affine(self) -> Floats:
        """4 x 4: image index (i, j, k, 1) to LPS in mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.matrix
        affine[:3, 3] = self.origin_mm
        return affine

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel in mm3: |det| of the matrix."""
        return float(abs(np.linalg.det(self.matrix)))

    @property
    def n_voxels(self) -> int:
        """How many voxels the grid has."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    def to_lps(self, index_zyx: npt.ArrayLike) -> Floats:
        """Array indices (..., 3) as z, y, x to points (..., 3) as x, y, z in mm."""
        index = np.asarray(index_zyx, dtype=np.float64)
        return index[..., ::-1] @ self.matrix.T + np.asarray(self.origin_mm)

    def to_index(self, point_lps: npt.ArrayLike) -> Floats:
        """Points (..., 3) as x, y, z in mm to array indices (..., 3) as z, y, x, fractions kept."""
        shift = np.asarray(point_lps, dtype=np.float64) - np.asarray(self.origin_mm)
        return (shift @ np.linalg.inv(self.matrix).T)[..., ::-1]

    def axis_nearest(self, lps_axis: int) -> int:
        """The array axis (0 z, 1 y, 2 x) that runs nearest to a patient axis (0 L, 1 P, 2 S)."""
        cosines = np.abs(np.reshape(self.direction, (3, 3))[lps_axis])
        return 2 - int(np.argmax(cosines))


@dataclass(frozen=True)
class Volume:
    """Voxels and where they lie."""

    voxels: npt.NDArray[np.generic]
    """Shape `grid.shape`; HU for CT."""
    grid: Grid
    """Where they lie."""
