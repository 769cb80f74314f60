"""What HU are expected in a voxel of bone: the scan's own trabecular level, and how bone looks at that depth.

The trabecular level of each vertebra is a smooth course along the spine through the medians of the bodies' insides, so
that a vertebra full of disease does not set its own norm. Cortex and endplates are not cut away but expected: for each
kind of bone, distance to the surface and distance to the endplate, the median and the spread of the whole scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.models.builtin.ct_lesions.bone import BODY_KIND, KINDS, POSTERIOR_KIND, SACRUM_KIND, Bone, Field
from schemas.spine import craniocaudal_rank

_CORE_MM = {BODY_KIND: 5.0, POSTERIOR_KIND: 3.0, SACRUM_KIND: 6.0}
"""Depth from which bone is trabecular."""
_DEPTHS_MM = (0.8, 1.6, 2.4, 3.2, 4.5, 6.0, 8.0)
_ENDPLATES_MM = (1.6, 3.2, 5.0, 8.0)
_FEW = 40
"""Voxels from which a median is taken."""
_SIGMA = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""


@dataclass(frozen=True)
class Reference:
    """Expected HU and their spread, [z, y, x]."""

    expected: Field
    """HU."""
    spread: Field
    """Standard deviation, HU, estimated from the median absolute deviation."""
    trabecular_hu: float
    """Median over the scan's bodies."""
    noise_hu: float
    """Spread of single voxels in the insides of the bodies."""


def refer(bone: Bone) -> Reference:
    """The scan's own norm."""
    base = _course(bone)
    expected, spread = base.copy(), np.full(bone.hu.shape, 60.0, dtype=np.float32)
    residual = bone.hu - base
    core = (bone.kind == BODY_KIND) & (bone.depth >= _CORE_MM[BODY_KIND])
    noise = max(_spread(residual[core]), 8.0) if core.sum() > _FEW else 40.0
    for kind in KINDS:
        for chosen in _bins(bone, kind):
            values = residual[chosen]
            if len(values) < _FEW:
                spread[chosen] = 4 * noise
                continue
            expected[chosen] += np.float32(np.median(values))
            spread[chosen] = max(_spread(values), noise)
    trabecular = float(np.median(bone.hu[core])) if core.any() else float("nan")
    return Reference(expected, spread, trabecular, noise)


def _spread(values: npt.NDArray[np.floating]) -> float:
    return float(np.median(np.abs(values - np.median(values)))) * _SIGMA


def _bins(bone: Bone, kind: int) -> list[npt.NDArray[np.bool_]]:
    """Voxels of a kind, parted by depth and, in bodies, by distance to the endplate."""
    own = bone.kind == kind
    depth = np.digitize(bone.depth, _DEPTHS_MM)
    endplate = np.digitize(bone.endplate, _ENDPLATES_MM) if kind == BODY_KIND else np.zeros_like(depth)
    code = np.where(own, depth * 10 + endplate, -1)
    return [code == value for value in np.unique(code) if value >= 0]


def _course(bone: Bone) -> Field:
    """The trabecular HU expected at each voxel, from its level alone."""
    base = np.zeros(bone.hu.shape, dtype=np.float32)
    numbers = sorted(np.unique(bone.levels[bone.inside]).tolist(), key=craniocaudal_rank)
    medians = np.array([_median(bone, number) for number in numbers])
    movable = [i for i, n in enumerate(numbers) if np.isfinite(medians[i]) and (bone.kind[bone.levels == n] < 3).any()]
    smooth = _smoothed(medians[movable])
    fallback = float(np.median(smooth)) if len(smooth) else float(np.median(bone.hu[bone.inside]))
    course = dict(zip([numbers[i] for i in movable], smooth.tolist(), strict=True))
    for number, own in zip(numbers, medians, strict=True):
        sacrum = bool((bone.kind[bone.levels == number] == SACRUM_KIND).any())
        value = own if sacrum and np.isfinite(own) else course.get(number, fallback)
        base[bone.levels == number] = value
    return base


def _median(bone: Bone, number: int) -> float:
    own = bone.levels == number
    kind = SACRUM_KIND if (bone.kind[own] == SACRUM_KIND).any() else BODY_KIND
    core = own & (bone.kind == kind) & (bone.depth >= _CORE_MM[kind])
    return float(np.median(bone.hu[core])) if core.sum() >= _FEW else float("nan")


def _smoothed(medians: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each level's own median, drawn to that of its neighbours (two to each side) where it stands out."""
    n = len(medians)
    around = np.array([np.median(medians[max(0, i - 2) : i + 3]) for i in range(n)])
    if n < 3:
        return around
    scatter = max(float(np.median(np.abs(medians - around))) * _SIGMA, 8.0)
    trust = np.exp(-0.5 * ((medians - around) / (2 * scatter)) ** 2)
    return around + trust * (medians - around)
