"""What a perfect network would see of a phantom: to test everything behind the network by itself."""

from __future__ import annotations

import numpy as np

from pipeline.models.builtin.ct_levels.fields import Fields
from pipeline.models.builtin.ct_levels.network import N_CLASSES, SPACING_MM
from pipeline.phantom import Phantom
from pipeline.training.loss import CENTRE_SIGMA_MM
from pipeline.training.samples import centres_of


def perfect_fields(phantom: Phantom) -> Fields:
    """Fields of a phantom drawn at 3 mm."""
    parts, levels = phantom.parts, phantom.levels
    classes = np.eye(N_CLASSES, dtype=np.float16)[parts].transpose(3, 0, 1, 2)
    centres = centres_of(levels, parts)
    here = np.stack(np.meshgrid(*[np.arange(n) for n in parts.shape], indexing="ij")).astype(np.float32)
    bells = np.zeros(parts.shape, dtype=np.float32)
    for centre in centres[np.isfinite(centres[:, 0])]:
        squared = ((here - centre[:, None, None, None]) ** 2).sum(axis=0) * SPACING_MM**2
        bells = np.maximum(bells, np.exp(-squared / (2 * CENTRE_SIGMA_MM**2)))
    goal = np.nan_to_num(centres[levels]).transpose(3, 0, 1, 2)
    vertebra = (parts == 1) | (parts == 2)
    offset = np.where(vertebra, (goal - here) * SPACING_MM, 0)
    return Fields(phantom.volume.grid, classes, bells.astype(np.float16), offset.astype(np.float16))
