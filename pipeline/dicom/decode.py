"""Encoded pixels to stored values.

Uncompressed little endian pixels are read where they stand in the file, in this process: nothing is interpreted but
their size. Everything else goes through a decoder, and so through a sandbox that can end without harm.
"""

from __future__ import annotations

import tempfile
from io import BytesIO
from struct import unpack_from
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from pipeline.dicom.acquisition import real
from pipeline.dicom.elements import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from pipeline.dicom.part10 import Part10
from pipeline.dicom.values import Voxels
from pipeline.errors import ScanError
from schemas.reasons import Reason

ALWAYS_LOSSY = {
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
}
"""Encodings that lose, whatever LossyImageCompression says."""

LOSSY_SYNTAXES = {
    "1.2.840.10008.1.2.4.81": "JPEG-LS near-lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
    "1.2.840.10008.1.2.4.93": "JPEG 2000 part 2",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
}
"""Encodings that may lose; they count as lossy unless LossyImageCompression says `00`."""

_INTEGERS = {8: "u1", 16: "u2", 32: "u4"}
_FLOATS = {0x7FE00008: "<f4", 0x7FE00009: "<f8"}
_UNDEFINED = 0xFFFFFFFF
_PIXEL_VRS = (b"OB", b"OW", b"OF", b"OD", b"UN")
"""All begin with an odd byte: no length of an implicit element, which is even, looks like one."""
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GEOMETRY_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


def is_native(part: Part10) -> bool:
    """Whether the pixels stand in the file as plain little endian numbers."""
    if part.pixels_at is None or part.transfer_syntax not in (EXPLICIT_LITTLE, IMPLICIT_LITTLE):
        return False
    return int(real(part.dataset.get("BitsAllocated")) or 16) in _INTEGERS


def is_lossy(dataset: Dataset, transfer_syntax: str) -> bool:
    """Whether the pixels were compressed with loss, now or before (PS3.3 C.7.6.1.1.5)."""
    flag = str(dataset.get("LossyImageCompression") or "")
    if transfer_syntax in ALWAYS_LOSSY:
        return True
    return flag == "01" or (transfer_syntax in LOSSY_SYNTAXES and flag != "00")


def frame_shape(dataset: Dataset) -> tuple[int, int, int]:
    """Frames, rows, columns of an image.

    Raises:
        ScanError: colour, unreadable.
    """
    samples = int(real(dataset.get("SamplesPerPixel")) or 1)
    if samples != 1 or str(dataset.get("PhotometricInterpretation")) == "PALETTE COLOR":
        raise ScanError(Reason.COLOUR, f"pixels are colours ({samples} samples each); one measured value is allowed")
    frames, rows, columns = (int(real(dataset.get(k)) or 0) for k in ("NumberOfFrames", "Rows", "Columns"))
    if rows < 1 or columns < 1 or frames < 0:
        raise ScanError(Reason.UNREADABLE, f"an image of {rows} rows, {columns} columns and {frames} frames is none")
    return max(frames, 1), rows, columns


