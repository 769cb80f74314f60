"""A DICOM file's header: the few facts that index needs of it, small and as JSON.

A record is two lines of JSON: `{"uid": str, "frames": [...], "varying": {...}}`, and what the files of a series have in
common, so that equal text is made once and kept in memory once.

Two ways lead to the same record: `fast_record` over raw bytes, for the ordinary file, and `record_of` over what pydicom
read, for all others. pydicom is the authority; the fast way converts values by pydicom too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import Any, BinaryIO

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.multival import MultiValue

from pipeline.dicom import acquisition, nm
from pipeline.dicom.acquisition import VARYING, attributes_of, real, text
from pipeline.dicom.diffusion import PRIVATE_TAGS
from pipeline.dicom.elements import CHARSET, Element, Incomplete, Unusual, scan
from pipeline.dicom.frames import (
    CLASSIC_KEYWORDS,
    MOVING_KEYWORDS,
    Frame,
    classic_frame,
    frames_of,
    has_functional_groups,
    moved,
)
from pipeline.dicom.part10 import dataset_of_elements, read_header_by_pydicom
from pipeline.dicom.quiet import quiet
from pipeline.dicom.sop_classes import IMAGES, NOT_IMAGES
from pipeline.errors import ScanError, ServiceError

Record = tuple[str, str]
"""Kind (dicom, not_image, unreadable) and record, as JSON."""

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
    "trial_site": "ClinicalTrialSiteID",
    "photometric": "PhotometricInterpretation",
}
_NUMBERS: dict[str, tuple[str, int]] = {
    "rows": ("Rows", 0),
    "columns": ("Columns", 0),
    "samples": ("SamplesPerPixel", 1),
    "bits": ("BitsAllocated", 16),
    "n_frames": ("NumberOfFrames", 1),
}


def _tags(keywords: list[str]) -> frozenset[int]:
    return frozenset(tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None)


_COMMON_TAGS = frozenset({CHARSET}) | _tags(
    [*_COMMON.values(), *(keyword for keyword, _ in _NUMBERS.values()), *(set(acquisition.KEYWORDS) - set(VARYING))]
)
_OWN_KEYWORDS: dict[int, str] = {
    tag: keyword
    for keyword in ("SOPInstanceUID", *MOVING_KEYWORDS, *VARYING)
    if (tag := tag_for_keyword(keyword)) is not None
}
_OWN_VRS = {tag: dictionary_VR(tag) for tag in _OWN_KEYWORDS}
_STEADY_TAGS = (_tags([*CLASSIC_KEYWORDS]) | PRIVATE_TAGS) - set(_OWN_KEYWORDS)
_ALL_TAGS = _COMMON_TAGS | _STEADY_TAGS | frozenset(_OWN_KEYWORDS)
_REFUSED = _tags(
    [
        "DirectoryRecordSequence",
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "EnergyWindowVector",
    ]
)


@dataclass(frozen=True, slots=True)
class Header:
    """What index knows of one DICOM image."""

    common: Mapping[str, Any]
    """Identity, series, size of a frame, and `attributes`: acquisition attributes by keyword."""
    uid: str
    """SOP Instance UID."""
    frames: tuple[Frame, ...]
    """Its frames; one for a classic image, and for several frames of which nothing is said."""
    varying: Mapping[str, float]
    """Attributes that change from slice to slice."""

    @classmethod
    def from_json(cls, record: str) -> Header:
        """The inverse of `image_record`."""
        own, _, common = record.partition("\n")
        data = json.loads(own)
        frames = tuple(Frame.from_list(frame) for frame in data["frames"])
        return cls(_parse_common(common), data["uid"], frames, data["varying"])


_FIRST_TAGS = {
    pack(order, group, element)
    for order in ("<HH", ">HH")
    for group, elements in ((0x0002, (0, 1, 2, 3, 0x10)), (0x0008, (0, 1, 5, 6, 8, 0x12, 0x16, 0x18)))
    for element in elements
}


def looks_like_dicom(start: bytes) -> bool:
    """Whether the first bytes are those of a DICOM file; one without preamble starts with group 0002 or 0008."""
    return start[128:132] == b"DICM" or start[:4] in _FIRST_TAGS


def read_header(stream: BinaryIO, *, start: bytes, size: int) -> Record:
    """What a DICOM file is, and its record.

    Args:
        stream: the file, anywhere in it.
        start: its first bytes.
        size: its size in bytes.

    Raises:
        ScanError: too_large.
        ServiceError: the service that holds it does not answer.
        OSError: the disk does not.
    """
    try:
        return _fast(stream, start, size)
    except Unusual:
        pass
    try:
        with quiet():
            return record_of(read_header_by_pydicom(stream))
    except (ScanError, ServiceError):
        raise
    except Exception as error:  # a damaged header may raise anything: it becomes a row
        if isinstance(error, OSError) and error.errno is not None:  # the stream's, which says nothing of the header
            raise
        return "unreadable", "{}"


def _fast(stream: BinaryIO, start: bytes, size: int) -> Record:
    while True:
        try:
            return fast_record(start)
        except Incomplete:
            if len(start) >= size:
                raise Unusual from None
        stream.seek(len(start))
        more = stream.read(15 * len(start))
        if not more:
            raise Unusual
        start += more


def fast_record(data: bytes) -> Record:
    """The record of a file by its first bytes.

    Raises:
        Unusual: pydicom must read it.
        Incomplete: the header goes on behind `data`.
    """
    scanned = scan(data, _ALL_TAGS, _REFUSED)
    key = tuple(e for e in scanned.elements if e.tag in _COMMON_TAGS)
    try:
        common = _common_of_elements(key, scanned.transfer_syntax, scanned.implicit)
        kind = _kind(_parse_common(common))
        if kind != "dicom":
            return kind, _why(_parse_common(common)) if kind == "unreadable" else "{}"
        steady = _steady_frame(tuple(e for e in scanned.elements if e.tag in _STEADY_TAGS), scanned.implicit)
        values = {
            _OWN_KEYWORDS[e.tag]: _own_value(e, scanned.implicit) for e in scanned.elements if e.tag in _OWN_KEYWORDS
        }
        return kind, _dump(common, [moved(steady, values)], values)
    except Exception:
        raise Unusual from None


def record_of(dataset: Dataset) -> Record:
    """The record of a file that pydicom read."""
    if "DirectoryRecordSequence" in dataset:
        return "not_image", "{}"
    syntax = text(dataset.file_meta.get("TransferSyntaxUID")) if hasattr(dataset, "file_meta") else None
    common = common_of(dataset, syntax)
    kind = _kind(_parse_common(common))
    if kind == "unreadable":
        return kind, _why(_parse_common(common))
    if kind != "dicom":
        return kind, mask_record(dataset)
    values = {keyword: dataset.get(keyword) for keyword in _OWN_KEYWORDS.values() if keyword in dataset}
    if has_functional_groups(dataset):
        values |= {k: v for k, v in acquisition.flatten(dataset).items() if k in VARYING}
    return kind, _dump(common, nm.frames_of(dataset) or frames_of(dataset), values)


def mask_record(dataset: Dataset) -> str:
    """Of a segmentation or a structure set: what it was drawn on, and what it names; `{}` for other objects."""
    frames = [dataset.get("FrameOfReferenceUID")]
    referenced = list(dataset.get("ReferencedSeriesSequence") or [])
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        frames.append(frame.get("FrameOfReferenceUID"))
        for study in frame.get("RTReferencedStudySequence") or []:
            referenced += study.get("RTReferencedSeriesSequence") or []
    segments = [_named(item, "SegmentLabel") for item in dataset.get("SegmentSequence") or []]
    segments += [_named(item, "ROIName") for item in dataset.get("StructureSetROISequence") or []]
    series = sorted({uid for item in referenced if (uid := text(item.get("SeriesInstanceUID")))})
    if not (series and segments):
        return "{}"
    spaces = sorted({uid for frame in frames if (uid := text(frame))})
    study = text(dataset.get("StudyInstanceUID"))
    uid = text(dataset.get("SOPInstanceUID"))
    return json.dumps(
        {"uid": uid, "series": series, "segments": segments, "frames_of_reference": spaces, "study": study}
    )


def _named(item: Dataset, keyword: str) -> list[str]:
    code = (item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
    values = (item.get(keyword), code.get("CodeValue"), code.get("CodingSchemeDesignator"))
    return [text(value) or "" for value in values]


def common_of(dataset: Dataset, transfer_syntax: str | None) -> str:
    """What a header has in common with the others of its series, as JSON."""
    common: dict[str, Any] = {name: text(dataset.get(keyword)) for name, keyword in _COMMON.items()}
    common |= {name: int(real(dataset.get(keyword)) or default) for name, (keyword, default) in _NUMBERS.items()}
    attributes = {k: v for k, v in attributes_of(dataset).items() if k not in VARYING}
    common |= {"transfer_syntax": transfer_syntax, "attributes": attributes}
    common["modality"] = (common["modality"] or "").upper() or IMAGES.get(common["sop_class"] or "")
    return json.dumps({k: v for k, v in common.items() if v is not None}, sort_keys=True)


def _kind(common: Mapping[str, Any]) -> str:
    sop_class = common.get("sop_class")
    if not sop_class or not common.get("series_uid"):
        return "unreadable"
    if common["rows"] < 1 or common["columns"] < 1:
        return "unreadable" if sop_class in IMAGES else "not_image"
    return "not_image" if sop_class in NOT_IMAGES else "dicom"


def _why(common: Mapping[str, Any]) -> str:
    """What an unreadable header lacks, as a record."""
    if not common.get("sop_class"):
        return unreadable("a DICOM file does not say what it is (SOPClassUID is missing): fetch or export it again")
    if not common.get("series_uid"):
        return unreadable("a DICOM file belongs to no series (SeriesInstanceUID is missing): fetch or export it again")
    return unreadable("an image has no rows or no columns: fetch it again")


def unreadable(why: str) -> str:
    """The record of a file that cannot be read, with a sentence for its row."""
    return json.dumps({"why": why})


def _dump(common: str, frames: list[Frame], values: Mapping[str, Any]) -> str:
    varying = {keyword: number for keyword in VARYING if (number := real(values.get(keyword))) is not None}
    uid = text(values.get("SOPInstanceUID")) or ""
    own = {"uid": uid, "frames": [frame.to_list() for frame in frames], "varying": varying}
    return f"{_encode(own)}\n{common}"


_PLAIN = {"DS": float, "IS": float, "TM": str, "UI": str}
_encode = json.JSONEncoder().encode


def _own_value(element: Element, implicit: bool) -> Any:
    """A value of which few files share one; plain ones are read here, the others by pydicom, remembered."""
    read = _PLAIN.get(element.vr or _OWN_VRS[element.tag])
    if read is None:
        return _by_pydicom(element, implicit)
    try:
        values = [read(part.strip()) for part in element.value.decode("ascii").rstrip("\0 ").split("\\")]
    except ValueError:
        return _by_pydicom(element, implicit)
    return values[0] if len(values) == 1 else values


@lru_cache(maxsize=4096)
def _steady_frame(elements: tuple[Element, ...], implicit: bool) -> Frame:
    """The frame of a classic image as far as it is that of its neighbours too."""
    with quiet():
        dataset = dataset_of_elements(elements, implicit=implicit)
        return classic_frame(dataset)


@lru_cache(maxsize=16384)
def _by_pydicom(element: Element, implicit: bool) -> Any:
    with quiet():
        value = dataset_of_elements((element,), implicit=implicit)[element.tag].value
    return tuple(value) if isinstance(value, MultiValue) else value


@lru_cache(maxsize=4096)
def _common_of_elements(elements: tuple[Element, ...], transfer_syntax: str, implicit: bool) -> str:
    with quiet():
        return common_of(dataset_of_elements(elements, implicit=implicit), transfer_syntax)


@lru_cache(maxsize=4096)
def _parse_common(common: str) -> Mapping[str, Any]:
    parsed: dict[str, Any] = json.loads(common)
    return parsed
