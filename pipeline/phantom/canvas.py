"""The arrays that a phantom is painted on, and how one shape is laid over what is there."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.phantom.shapes import Coords, Field, Lattice, Patch, coverage

FAR_MM = 99.0
"""Where no bone is near."""


class Part(IntEnum):
    """What a voxel of `Phantom.parts` belongs to."""

    BACKGROUND = 0
    BODY = 1
    """Vertebral body, with the dens."""
    ARCH = 2
    """Posterior elements."""
    SACRUM = 3
    DISC = 4
    RIB = 5
    CANAL = 6
    OTHER_BONE = 7
    """Pelvis, femora, skull, shoulder, sternum, arms."""


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int, int], cells: tuple[float, float, float]) -> Field:
    """Noise of about unit variance whose grains are `cells` voxels wide, linear between random knots."""
    counts = [int(np.ceil(n / max(c, 1e-3))) + 2 for n, c in zip(shape, cells, strict=True)]
    out: Field = rng.standard_normal(counts, dtype=np.float32) * np.float32(1.8)
    for axis, (n, cell) in enumerate(zip(shape, cells, strict=True)):
        where = np.arange(n) / max(cell, 1e-3) + float(rng.uniform(0, 1))
        low = np.minimum(where.astype(int), counts[axis] - 2)
        part = np.expand_dims((where - low).astype(np.float32), [a for a in range(3) if a != axis])
        first = np.take(out, low, axis=axis)
        out = first + (np.take(out, low + 1, axis=axis) - first) * part
    return out


class Canvas:
    """HU, labels and distances on one lattice, painted from the outside in."""

    def __init__(self, lattice: Lattice, rng: np.random.Generator) -> None:
        shape = lattice.shape
        self.lattice = lattice
        self.at = lattice.everything.coords()
        """Coordinates of all voxels in the patient's frame, mm."""
        self.hu: Field = np.full(shape, -1000, dtype=np.float32)
        self.levels: npt.NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
        self.parts: npt.NDArray[np.uint8] = np.zeros(shape, dtype=np.uint8)
        self.lesions: npt.NDArray[np.uint16] = np.zeros(shape, dtype=np.uint16)
        self.bone: Field = np.full(shape, FAR_MM, dtype=np.float32)
        """Distance to the nearest vertebra or sacrum painted so far, mm."""
        self.patches = self._noise(rng, 18.0)
        """Broad noise: fat in muscle, marrow patches."""
        self.grain = self._noise(rng, 2.2)
        """Fine noise: trabeculae."""

    def _noise(self, rng: np.random.Generator, size_mm: float) -> Field:
        sz, sy, sx = (max(size_mm / s, 1.0) for s in self.lattice.spacing_mm)
        return smooth_noise(rng, self.lattice.shape, (sz, sy, sx))

    def paint(self, patch: Patch, distance: Field, value: Any, *, edge_mm: float | None = None) -> None:
        """Lay a shape of `value` HU over the patch, softly over a voxel or `edge_mm`."""
        block = self.hu[patch.slices]
        block += coverage(distance, edge_mm or self.lattice.blur_mm) * (value - block)

    def mark(self, patch: Patch, distance: Field, part: Part) -> None:
        """Label what lies inside and is no vertebra yet."""
        inside = np.broadcast_to(distance <= 0, patch.shape) & (self.levels[patch.slices] == 0)
        self.parts[patch.slices][inside] = part

    def between(self, a: npt.ArrayLike, b: npt.ArrayLike, reach: float) -> tuple[Patch, Coords] | None:
        """The voxels within `reach` mm of the box that two points span, and their coordinates in mm."""
        margin = reach + self.lattice.blur_mm
        low, high = np.minimum(a, b) - margin, np.maximum(a, b) + margin
        least, most = self.lattice.bounds
        if (low > most).any() or (high < least).any():
            return None
        patch = self.lattice.box(low, high)
        return None if patch is None else (patch, self.coords_of(patch))

    def coords_of(self, patch: Patch) -> Coords:
        """Coordinates in the patient's frame, as views: axes along which they do not change stay 1 long."""
        u, v, w = (
            c[tuple(s if n > 1 else slice(None) for s, n in zip(patch.slices, c.shape, strict=True))] for c in self.at
        )
        return u, v, w
