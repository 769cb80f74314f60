"""From deviations to lesions: seeds that stand out, grown to where half of their contrast is left, and scored.

The score rises with the contrast against the scan's own spread, with the contrast in HU, with the size and with the
depth below the surface. Posterior elements and the sacrum, which vary more from person to person, must stand out more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.models.builtin.ct_lesions.bone import BODY_KIND, POSTERIOR_KIND, SACRUM_KIND, STEP_MM, Bone
from pipeline.models.builtin.ct_lesions.deviation import Deviation

_SEED_Z = 3.0
_SEED_HU = 35.0
_SEED_DEPTH_MM = 1.5
_REACH_MM = 5.0
"""How far beyond its seed a lesion may grow."""
_EVEN = 34.5
"""Strength at which the score is 0.5; set, as the weights in `strength`, on 24 drawn phantoms with true levels."""
_HANDICAP = {BODY_KIND: 0.0, POSTERIOR_KIND: 1.0, SACRUM_KIND: 1.5}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Candidate:
    """One place that differs."""

    box: tuple[slice, slice, slice]
    """Where it lies on the working grid."""
    mask: Mask
    """Its voxels in the box."""
    score_max: float
    """0 to 1."""
    score_mean: float
    """0 to 1."""
    contrast_hu: float
    """Mean absolute difference from the reference."""
    z: float
    """Largest absolute z."""
    depth_mm: float
    """Mean depth below the surface."""
    volume_mm3: float
    """On the working grid."""


def candidates(bone: Bone, deviation: Deviation) -> list[Candidate]:
    """All places that differ, strongest first."""
    grown = np.zeros(bone.hu.shape, dtype=np.uint16)
    for sign in (-1, 1):
        _grow(bone, deviation, sign, grown)
    merged = cc3d.connected_components(grown > 0, connectivity=18)
    found = [_measure(bone, deviation, merged, i, box) for i, box in enumerate(ndimage.find_objects(merged), start=1)]
    return sorted((c for c in found if c is not None), key=lambda c: -c.score_max)


def _grow(bone: Bone, deviation: Deviation, sign: int, grown: npt.NDArray[np.uint16]) -> None:
    """Mark what belongs to seeds of one sign in `grown`."""
    z, hu = sign * deviation.z, sign * deviation.hu
    seeds = cc3d.connected_components((z > _SEED_Z) & (hu > _SEED_HU) & (bone.depth >= _SEED_DEPTH_MM), connectivity=18)
    for number, box in enumerate(ndimage.find_objects(seeds), start=1):
        wide = _widened(box, bone.hu.shape)
        seed = seeds[wide] == number
        contrast = float(hu[wide][seed].max())
        near = ndimage.distance_transform_edt(~seed, sampling=STEP_MM) <= _REACH_MM
        border = (sign * deviation.fine_hu[wide] > 0.5 * contrast) & bone.inside[wide] & near
        parts = cc3d.connected_components(border | seed, connectivity=6)
        kept = np.unique(parts[seed])
        grown[wide][np.isin(parts, kept[kept > 0]) & border] = 1


def _widened(box: tuple[slice, ...], shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    margin = int(_REACH_MM / STEP_MM) + 2
    z, y, x = (slice(max(0, s.start - margin), min(n, s.stop + margin)) for s, n in zip(box, shape, strict=True))
    return z, y, x


def _measure(
    bone: Bone, deviation: Deviation, labels: npt.NDArray[np.unsignedinteger], number: int, box: tuple[slice, ...]
) -> Candidate | None:
    mask = labels[box] == number
    z, hu = np.abs(deviation.z[box][mask]), np.abs(deviation.hu[box][mask])
    kind = int(np.bincount(bone.kind[box][mask]).argmax())
    depth, volume = float(bone.depth[box][mask].mean()), float(mask.sum()) * STEP_MM**3
    scores = [score_of(strength(float(f(z)), float(f(hu)), volume, depth, kind)) for f in (np.max, np.mean)]
    return Candidate(
        box=box,  # type: ignore[arg-type]
        mask=mask,
        score_max=scores[0],
        score_mean=scores[1],
        contrast_hu=float(np.abs(deviation.fine_hu[box][mask]).mean()),
        z=float(z.max()),
        depth_mm=depth,
        volume_mm3=volume,
    )


def strength(z: float, hu: float, volume_mm3: float, depth_mm: float, kind: int) -> float:
    """How much a place stands out: a sum of logarithms, so that each factor counts by its ratio."""
    logs = 3 * math.log(max(z, 0.1)) + 3 * math.log(max(hu, 1.0)) + 1.75 * math.log(max(volume_mm3, 1.0))
    return logs + math.log(depth_mm + 0.3) - _HANDICAP[kind]


def score_of(value: float) -> float:
    """0 to 1, 0.5 at the operating point."""
    return 1 / (1 + math.exp(_EVEN - value))
