"""What the posterior elements have on both sides is anatomy: facets, partes interarticulares and laminae are as dense
as cortex, and come in pairs.

The score is fitted on drawn phantoms, whose facets are no denser than the bone around them; this rule is not fitted. It
was written after the real CTs had been looked at, where such pairs were most of what was marked.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from pipeline.models.builtin.ct_lesions.bone import POSTERIOR_KIND, STEP_MM
from pipeline.models.builtin.ct_lesions.describe import Surroundings
from pipeline.models.builtin.ct_lesions.propose import Proposal

DISCOUNT = 0.5
"""Of the score of a place that has a like on the other side: it stays a candidate."""
_ALIKE = 0.6
"""Share of the place's own difference that the other side shows too."""
_ASIDE_MM = 6.0
"""What lies nearer to the middle, as the spinous process does, has no other side."""
_SLACK = 2
"""Voxels by which the other side may lie off: vertebrae are turned, and no one is quite even."""


def is_paired(place: Proposal, around: Surroundings) -> bool:
    """Whether a dense place of the posterior elements looks the same on the other side of its vertebra."""
    bone = around.bone
    posterior = bone.kind[place.box][place.mask] == POSTERIOR_KIND
    own = float(around.deviation.fine_hu[place.box][place.mask].mean())
    if own <= 0 or posterior.mean() < 0.5:
        return False
    middle = around.middles.get(int(np.bincount(bone.levels[place.box][place.mask]).argmax()))
    index = np.argwhere(place.mask) + [part.start for part in place.box]
    if middle is None or np.abs(index[:, 2] - middle[2]).mean() * STEP_MM < _ASIDE_MM:
        return False
    index[:, 2] = np.round(2 * middle[2]).astype(int) - index[:, 2]
    low = np.maximum(index.min(axis=0) - _SLACK, 0)
    high = np.minimum(index.max(axis=0) + 1 + _SLACK, bone.hu.shape)
    if (high <= low).any():
        return False
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    there = np.zeros(high - low, dtype=bool)
    inside = index[((index >= low) & (index < high)).all(axis=1)] - low
    there[tuple(inside.T)] = True
    near = ndimage.maximum_filter(there, size=2 * _SLACK + 1) & bone.inside[box]
    values = np.sort(around.deviation.fine_hu[box][near])[-len(index) :]
    return 2 * len(values) >= len(index) and float(values.mean()) >= _ALIKE * own
