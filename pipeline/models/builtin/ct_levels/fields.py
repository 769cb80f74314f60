"""What the network sees of a scan: class probabilities, centre scores and offsets on its 3 mm grid."""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType

import numpy as np
import numpy.typing as npt
import torch

from pipeline.engine.preprocess import Box
from pipeline.engine.resample import model_grid, resample_image
from pipeline.engine.window import Network, blended_slabs
from pipeline.grid import Grid, Volume
from pipeline.models.builtin.ct_levels.network import CLASSES, N_CLASSES, OFFSET_MM, SPACING_MM, STRIDE

Map = npt.NDArray[np.float16]

_FILL_HU = -1000.0
_LONGEST = 96
"""Voxels of a window along z, at most; along y and x a window is as wide as the scan."""


@dataclass(frozen=True)
class Fields:
    """The network's answer, [z, y, x] on `grid`; z runs to the head, y to the back, x to the left."""

    grid: Grid
    """3 mm, over the scan's field of view, along its axes."""
    classes: Map
    """(8, z, y, x) probabilities in the order of `CLASSES`."""
    centre: Map
    """Score that here is the middle of a vertebra, 0 to 1."""
    offset: Map
    """(3, z, y, x) from here to the middle of the vertebra it belongs to, in mm."""

    def of(self, name: str) -> Map:
        """The probabilities of a class by name."""
        return self.classes[CLASSES.index(name)]

    def vertebra(self, box: Box | EllipsisType = ...) -> npt.NDArray[np.float32]:
        """Probability of a vertebra's body or posterior elements, in a box."""
        return self.of("body")[box].astype(np.float32) + self.of("posterior")[box].astype(np.float32)


def see(volume: Volume, network: Network) -> Fields:
    """Run the network over a CT in HU."""
    grid = model_grid(volume.grid, spacing_mm=(SPACING_MM,) * 3, orientation="LPS")
    hu = resample_image(volume.voxels, volume.grid, grid, smooth=True)
    np.clip(hu, _FILL_HU, 3071, out=hu)
    whole = [-(-n // STRIDE) * STRIDE for n in grid.shape]
    patch = (min(_LONGEST, whole[0]), whole[1], whole[2])
    classes = np.empty((N_CLASSES, *grid.shape), dtype=np.float16)
    centre = np.empty(grid.shape, dtype=np.float16)
    offset = np.empty((3, *grid.shape), dtype=np.float16)
    start = 0
    for slab in blended_slabs(network, hu, patch, 1 / 3, fill=_FILL_HU):
        part = slice(start, start + slab.shape[1])
        # halved by torch: numpy rounds the many probabilities near zero one by one
        classes[:, part] = slab[:N_CLASSES].softmax(0).half().cpu().numpy()
        centre[part] = torch.sigmoid(slab[N_CLASSES]).half().cpu().numpy()
        offset[:, part] = (slab[N_CLASSES + 1 :] * OFFSET_MM).half().cpu().numpy()
        start = part.stop
    return Fields(grid, classes, centre, offset)
