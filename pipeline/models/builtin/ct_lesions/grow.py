"""From deviations to lesions: seeds that stand out, grown to where half of their contrast is left, and scored.

The score rises with the contrast against the scan's own spread, with the size up to a few millilitres and with the
depth below the surface; it falls with elongation, for sheets along a surface are borders drawn wrong. The sacrum, which
varies more from person to person, must stand out more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.models.builtin.ct_lesions.bone import POSTERIOR_KIND, SACRUM_KIND, STEP_MM, Bone
from pipeline.models.builtin.ct_lesions.deviation import Deviation

_SEED_Z = 3.0
_SEED_HU = 35.0
_SEED_DEPTH_MM = 1.5
_REACH_MM = 5.0
"""How far beyond its seed a lesion may grow."""
_PER_LOG_Z = 3.01
_LARGE_MM3 = 3000.0
"""A lesion much larger than this is more often a border drawn wrong."""
_EVEN = 15.84
"""Strength at which the score is 0.5. It and the weights in `strength` are a logistic regression on the candidates of
24 drawn phantoms, on the levels that builtin/ct-levels gives them."""

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
    z = np.abs(deviation.z[box][mask])
    kind = int(np.bincount(bone.kind[box][mask]).argmax())
    depth, volume = bone.depth[box][mask], float(mask.sum()) * STEP_MM**3
    shape = strength(1.0, volume, float(depth.max()), elongation(mask), kind)
    scores = [score_of(shape + _PER_LOG_Z * math.log(max(float(f(z)), 0.1))) for f in (np.max, np.mean)]
    return Candidate(
        box=box,  # type: ignore[arg-type]
        mask=mask,
        score_max=scores[0],
        score_mean=scores[1],
        contrast_hu=float(np.abs(deviation.fine_hu[box][mask]).mean()),
        z=float(z.max()),
        depth_mm=float(depth.mean()),
        volume_mm3=volume,
    )


def strength(z: float, volume_mm3: float, depth_mm: float, elongated: float, kind: int) -> float:
    """How much a place stands out: a sum of logarithms, so that each factor counts by its ratio.

    Args:
        z: largest difference from the reference, in standard deviations of the scan's normal bone.
        volume_mm3: of the place.
        depth_mm: of its deepest voxel below the surface of the bone.
        elongated: as `elongation`.
        kind: `BODY_KIND`, `POSTERIOR_KIND` or `SACRUM_KIND`.
    """
    volume = math.log(max(volume_mm3, 1.0))
    excess = max(0.0, volume - math.log(_LARGE_MM3))
    shape = 1.25 * volume - 3.67 * excess + 1.47 * math.log(depth_mm + 0.3) - 1.34 * elongated
    sacrum = (2.58 + 2.66 * excess) if kind == SACRUM_KIND else 0.0
    return _PER_LOG_Z * math.log(max(z, 0.1)) + shape + (2.3 if kind == POSTERIOR_KIND else 0.0) - sacrum


def elongation(mask: Mask) -> float:
    """Logarithm of the ratio of the largest to the smallest variance along the principal axes of a mask."""
    points = np.argwhere(mask) * STEP_MM
    if len(points) < 4:
        return 0.0
    variances = np.linalg.eigvalsh(np.cov(points.T) + np.eye(3) * STEP_MM**2 / 12)
    return math.log(variances[-1] / variances[0])


def score_of(value: float) -> float:
    """0 to 1, 0.5 at the operating point."""
    return 1 / (1 + math.exp(_EVEN - value))
