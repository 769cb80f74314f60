"""What is known of a proposed place: the numbers that its score is made from.

Each is a plain quantity of contrast, size, shape or position; none depends on where the scan lies or what it names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.models.builtin.ct_lesions.bone import POSTERIOR_KIND, SACRUM_KIND, STEP_MM, Bone, Field
from pipeline.models.builtin.ct_lesions.deviation import Deviation
from pipeline.models.builtin.ct_lesions.propose import Mask, Proposal
from pipeline.models.builtin.ct_lesions.reference import Reference
from pipeline.models.builtin.way_back import widened
from schemas.spine import BY_NAME, craniocaudal_rank

NAMES = (
    "contrast", "z_max", "z_mean", "peak", "over_noise", "volume", "depth_mean", "depth_max", "shallow",
    "endplate", "elongation", "flatness", "filled", "compact", "border", "beyond", "ring_in_bone", "opposite",
    "density", "uneven", "posterior", "sacrum", "lytic", "both", "levels", "own_level", "recurs", "mirrored",
    "goes_on", "face", "noise", "trabecular", "crowd",
)  # fmt: skip
"""The numbers in their order; `describe` tells what each is."""

_RIM_VOXELS = (2, 4)
"""How far the rim reaches beyond a place, and the farther one."""
_SHALLOW_MM = 2.0
_ASIDE_MM = 5.0
"""A place nearer to the middle has no other side."""


@dataclass(frozen=True)
class Surroundings:
    """What the descriptions of one scan share."""

    bone: Bone
    reference: Reference
    deviation: Deviation
    middles: dict[int, npt.NDArray[np.float64]]
    """Voxel (z, y, x) in the middle of each level's body."""
    neighbours: dict[int, tuple[int, ...]]
    """The levels above and below each."""
    offset_hu: dict[int, float]
    """Median difference of each level's inside."""
    crowd_hu: float
    """How uneven bone is in this scan: 90th centile of the broad difference, whatever its sign."""


def surround(bone: Bone, reference: Reference, deviation: Deviation) -> Surroundings:
    """Gather it."""
    middles: dict[int, npt.NDArray[np.float64]] = {}
    offset: dict[int, float] = {}
    for number, box in enumerate(ndimage.find_objects(bone.levels), start=1):
        if box is None:
            continue
        own = (bone.levels[box] == number) & bone.inside[box]
        body = own & (bone.kind[box] != POSTERIOR_KIND)
        core = body if body.any() else own
        if not core.any():
            continue
        middles[number] = np.argwhere(core).mean(axis=0) + [part.start for part in box]
        deep = core & (bone.depth[box] >= 2 * STEP_MM)
        offset[number] = float(np.median(deviation.fine_hu[box][deep if deep.any() else core]))
    row = sorted((n for n in middles if n != BY_NAME["SACRUM"].number), key=craniocaudal_rank)
    neighbours = {n: tuple(row[j] for j in (i - 1, i + 1) if 0 <= j < len(row)) for i, n in enumerate(row)}
    broad = np.abs(deviation.broad_hu[bone.inside])
    return Surroundings(
        bone, reference, deviation, middles, neighbours, offset, float(np.quantile(broad, 0.9)) if broad.size else 0.0
    )


def describe(place: Proposal, around: Surroundings) -> npt.NDArray[np.float64]:
    """The numbers of a place, in the order of `NAMES`.

    contrast, peak: logarithm of the mean and of the greatest difference in HU, of the place's own sign; z_max, z_mean:
    the same in standard deviations; over_noise: contrast over the scan's noise; volume: logarithm; depth_*, endplate:
    mm below the surface; shallow: share less deep than 2 mm; elongation, flatness: logarithms of the ratios of the
    principal variances; filled: volume over that of the ellipsoid of these variances; compact: voxels over those of
    the surface; border, beyond: contrast lost within 3 and within 6 mm of it, as a share; ring_in_bone: share of the
    nearer rim that is bone; opposite: share of the rim that differs the other way; density: mean HU against the
    scan's trabecular bone; uneven: spread of HU within over the noise; posterior, sacrum: share of its voxels; lytic,
    both: its sign; levels: how many it touches; own_level: how much all of its level differs that way; recurs: how
    much the same place in the levels above and below does, as a share; mirrored: the same on the other side of its
    own level; goes_on: how much of the skin outside the bone looks like the place, which is then no part of the bone;
    face: distance to the end of the grid along the spine; noise, trabecular, crowd: of the scan.
    """
    bone, deviation, reference = around.bone, around.deviation, around.reference
    wide = widened(place.box, _RIM_VOXELS[-1], bone.hu.shape)
    mask = np.zeros([s.stop - s.start for s in wide], dtype=bool)
    mask[tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(place.box, wide, strict=True))] = place.mask
    signed = _signed(deviation.fine_hu[wide], place.sign)
    own, z = signed[mask], np.abs(deviation.z[wide][mask])
    kind, depth, hu = bone.kind[wide][mask], bone.depth[wide][mask], bone.hu[wide][mask]
    contrast = max(float(own.mean()), 1.0)
    rim = _rim(mask, signed, bone.inside[wide], contrast)
    numbers = np.unique(bone.levels[wide][mask])
    level = int(np.bincount(bone.levels[wide][mask]).argmax())
    sign = place.sign or 1
    return np.array([
        math.log(contrast), math.log(max(z.max(), 0.1)), math.log(max(z.mean(), 0.1)),
        math.log(max(float(own.max()), 1.0)), math.log(contrast / reference.noise_hu), math.log(place.volume_mm3),
        depth.mean(), depth.max(), (depth < _SHALLOW_MM).mean(), bone.endplate[wide][mask].mean(),
        *_shape(mask), *rim,
        (hu.mean() - reference.trabecular_hu) / 100 if math.isfinite(reference.trabecular_hu) else 0.0,
        hu.std() / reference.noise_hu,
        (kind == POSTERIOR_KIND).mean(), (kind == SACRUM_KIND).mean(),
        float(place.sign < 0), float(place.sign == 0), float((numbers > 0).sum()),
        sign * around.offset_hu.get(level, 0.0) / contrast, _recurs(place, around, level) / contrast,
        _mirrored(place, around, level) / contrast, _goes_on(mask, bone.hu[wide], bone.inside[wide], hu),
        min(wide[0].start, bone.hu.shape[0] - wide[0].stop) * STEP_MM,
        math.log(reference.noise_hu),
        reference.trabecular_hu / 100 if math.isfinite(reference.trabecular_hu) else 1.5,
        math.log(max(around.crowd_hu, 1.0)),
    ])  # fmt: skip


