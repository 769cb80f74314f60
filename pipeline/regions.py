"""Where each label of a mask lies: its box, its voxels, its centroid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import ScanError
from pipeline.masks import LABEL_TYPE
from schemas.reasons import Reason

Box = tuple[slice, slice, slice]
Labels = npt.NDArray[Any]
"""Whole numbers, 0 where nothing is; `LABEL_TYPE` once checked."""
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Region:
    """One label of a mask, cropped to its box.

    It looks into the mask and copies nothing: of a network that marks every level everywhere, the copies of all would
    be many times the scan.
    """

    label: int
    """Its value in the mask."""
    box: Box
    """Where its crop lies in the whole array, half-open, along z, y, x."""
    crop: Labels
    """The whole mask's labels in the box."""
    n_voxels: int
    """Voxels of the label; 1 and more."""
    centroid: tuple[float, float, float]
    """Mean array index z, y, x of its voxels."""

    @property
    def mask(self) -> Bools:
        """Shape of the box; True where the label is. Made anew each time."""
        return np.asarray(self.crop == self.label)

    @property
    def bbox(self) -> list[int]:
        """[z0, y0, x0, z1, y1, x1), half-open."""
        return [s.start for s in self.box] + [s.stop for s in self.box]

    @property
    def start(self) -> npt.NDArray[np.float64]:
        """Array index of the crop's first voxel."""
        return np.array([s.start for s in self.box], dtype=np.float64)


def checked_labels(
    mask: npt.NDArray[np.generic], *, shape: tuple[int, int, int], name: str, kind: npt.DTypeLike = LABEL_TYPE
) -> Labels:
    """The mask as integer labels of a kind on the volume's grid; one of that kind already is not copied.

    Raises:
        ScanError: `mask_grid` where its shape is another, `mask_values` where values are negative or fractional.
    """
    if mask.shape != shape:
        raise ScanError(
            Reason.MASK_GRID,
            f"the mask of {name} has shape {list(mask.shape)}, the volume {list(shape)}; bring it onto that grid",
        )
    whole = mask if np.issubdtype(mask.dtype, np.integer) else _whole(mask, name)
    most = int(np.iinfo(kind).max)
    if not np.can_cast(whole.dtype, kind) and whole.size and not 0 <= whole.min() <= whole.max() <= most:
        raise ScanError(
            Reason.MASK_VALUES,
            f"the mask of {name} holds values from {whole.min()} to {whole.max()}; 0 to {most} are allowed",
        )
    return whole.astype(kind, copy=False)


def find_regions(labels: Labels) -> Iterator[Region]:
    """The regions of a mask by growing label; labels without a voxel are passed over.

    The whole array is looked at once to find its occupied box, that box once for the boxes of all labels.
    """
    occupied = occupied_box(labels)
    if occupied is None:
        return
    shift = [s.start for s in occupied]
    for label, inner in enumerate(ndimage.find_objects(labels[occupied]), start=1):
        if inner is not None:
            z, y, x = (slice(s.start + d, s.stop + d) for s, d in zip(inner, shift, strict=True))
            yield _region(labels[z, y, x], label, (z, y, x))


def _region(crop: Labels, label: int, box: Box) -> Region:
    mask = crop == label
    z, y, x = (place + s.start for place, s in zip(mean_index(mask), box, strict=True))
    return Region(label, box, crop, int(np.count_nonzero(mask)), (z, y, x))


def mean_index(mask: Bools) -> tuple[float, float, float]:
    """Mean array index z, y, x of the True voxels, of which there is one at least."""
    per_plane = [np.count_nonzero(mask, axis=tuple({0, 1, 2} - {axis})) for axis in range(3)]
    z, y, x = (float(np.arange(len(counts)) @ counts) / int(counts.sum()) for counts in per_plane)
    return z, y, x


def occupied_box(labels: Labels) -> Box | None:
    """The smallest box that holds every non-zero voxel; None where there is none."""
    z = _span(np.array([plane.any() for plane in labels], dtype=np.bool_))
    if z is None:
        return None
    flat = np.asarray(labels[z].any(axis=0))
    y, x = _span(np.asarray(flat.any(axis=1))), _span(np.asarray(flat.any(axis=0)))
    if y is None or x is None:
        return None
    return z, y, x


def touches_face(region: Region, shape: tuple[int, int, int]) -> bool:
    """Whether a region reaches a face of the volume; an axis of one voxel (a planar image) has no faces."""
    return any(n > 1 and (s.start == 0 or s.stop == n) for s, n in zip(region.box, shape, strict=True))


def grown(box: Box, *, by: tuple[int, int, int], shape: tuple[int, int, int]) -> Box:
    """A box with a margin in voxels along z, y, x, kept inside the volume."""
    z, y, x = (slice(max(s.start - m, 0), min(s.stop + m, n)) for s, m, n in zip(box, by, shape, strict=True))
    return z, y, x


def inside(inner: Box, outer: Box) -> Box:
    """A box as slices of the crop that `outer` is."""
    z, y, x = (slice(i.start - o.start, i.stop - o.start) for i, o in zip(inner, outer, strict=True))
    return z, y, x


def _whole(mask: npt.NDArray[np.generic], name: str) -> Labels:
    with np.errstate(invalid="ignore"):  # NaN becomes a number that differs from it
        whole = mask.astype(np.int64)
    if not np.array_equal(whole, mask):
        raise ScanError(Reason.MASK_VALUES, f"the mask of {name} has fractional values; give whole numbers from 0 up")
    return whole


def _span(occupied: Bools) -> slice | None:
    places = np.flatnonzero(occupied)
    return slice(int(places[0]), int(places[-1]) + 1) if places.size else None
