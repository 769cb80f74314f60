"""Encoded pixels to stored values."""

from __future__ import annotations

import numpy as np
from pydicom import Dataset
from pydicom.uid import UID

from pipeline.dicom.values import Voxels
from pipeline.errors import ScanError
from schemas.reasons import Reason


def stored_frames(dataset: Dataset) -> Voxels:
    """The stored values of an image as [frame, y, x].

    Raises:
        ScanError: truncated, colour, codec_unsupported, unreadable.
    """
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise ScanError(Reason.COLOUR, f"{dataset.SamplesPerPixel} samples per pixel; one is allowed")
    if "PixelData" not in dataset and "FloatPixelData" not in dataset and "DoubleFloatPixelData" not in dataset:
        raise ScanError(Reason.TRUNCATED, "an image ends before its pixels: fetch the file again")
    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
    try:
        pixels = dataset.pixel_array
    except Exception as error:
        raise _reason(error, syntax) from None
    return pixels.reshape(-1, int(dataset.Rows), int(dataset.Columns))


def _reason(error: Exception, syntax: UID) -> ScanError:
    if "less than expected" in str(error):
        return ScanError(Reason.TRUNCATED, "an image has fewer bytes of pixels than its rows and columns ask for")
    return ScanError(Reason.CODEC_UNSUPPORTED, f"pixels in transfer syntax {syntax} ({syntax.name}) cannot be decoded")


def is_lossy(dataset: Dataset) -> bool:
    """Whether the pixels were compressed with loss, now or before."""
    return str(dataset.get("LossyImageCompression", "")) == "01"


def rescale_of(dataset: Dataset, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """(n,) RescaleSlope and (n,) RescaleIntercept of an image's frames; 1 and 0 where there is none."""
    groups = _transformations(dataset, n_frames)
    slopes = np.array([_number(group, "RescaleSlope", 1.0) for group in groups])
    intercepts = np.array([_number(group, "RescaleIntercept", 0.0) for group in groups])
    return slopes, intercepts


def _transformations(dataset: Dataset, n_frames: int) -> list[Dataset]:
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or [Dataset()] * n_frames
    groups = []
    for frame in list(frames)[:n_frames]:
        items = frame.get("PixelValueTransformationSequence") or shared[0].get("PixelValueTransformationSequence")
        groups.append(items[0] if items else dataset)
    return groups


def _number(dataset: Dataset, keyword: str, otherwise: float) -> float:
    value = dataset.get(keyword)
    return otherwise if value is None or value == "" else float(value)
