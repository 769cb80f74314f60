"""What stored values mean: HU for CT, an arbitrary scale for MR, and for PET whatever its header says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydicom import Dataset

from pipeline.dicom.acquisition import real, text
from pipeline.dicom.suv import SUV_KEYWORDS, suv_of
from pipeline.errors import ScanError
from schemas.reasons import Reason

UNIT_KEYWORDS: tuple[str, ...] = ("Units", "RescaleType", "RescaleSlope", "RescaleIntercept", *SUV_KEYWORDS)
"""What is read of every file to tell the unit."""


def check_scales(headers: Sequence[Dataset]) -> None:
    """Refuse slices of which some say how their values are to be read and others do not, or otherwise.

    Args:
        headers: of all files of the volume.

    Raises:
        ScanError: mixed_units.
    """
    scales = [(real(h.get("RescaleSlope")), real(h.get("RescaleIntercept"))) for h in headers]
    silent = scales.count((None, None))
    if 0 < silent < len(scales) and any((slope or 1, intercept or 0) != (1, 0) for slope, intercept in scales):
        raise ScanError(
            Reason.MIXED_UNITS,
            f"{silent} of {len(scales)} slices do not say how to rescale their values, the others have a RescaleSlope "
            "and a RescaleIntercept",
        )
    for keyword in ("Units", "RescaleType"):
        said = {value for h in headers if (value := text(h.get(keyword))) is not None}
        if len(said) > 1:
            raise ScanError(Reason.MIXED_UNITS, f"slices have {len(said)} different {keyword}")


def units_of(headers: Sequence[Dataset], modality: str | None) -> dict[str, Any]:
    """`intensity_unit`, and for PET `suv_factor`, `suv_reason` and `uptake_minutes`, by column of the catalog."""
    header = headers[0]
    if modality == "CT":
        return {"intensity_unit": _ct_unit(header)}
    if modality == "MR":
        return {"intensity_unit": "arbitrary"}
    if modality == "PT":
        return suv_of(headers)
    if modality == "NM":
        return {"intensity_unit": text(header.get("Units")) or "counts"}
    return {"intensity_unit": text(header.get("RescaleType"))}


def _ct_unit(header: Dataset) -> str | None:
    """HU where RescaleType says so, or where it says nothing (PS3.3 C.8.2.1.1.2: then it is HU for original images)."""
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    frames = (header.get("PerFrameFunctionalGroupsSequence") or [Dataset()])[0]
    items = frames.get("PixelValueTransformationSequence") or shared.get("PixelValueTransformationSequence")
    group = items[0] if items else header
    if real(group.get("RescaleIntercept")) is None:
        return None
    said = text(group.get("RescaleType")) or "HU"
    return "unspecified" if said == "US" else said
