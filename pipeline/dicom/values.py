"""Stored values to rescaled values, exactly, in the smallest type that holds them.

Output = stored x RescaleSlope + RescaleIntercept (PS3.3 C.11.1), slice by slice. MONOCHROME1 changes nothing: it says
how to display (PS3.3 C.7.6.3.1.2), not what a value means, so HU stay HU.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def rescale(stored: Sequence[Voxels], slopes: Floats, intercepts: Floats) -> Voxels:
    """Rescaled values of a stack of slices, [z, y, x].

    Args:
        stored: a slice [y, x] of stored values for each z, integers or floats; a list is emptied on the way, so that
            the volume is not held twice.
        slopes: (z,) RescaleSlope.
        intercepts: (z,) RescaleIntercept.

    Returns:
        int16, or uint16, int32, uint32 where it takes that, where slope and intercept are whole (8 bits stay 8 bits
        where nothing is rescaled); else float32.
    """
    values = np.empty((len(stored), *stored[0].shape), _type_of(stored, slopes, intercepts))
    for number in reversed(range(len(stored))):
        _fill(values[number], stored[number], float(slopes[number]), float(intercepts[number]))
        if isinstance(stored, list):
            stored.pop()
    return values


def smallest(values: Voxels) -> Voxels:
    """The same values in the smallest type that holds them exactly; floats that are not whole become float32."""
    nothing = np.zeros(len(values))
    return values.astype(_type_of(values, nothing + 1, nothing), copy=False)  # type: ignore[arg-type]


def check_values(voxels: Voxels) -> None:
    """Refuse voxels that hold nothing.

    Raises:
        ScanError: no_values where none is finite, or all are the same.
    """
    if voxels.dtype.kind == "f" and not np.any(np.isfinite(voxels)):
        raise ScanError(Reason.NO_VALUES, "no voxel has a finite value")
    first = voxels.flat[0]
    if all(bool(np.all(part == first)) for part in voxels):  # the first slice tells it of nearly every volume
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


def _type_of(stored: Sequence[Voxels], slopes: Floats, intercepts: Floats) -> np.dtype[Any]:
    """The smallest type that holds the rescaled values exactly; float32 where no integer does."""
    kind = np.result_type(*{part.dtype for part in stored})
    is_plain = bool(np.all(slopes == 1) and np.all(intercepts == 0))
    if is_plain and kind.itemsize == 1 and kind.kind in "iu":
        return kind
    if kind.kind == "f":
        is_whole = is_plain and all(map(_is_whole, stored))
    else:
        is_whole = bool(np.all(slopes == np.rint(slopes)) and np.all(intercepts == np.rint(intercepts)))
    low, high = _bounds(stored, slopes, intercepts) if is_whole else (-np.inf, np.inf)
    fits = (t for t in _INTEGER_TYPES if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    return np.dtype(next(fits, np.float32))


def _is_whole(part: Voxels) -> bool:
    return bool(np.all(np.isfinite(part)) and np.all(part == np.rint(part)))


def _bounds(stored: Sequence[Voxels], slopes: Floats, intercepts: Floats) -> tuple[float, float]:
    ends = np.array([[part.min(initial=None), part.max(initial=None)] for part in stored], np.float64)  # type: ignore[call-overload]
    values = ends * slopes[:, None] + intercepts[:, None]
    return float(values.min()), float(values.max())


def _fill(out: Voxels, part: Voxels, slope: float, intercept: float) -> None:
    if (slope, intercept) == (1.0, 0.0):
        out[...] = part.astype(out.dtype, copy=False)
    elif out.dtype.kind == "f":
        out[...] = part.astype(np.float64) * slope + intercept
    elif slope == 1 and part.dtype.itemsize == out.dtype.itemsize:
        # modular arithmetic ends where the bounds say, whatever it passes on the way
        unsigned = np.dtype(f"u{out.dtype.itemsize}")
        shift = np.array(int(intercept) % 2 ** (8 * unsigned.itemsize), unsigned)
        np.add(part.astype(part.dtype.newbyteorder("="), copy=False).view(unsigned), shift, out=out.view(unsigned))
    else:
        out[...] = part.astype(np.int64) * int(slope) + int(intercept)
