"""From labels on the network's grid to masks on the scan's, one vertebra at a time.

Not the labels are resampled but the probability of bone that each label carries, so that a surface runs between the
coarse voxels where the network put it. Only the box of one vertebra is in memory at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.engine.preprocess import Box
from pipeline.engine.resample import Float32, resample_image
from pipeline.grid import Grid
from pipeline.masks import BODY, LABEL_TYPE, POSTERIOR
from pipeline.models.builtin.ct_levels.assign import Labels
from pipeline.models.builtin.ct_levels.fields import Fields
from pipeline.models.builtin.way_back import covered, part_of, widened

_GROWN = 2
"""Voxels by which labels reach beyond their mask, where probability falls off."""


@dataclass(frozen=True)
class Restored:
    """Masks on the scan's grid."""

    levels: npt.NDArray[np.uint16]
    """[z, y, x] level numbers."""
    parts: npt.NDArray[np.uint8]
    """[z, y, x] `BODY` or `POSTERIOR` inside vertebrae."""


def restore(fields: Fields, labels: Labels, numbers: dict[int, int], sacrum: int, source: Grid) -> Restored:
    """Masks on `source`.

    Args:
        fields: what the network saw.
        labels: [z, y, x] on the network's grid.
        numbers: label to level number.
        sacrum: the label of the sacrum, 0 where it is not in view.
        source: grid of the scan.
    """
    levels = np.zeros(source.shape, dtype=LABEL_TYPE)
    parts = np.zeros(source.shape, dtype=np.uint8)
    for label, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None or label not in numbers:
            continue
        wide = widened(box, _GROWN, labels.shape)
        coarse = part_of(fields.grid, wide)
        target = covered(coarse, source)
        if any(part.stop <= part.start for part in target):
            continue
        fine = part_of(source, target)
        own, other, body = (resample_image(m, coarse, fine) for m in _carried(fields, labels, label, sacrum, wide))
        inside = (own > other) & (own + other > 0.5)
        levels[target][inside] = numbers[label]
        if label != sacrum:
            parts[target][inside] = np.where(body > 0.5 * own, BODY, POSTERIOR)[inside]
    return Restored(levels, parts)


def _carried(fields: Fields, labels: Labels, label: int, sacrum: int, box: Box) -> tuple[Float32, Float32, Float32]:
    """In a box: the probability of bone that the label carries, that the others carry, and that of its body."""
    near = _nearest_label(labels[box])
    bone = fields.vertebra(box)
    if sacrum:
        bone = np.where(near == sacrum, fields.of("sacrum")[box].astype(np.float32), bone)
    mine = near == label
    body = fields.of("body")[box].astype(np.float32)
    return np.where(mine, bone, 0), np.where(~mine & (near > 0), bone, 0), np.where(mine, body, 0)


def _nearest_label(labels: Labels) -> Labels:
    """Each voxel's nearest label within `_GROWN` voxels."""
    distance, index = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    return np.where(distance <= _GROWN, labels[tuple(index)], 0).astype(np.uint8)