def native_frames(part: Part10, data: bytes | memoryview) -> Voxels:
    """The stored values [frame, y, x] of an uncompressed image, as a view on its bytes where that is possible.

    Raises:
        ScanError: truncated, colour, unreadable.
    """
    shape = frame_shape(part.dataset)
    start, length, kind = _pixel_element(part, data)
    expected = int(np.prod(shape)) * kind.itemsize
    if min(length, len(data) - start) < expected:
        raise ScanError(
            Reason.TRUNCATED,
            f"an image has {max(0, min(length, len(data) - start))} bytes of pixels where {expected} are expected",
        )
    stored = np.frombuffer(data, kind, expected // kind.itemsize, start).reshape(shape)
    return used_bits(stored, part.dataset)


def used_bits(stored: Voxels, dataset: Dataset) -> Voxels:
    """Stored values without what lies in the bits that are not theirs, such as old overlays (PS3.5, 8.1.1)."""
    bits = int(real(dataset.get("BitsStored")) or 0)
    unused = stored.dtype.itemsize * 8 - bits
    if stored.dtype.kind == "f" or bits < 1 or unused <= 0:
        return stored
    high = int(real(dataset.get("HighBit")) or bits - 1)
    left = stored.dtype.itemsize * 8 - 1 - high
    if left < 0:
        return stored
    limit = 1 << bits
    if stored.dtype.kind == "u" and left == unused and (not stored.size or int(stored.max()) < limit):
        return stored
    integers: npt.NDArray[np.integer[Any]] = stored  # type: ignore[assignment]
    return (integers << left) >> unused  # the right shift of a signed type keeps the sign


def decode_by_library(data: bytes) -> Voxels:
    """The stored values [frame, y, x] of an image in any encoding: by pydicom and its plugins, else by GDCM.

    To be called in a sandbox: decoders may take any memory and any time, and may end the process.

    Raises:
        ScanError: truncated, colour, codec_unsupported, unreadable.
    """
    dataset = pydicom.dcmread(BytesIO(data), force=True)
    shape = frame_shape(dataset)
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", ""))) if hasattr(dataset, "file_meta") else UID("")
    if not any(keyword in dataset for keyword in _PIXEL_KEYWORDS):
        raise ScanError(Reason.TRUNCATED, "an image ends before its pixels: fetch the file again")
    try:
        return used_bits(dataset.pixel_array.reshape(shape), dataset)
    except Exception as error:
        if "less than expected" in str(error):
            raise ScanError(Reason.TRUNCATED, "an image has fewer bytes of pixels than it says") from None
    return _decode_by_gdcm(dataset, syntax, shape)


def pixels_task(_: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Decode a file inside a helper process."""
    frames = decode_by_library(payload)
    frames = frames.astype(frames.dtype.newbyteorder("<"), copy=False)
    return {"shape": frames.shape, "dtype": frames.dtype.str}, frames.tobytes()


def _decode_by_gdcm(dataset: Dataset, syntax: UID, shape: tuple[int, int, int]) -> Voxels:
    import SimpleITK as sitk

    # only the pixels are asked for: no rescaling, no turning of MONOCHROME1
    for keyword in ("RescaleSlope", "RescaleIntercept", *_GEOMETRY_GROUPS):
        dataset.pop(keyword, None)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    with tempfile.NamedTemporaryFile(prefix="image-", suffix=".dcm") as file:
        try:
            dataset.save_as(file.name, enforce_file_format=False)
            pixels = sitk.GetArrayFromImage(sitk.ReadImage(file.name, imageIO="GDCMImageIO"))
            return used_bits(pixels.reshape(shape), dataset)
        except Exception as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the temporary file
                raise
            raise _unreadable(syntax) from None


def _unreadable(syntax: UID) -> ScanError:
    if _is_known(syntax):
        return ScanError(Reason.UNREADABLE, f"pixels encoded as {syntax.name} are damaged: fetch the file again")
    name = syntax.name if syntax.name != str(syntax) else "unknown"
    return ScanError(
        Reason.CODEC_UNSUPPORTED, f"pixels are in transfer syntax {syntax} ({name}), which no installed decoder reads"
    )


def _is_known(syntax: UID) -> bool:
    try:
        return get_decoder(syntax).is_available
    except NotImplementedError:
        return False


def _pixel_element(part: Part10, data: bytes | memoryview) -> tuple[int, int, np.dtype[Any]]:
    """Where the pixels start, how many bytes they say to be, and of which type they are."""
    at = part.pixels_at or 0
    # not by the transfer syntax: files that are written otherwise than they say are read by pydicom nevertheless
    start = at + (12 if data[at + 4 : at + 6] in _PIXEL_VRS else 8)
    if start > len(data):
        raise ScanError(Reason.TRUNCATED, "an image ends before its pixels: fetch the file again")
    group, number = unpack_from("<HH", data, at)
    length = unpack_from("<L", data, start - 4)[0]
    tag = group << 16 | number
    if tag in _FLOATS:
        return start, length, np.dtype(_FLOATS[tag])
    if length == _UNDEFINED:
        raise ScanError(Reason.UNREADABLE, "pixels that should be uncompressed come in fragments")
    bits = int(real(part.dataset.get("BitsAllocated")) or 16)
    kind = np.dtype(f"<{_INTEGERS[bits]}")
    signed = int(real(part.dataset.get("PixelRepresentation")) or 0) == 1
    return start, length, np.dtype(kind.str.replace("u", "i")) if signed else kind
