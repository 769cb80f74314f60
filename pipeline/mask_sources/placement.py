"""A mask onto the grid of its scan: voxel by voxel where both share their voxel centres, else resampled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from pipeline.errors import ScanError
from pipeline.grid import Floats, Grid
from pipeline.mask_sources.instances import counts
from pipeline.mask_sources.source import Labels
from schemas.reasons import Reason

SAME_VOXELS = 1e-3
"""Largest distance of two voxel centres, in voxels of the scan, at which they are one."""


@dataclass(frozen=True)
class Placed:
    """A mask on the scan's grid."""

    labels: Labels
    """[z, y, x], the values of the source."""
    resampled: bool
    """False where every voxel is the source's own."""


def place(labels: Labels, source: Grid, target: Grid) -> Placed:
    """Bring a mask onto another grid of the same patient space.

    A mask whose voxel centres are the scan's is used as it is, in whatever order its axes are stored, and also where
    it covers a part of the scan only. Any other is resampled to the nearest voxel.

    Raises:
        ScanError: MASK_GRID, the two do not meet.
    """
    aligned = _align(source, target)
    if aligned is None:
        _check_meeting(labels, source, target)
        return Placed(_resample(labels, source, target), resampled=True)
    turned = np.flip(labels, aligned.backwards).transpose(aligned.axes)
    if turned.shape == target.shape and not any(aligned.offset):
        return Placed(np.ascontiguousarray(turned), resampled=False)
    _check_meeting(labels, source, target)
    pasted = _paste(turned, aligned.offset, target.shape)
    return Placed(pasted, resampled=bool(np.count_nonzero(pasted) < np.count_nonzero(labels)))


def volume_changes(before: Labels, source: Grid, after: Labels, target: Grid, n: int) -> Floats:
    """(n,) volume of each of the lesions 1 ... n after placement over that before, less 1."""
    volumes_before = _padded(counts(before), n) * source.voxel_mm3
    volumes_after = _padded(counts(after), n) * target.voxel_mm3
    return volumes_after / volumes_before - 1


def keep_small(labels: Labels, source: Grid, placed: Labels, target: Grid, n: int) -> list[int]:
    """Give each lesion that fell between the voxels of the scan the one voxel at its centroid, in place.

    Returns:
        The lesions whose centroid lies outside the scan: they cannot be on it.
    """
    after = _padded(counts(placed), n)
    outside = []
    for value in np.flatnonzero(after == 0) + 1:
        centroid = source.to_lps(np.argwhere(labels == value).mean(axis=0))
        voxel = np.rint(target.to_index(centroid)).astype(int)
        if np.all(voxel >= 0) and np.all(voxel < target.shape):
            placed[tuple(voxel)] = value
        else:
            outside.append(int(value))
    return outside


@dataclass(frozen=True)
class _Alignment:
    """How the voxels of a mask become voxels of the scan."""

    axes: tuple[int, ...]
    """Which source axis each target axis is."""
    backwards: tuple[int, ...]
    """Source axes that run the other way."""
    offset: tuple[int, ...]
    """Target index of the first voxel of the turned source."""


def _align(source: Grid, target: Grid) -> _Alignment | None:
    """How the two share their voxel centres; None unless they do, to the last corner of both."""
    steps = source.to_index(target.to_lps(np.eye(3))) - source.to_index(target.to_lps(np.zeros(3)))
    axes = tuple(int(axis) for axis in np.abs(steps).argmax(axis=1))
    if sorted(axes) != [0, 1, 2]:
        return None
    signs = np.array([np.sign(steps[position, axis]) for position, axis in enumerate(axes)])
    ends = target.to_index(source.to_lps(_corners(source.shape)))
    offset = np.rint(ends.min(axis=0)).astype(int)
    corners = np.concatenate([_corners(source.shape), source.to_index(target.to_lps(_corners(target.shape)))])
    turned = np.stack(
        [
            corners[:, axis] if sign > 0 else source.shape[axis] - 1 - corners[:, axis]
            for axis, sign in zip(axes, signs, strict=True)
        ],
        axis=1,
    )
    apart = np.abs(target.to_index(source.to_lps(corners)) - (turned + offset)).max()
    backwards = tuple(axis for axis, sign in zip(axes, signs, strict=True) if sign < 0)
    return _Alignment(axes, backwards, tuple(offset.tolist())) if apart <= SAME_VOXELS else None


def _paste(turned: Labels, offset: tuple[int, ...], shape: tuple[int, int, int]) -> Labels:
    """The part of the mask that lies on the scan, in its place."""
    pasted = np.zeros(shape, dtype=np.uint16)
    low = np.maximum(offset, 0)
    high = np.minimum(np.add(offset, turned.shape), shape)
    there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    here = tuple(slice(a - o, b - o) for a, b, o in zip(low, high, offset, strict=True))
    pasted[there] = turned[here]
    return pasted


def _corners(shape: tuple[int, int, int]) -> Floats:
    return np.array([[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * (np.array(shape) - 1.0)


def _check_meeting(labels: Labels, source: Grid, target: Grid) -> None:
    """Refuse a mask whose marked part lies wholly outside the scan; of an empty one, all of it counts."""
    box = np.array([_marked_range(labels, axis) for axis in range(3)])
    points = np.array([[z, y, x] for z in box[0] for y in box[1] for x in box[2]])
    on_target = target.to_index(source.to_lps(points))
    outside = (on_target.max(axis=0) < -0.5) | (on_target.min(axis=0) > np.array(target.shape) - 0.5)
    if outside.any():
        apart = np.linalg.norm(_centre(target) - source.to_lps(box.mean(axis=1)))
        raise ScanError(
            Reason.MASK_GRID,
            f"the mask does not meet the scan: their centres are {apart:.0f} mm apart. "
            "Give the mask of this scan, in its patient space",
        )


def _marked_range(labels: Labels, axis: int) -> tuple[float, float]:
    """First and last face of the voxels that are not 0, along one axis; of all voxels where none is."""
    marked = np.flatnonzero(labels.any(axis=tuple({0, 1, 2} - {axis})))
    first, last = (marked[0], marked[-1]) if marked.size else (0, labels.shape[axis] - 1)
    return float(first) - 0.5, float(last) + 0.5


def _centre(grid: Grid) -> Floats:
    return grid.to_lps((np.array(grid.shape) - 1) / 2)


def _resample(labels: Labels, source: Grid, target: Grid) -> Labels:
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(target.shape[::-1])
    resampler.SetOutputSpacing(target.spacing_mm[::-1])
    resampler.SetOutputOrigin(target.origin_mm)
    resampler.SetOutputDirection(target.direction)
    resampler.SetInterpolator(sitk.sitkNearestNeighbor)
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(source.spacing_mm[::-1])
    image.SetOrigin(source.origin_mm)
    image.SetDirection(source.direction)
    return sitk.GetArrayFromImage(resampler.Execute(image))


def _padded(values: npt.NDArray[np.int64], n: int) -> npt.NDArray[np.int64]:
    return np.pad(values, (0, max(0, n + 1 - values.size)))[1 : n + 1]
