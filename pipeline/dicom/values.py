"""Stored values to rescaled values, exactly, in the smallest type that holds them.

Output = stored x RescaleSlope + RescaleIntercept (PS3.3 C.11.1), slice by slice. MONOCHROME1 changes nothing: it says
how to display (PS3.3 C.7.6.3.1.2), not what a value means, so HU stay HU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from pipeline.dicom.acquisition import real
from pipeline.errors import ScanError
from pipeline.grid import Floats
from schemas.reasons import Reason

Voxels = npt.NDArray[np.generic]
"""Values of any type."""

_INTEGER_TYPES = (np.int16, np.uint16, np.int32, np.uint32)


def rescale(stored: Voxels, slopes: Floats, intercepts: Floats) -> Voxels:
    """Rescaled values of a stack of slices.

    Args:
        stored: [z, y, x] stored values, integers or floats; may be overwritten.
        slopes: (z,) RescaleSlope.
        intercepts: (z,) RescaleIntercept.

    Returns:
        int16, or uint16, int32, uint32 where it takes that, where slope and intercept are whole (8 bits stay 8 bits
        where nothing is rescaled); else float32.
    """
    whole = bool(np.all(slopes == np.rint(slopes)) and np.all(intercepts == np.rint(intercepts)))
    if np.all(slopes == 1) and np.all(intercepts == 0):
        return smallest(stored)
    if not whole or not np.issubdtype(stored.dtype, np.integer):
        return _rescale_float(stored, slopes, intercepts)
    low, high = _bounds(stored, slopes, intercepts)
    target = next((t for t in _INTEGER_TYPES if np.iinfo(t).min <= low and high <= np.iinfo(t).max), None)
    if target is None:
        return _rescale_float(stored, slopes, intercepts)
    return _rescale_whole(stored, slopes, intercepts, np.dtype(target))


def smallest(values: Voxels) -> Voxels:
    """The same values in the smallest type that holds them exactly; floats that are not whole become float32."""
    if values.dtype.itemsize == 1 and np.issubdtype(values.dtype, np.integer):
        return values
    if np.issubdtype(values.dtype, np.floating) and not _is_whole(values):
        return values.astype(np.float32, copy=False)
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    for target in _INTEGER_TYPES:
        if np.iinfo(target).min <= low and high <= np.iinfo(target).max:
            return values.astype(target, copy=False)
    return values.astype(np.float32)


def check_values(voxels: Voxels) -> None:
    """Refuse voxels that hold nothing.

    Raises:
        ScanError: no_values where none is finite, or all are the same.
    """
    if voxels.dtype.kind == "f" and not np.any(np.isfinite(voxels)):
        raise ScanError(Reason.NO_VALUES, "no voxel has a finite value")
    if np.all(voxels == voxels.flat[0]):
        raise ScanError(Reason.NO_VALUES, f"all {voxels.size} voxels have the same value")


def slopes_of(dataset: Dataset, n_frames: int) -> tuple[Floats, Floats]:
    """(n,) RescaleSlope and (n,) RescaleIntercept of an image's frames; 1 and 0 where there is none."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * n_frames
    groups = []
    for frame in frames[:n_frames]:
        items = frame.get("PixelValueTransformationSequence") or shared.get("PixelValueTransformationSequence")
        groups.append(items[0] if items else dataset)
    slopes = [_number(group.get("RescaleSlope"), 1.0) for group in groups]
    return np.array(slopes), np.array([_number(group.get("RescaleIntercept"), 0.0) for group in groups])


def _number(value: Any, otherwise: float) -> float:
    number = real(value)
    return otherwise if number is None else number


def _is_whole(values: Voxels) -> bool:
    # slice by slice: most fractional volumes show it in the first
    return all(bool(np.all(np.isfinite(part)) and np.all(part == np.rint(part))) for part in values)


def _bounds(stored: Voxels, slopes: Floats, intercepts: Floats) -> tuple[float, float]:
    axes = tuple(range(1, stored.ndim))
    ends = [
        end.astype(np.float64) * slopes + intercepts
        for end in (stored.min(axis=axes, initial=None), stored.max(axis=axes, initial=None))  # type: ignore[call-overload]
    ]
    return float(np.min(ends)), float(np.max(ends))


def _rescale_whole(stored: Voxels, slopes: Floats, intercepts: Floats, target: np.dtype[Any]) -> Voxels:
    if stored.dtype == target and np.all(slopes == 1):  # in place: modular arithmetic ends where the bounds say
        np.add(stored, intercepts.astype(target)[:, None, None], out=stored)
        return stored
    values = np.empty(stored.shape, target)
    for out, part, slope, intercept in zip(values, stored, slopes, intercepts, strict=True):
        out[...] = part.astype(np.int64) * int(slope) + int(intercept)
    return values


def _rescale_float(stored: Voxels, slopes: Floats, intercepts: Floats) -> Voxels:
    values = np.empty(stored.shape, np.float32)
    for out, part, slope, intercept in zip(values, stored, slopes, intercepts, strict=True):
        out[...] = part.astype(np.float64) * slope + intercept
    return values
