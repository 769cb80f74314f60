"""Places that may be lesions: what stands out, cut at many levels, of each sign and of both together.

A cut at one level runs a lesion together with its neighbour or finds half of it. So a place is proposed at each level
at which it changes, and which of the proposals that overlap is the lesion is left to their scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.models.builtin.ct_lesions.bone import STEP_MM, Bone, Field
from pipeline.models.builtin.ct_lesions.deviation import Deviation

FINE_HU = (55.0, 80.0, 115.0, 165.0, 240.0)
BROAD_HU = (35.0, 50.0, 70.0, 100.0, 140.0, 200.0)
EITHER_HU = (80.0, 115.0, 165.0)
"""Levels of the cuts through each of the smoothed differences."""
_LEAST_MM3, _MOST_MM3 = 200.0, 40_000.0
_LEAST_Z = 2.0
_DEEPEST_MM = 2.5
"""A place no voxel of which lies that deep is surface."""
_SAME = 0.85
"""A part that fills so much of the place that it was cut from is the same place."""

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.unsignedinteger]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Proposal:
    """One place that differs."""

    box: Box
    """Where it lies on the working grid."""
    mask: Mask
    """Its voxels in the box."""
    sign: int
    """1 denser, -1 less dense, 0 both."""

    @property
    def volume_mm3(self) -> float:
        """On the working grid."""
        return float(self.mask.sum()) * STEP_MM**3


def propose(bone: Bone, deviation: Deviation) -> list[Proposal]:
    """All places that differ, in no order; they overlap."""
    out: list[Proposal] = []
    for sign in (-1, 1):
        out += _cut(sign * deviation.fine_hu, sign, FINE_HU)
        out += _cut(sign * deviation.broad_hu, sign, BROAD_HU)
    out += _cut(deviation.either_hu, 0, EITHER_HU)
    return [place for place in out if _stands_out(place, bone, deviation)]


def _stands_out(place: Proposal, bone: Bone, deviation: Deviation) -> bool:
    deepest = bone.depth[place.box][place.mask].max()
    return bool(deepest >= _DEEPEST_MM and np.abs(deviation.z[place.box][place.mask]).max() >= _LEAST_Z)


def _cut(field: Field, sign: int, levels: tuple[float, ...]) -> list[Proposal]:
    """Places above each level, and their lumps; those that hardly differ from the level before are left out."""
    out: list[Proposal] = []
    before: tuple[Labels, npt.NDArray[np.int64]] | None = None
    for level in levels:
        above = field > level
        places = cc3d.connected_components(above, connectivity=6)
        sizes = np.bincount(places.ravel())
        out += _kept(places, sizes, before, sign)
        out += _lumps(above, places, sizes, sign)
        before = places, sizes
    return out


def _lumps(above: Mask, places: Labels, sizes: npt.NDArray[np.int64], sign: int) -> list[Proposal]:
    """What falls apart when a voxel is taken off all around, grown back by one."""
    lumps = cc3d.connected_components(ndimage.binary_erosion(above), connectivity=6)
    back = np.where(above, ndimage.grey_dilation(lumps, footprint=ndimage.generate_binary_structure(3, 1)), 0)
    return _kept(back, np.bincount(back.ravel()), (places, sizes), sign)


def _kept(
    places: Labels, sizes: npt.NDArray[np.int64], before: tuple[Labels, npt.NDArray[np.int64]] | None, sign: int
) -> list[Proposal]:
    out: list[Proposal] = []
    for number, box in enumerate(ndimage.find_objects(places), start=1):
        if box is None or not _LEAST_MM3 <= sizes[number] * STEP_MM**3 <= _MOST_MM3:
            continue
        mask = places[box] == number
        if before is not None:
            whole = before[0][box][mask]
            if sizes[number] > _SAME * before[1][whole.max()]:
                continue
        out.append(Proposal(box, mask, sign))
    return out