def _signed(field: Field, sign: int) -> Field:
    return np.abs(field) if sign == 0 else np.float32(sign) * field


def _shape(mask: Mask) -> tuple[float, float, float, float]:
    points = np.argwhere(mask) * STEP_MM
    variances = np.linalg.eigvalsh(np.cov(points.T) + np.eye(3) * (STEP_MM**2 / 12))
    ellipsoid = 4 / 3 * math.pi * math.sqrt(float(np.prod(variances * 5)))
    surface = int(np.count_nonzero(mask & ~ndimage.binary_erosion(mask)))
    volume = len(points) * STEP_MM**3
    return (
        math.log(variances[2] / variances[1]),
        math.log(variances[1] / variances[0]),
        volume / ellipsoid,
        math.log(len(points) / surface),
    )


def _rim(mask: Mask, signed: Field, inside: Mask, contrast: float) -> tuple[float, float, float, float]:
    skin, near, far = (ndimage.maximum_filter(mask, size=2 * reach + 1) for reach in (1, *_RIM_VOXELS))
    near, far = near & ~skin, far & ~near
    out = [1 - float(signed[part & inside].mean()) / contrast if (part & inside).any() else 1.0 for part in (near, far)]
    rim = near | far
    opposite = float((signed[rim & inside] < -0.4 * contrast).mean()) if (rim & inside).any() else 0.0
    return out[0], out[1], float(inside[near].mean()) if near.any() else 0.0, opposite


def _goes_on(mask: Mask, hu: Field, inside: Mask, own: npt.NDArray[np.float32]) -> float:
    outside = ndimage.maximum_filter(mask, size=3) & ~inside
    if not outside.any():
        return 0.0
    low, high = np.quantile(own, (0.1, 0.9))
    values = hu[outside]
    return float(((values >= low) & (values <= high)).sum()) / float(np.cbrt(mask.sum()) ** 2)


def _recurs(place: Proposal, around: Surroundings, level: int) -> float:
    """Greatest mean difference, in HU and the place's sign, at the same place of a neighbouring level."""
    index = np.argwhere(place.mask) + [part.start for part in place.box]
    moves = [around.middles[other] - around.middles[level] for other in around.neighbours.get(level, ())]
    return max((_mean_at(index + np.round(move).astype(int), place.sign, around) for move in moves), default=0.0)


def _mirrored(place: Proposal, around: Surroundings, level: int) -> float:
    """Mean difference, in HU and the place's sign, on the other side of the level's middle; 0 where that is itself."""
    index = np.argwhere(place.mask) + [part.start for part in place.box]
    middle = around.middles.get(level)
    if middle is None or abs(float(index[:, 2].mean() - middle[2])) < _ASIDE_MM / STEP_MM:
        return 0.0
    other = index.copy()
    other[:, 2] = np.round(2 * middle[2]).astype(int) - index[:, 2]
    return _mean_at(other, place.sign, around)


def _mean_at(index: npt.NDArray[np.int64], sign: int, around: Surroundings) -> float:
    """Mean difference in HU over the voxels of bone at `index`, at least 0; 0 where most of them are none."""
    there = index[((index >= 0) & (index < around.bone.hu.shape)).all(axis=1)]
    there = there[around.bone.inside[tuple(there.T)]]
    if 2 * len(there) < len(index):
        return 0.0
    return max(0.0, float(_signed(around.deviation.fine_hu[tuple(there.T)], sign).mean()))
