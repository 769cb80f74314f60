"""A DICOM file's header: the few facts that index needs of it, small and as JSON.

A record is `{"common": str, "uid": str, "frames": [...], "varying": {...}}`. `common` is JSON in itself: what the files
of a series have in common, so that equal text is kept in memory once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from pipeline.dicom.acquisition import VARYING, attributes_of, real, text
from pipeline.dicom.frames import Frame, frames_of
from pipeline.dicom.quiet import quiet

NOT_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
    "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
}
"""SOP classes that have rows and columns and are no images of a patient."""

_COMMON: dict[str, str] = {
    "patient_id": "PatientID",
    "issuer": "IssuerOfPatientID",
    "institution": "InstitutionName",
    "study_uid": "StudyInstanceUID",
    "series_uid": "SeriesInstanceUID",
    "study_date": "StudyDate",
    "modality": "Modality",
    "sop_class": "SOPClassUID",
    "frame_of_reference_uid": "FrameOfReferenceUID",
    "device_serial": "DeviceSerialNumber",
    "photometric": "PhotometricInterpretation",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What index knows of one DICOM image."""

    common: Mapping[str, Any]
    """Identity, series, size of a frame, and `attributes`: acquisition attributes by keyword."""
    uid: str
    """SOP Instance UID."""
    frames: tuple[Frame, ...]
    """Its frames; one for a classic image."""
    varying: Mapping[str, float]
    """Attributes that change from slice to slice."""

    @classmethod
    def from_json(cls, record: str) -> Header:
        """The inverse of `image_record`."""
        data = json.loads(record)
        frames = tuple(Frame.from_list(frame) for frame in data["frames"])
        return cls(_parse_common(data["common"]), data["uid"], frames, data["varying"])


def looks_like_dicom(start: bytes) -> bool:
    """Whether the first 132 bytes are those of a DICOM file; one without preamble starts with group 0002 or 0008."""
    if start[128:132] == b"DICM":
        return True
    return (
        start[:2] in (b"\x08\x00", b"\x02\x00")
        and len(start) > 8
        and start[2:4] in (b"\x00\x00", b"\x05\x00", b"\x08\x00")
    )


def read_header(stream: BinaryIO) -> tuple[str, str]:
    """What a DICOM file is and its record: `("dicom", record)`, `("not_image", record)` or `("unreadable", "{}")`."""
    try:
        with quiet():
            return _record(dcmread(stream, stop_before_pixels=True, force=True))
    except (InvalidDicomError, Exception):  # a damaged header may raise anything; it is a row, not a crash
        return "unreadable", "{}"


def _record(dataset: Dataset) -> tuple[str, str]:
    if "DirectoryRecordSequence" in dataset:
        return "not_image", "{}"
    if not text(dataset.get("SOPClassUID")) or not text(dataset.get("SeriesInstanceUID")):
        return "unreadable", "{}"
    rows, columns = real(dataset.get("Rows")), real(dataset.get("Columns"))
    if text(dataset.get("SOPClassUID")) in NOT_IMAGES or not rows or not columns:
        return "not_image", "{}"
    return "dicom", image_record(dataset)


def image_record(dataset: Dataset) -> str:
    """The record of an image, as JSON."""
    attributes = attributes_of(dataset)
    common: dict[str, Any] = {name: text(dataset.get(keyword)) for name, keyword in _COMMON.items()}
    common |= {
        "transfer_syntax": text(dataset.file_meta.get("TransferSyntaxUID")) if hasattr(dataset, "file_meta") else None,
        "rows": int(dataset.Rows),
        "columns": int(dataset.Columns),
        "samples": int(real(dataset.get("SamplesPerPixel")) or 1),
        "bits": int(real(dataset.get("BitsAllocated")) or 16),
        "attributes": {k: v for k, v in attributes.items() if k not in VARYING},
    }
    record = {
        "common": json.dumps({k: v for k, v in common.items() if v is not None}, sort_keys=True),
        "uid": text(dataset.get("SOPInstanceUID")) or "",
        "frames": [frame.to_list() for frame in frames_of(dataset)],
        "varying": {k: attributes[k] for k in VARYING if k in attributes},
    }
    return json.dumps(record)


@lru_cache(maxsize=4096)
def _parse_common(common: str) -> Mapping[str, Any]:
    parsed: dict[str, Any] = json.loads(common)
    return parsed
