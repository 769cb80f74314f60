"""A DICOM file as a data set, and where its pixels begin; whatever it was written as, within bounds.

Ordinary files are scanned for what ingest needs, several times as fast as pydicom reads all of a header; pydicom reads
the others.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement, convert_raw_data_element
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from pipeline.dicom.elements import CHARSET, Element, Incomplete, Scanned, Unusual, dataset_start, scan
from pipeline.errors import ScanError
from schemas.reasons import Reason

_MAX_HEADER = 2**26
"""Bytes that the header of a deflated file may grow to."""

_USUAL_HEADER = 2**16
"""Bytes in which the header of an image mostly ends."""

_BY_THEMSELVES = {"CS", "DS", "IS", "UI", "US", "SS", "UL", "SL", "FD", "FL", "DA", "TM", "DT", "AS"}
"""Value representations that no character set changes."""


@dataclass(frozen=True)
class Part10:
    """One file, its pixels not decoded."""

    dataset: Dataset
    """Its header, or the elements of it that were wanted."""
    transfer_syntax: str
    """UID; empty where the file does not say."""
    pixels_at: int | None
    """Where the element with its pixels begins, in bytes; None where that is not known."""


def open_part10(data: bytes | memoryview, *, wanted: frozenset[int], refused: frozenset[int]) -> Part10:
    """A file's header from its bytes.

    Args:
        data: the file.
        wanted: tags that must be in the data set; more may be.
        refused: tags that call for pydicom.

    Raises:
        ScanError: unreadable, too_large.
    """
    for most in (_USUAL_HEADER, len(data)):
        try:
            scanned = scan(bytes(data[:most]), wanted, refused)
            return Part10(dataset_of(scanned), scanned.transfer_syntax, scanned.end)
        except Incomplete:
            continue
        except Unusual:
            break
    try:
        stream = BytesIO(data)
        dataset = read_header_by_pydicom(stream)
        syntax = str(dataset.file_meta.get("TransferSyntaxUID", "")) if hasattr(dataset, "file_meta") else ""
        inflated = syntax == DeflatedExplicitVRLittleEndian
        return Part10(dataset, syntax, None if inflated else stream.tell())
    except ScanError:
        raise
    except Exception:  # a damaged header may raise anything
        raise ScanError(Reason.UNREADABLE, "the header of a file is damaged: fetch the file again") from None


def dataset_of(scanned: Scanned) -> Dataset:
    """The scanned elements as a data set; pydicom converts a value when it is asked for."""
    return dataset_of_elements(scanned.elements, implicit=scanned.implicit)


def dataset_of_elements(elements: tuple[Element, ...], *, implicit: bool) -> Dataset:
    """Elements as they stand in a file as a data set."""
    dataset = Dataset({BaseTag(e.tag): _element_of(e, implicit) for e in elements})
    if CHARSET in dataset:
        dataset.set_original_encoding(implicit, True, convert_encodings(dataset[CHARSET].value))
    return dataset


@lru_cache(maxsize=16384)
def _element_of(element: Element, implicit: bool) -> DataElement | RawDataElement:
    """An element for a data set, converted where it depends on no other: most are the same in all files of a series."""
    raw = RawDataElement(BaseTag(element.tag), element.vr, len(element.value), element.value, 0, implicit, True)
    if element.vr not in _BY_THEMSELVES:
        return raw
    try:
        return convert_raw_data_element(raw)
    except Exception:  # pydicom says so again where the value is asked for
        return raw


def read_header_by_pydicom(stream: BinaryIO) -> Dataset:
    """Read a header with pydicom; a file without preamble or meta information is read as well as it can be.

    Raises:
        ScanError: too_large where a deflated header grows without end.
        Exception: whatever pydicom raises on a damaged file.
    """
    stream.seek(0)
    start = stream.read(1024)
    stream.seek(0)
    if start[128:132] != b"DICM" or DeflatedExplicitVRLittleEndian.encode() not in start:
        return dcmread(stream, stop_before_pixels=True, force=True)
    return _inflated_header(stream.read())


def _at_pixels(tag: int, *_: object) -> bool:
    return tag >= 0x7FE00008


def _inflated_header(data: bytes) -> Dataset:
    # pydicom would inflate all of it, however much that is
    _, begin = dataset_start(data)
    inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[begin:], _MAX_HEADER)
    dataset = read_dataset(BytesIO(inflated), False, True, stop_when=_at_pixels)
    if len(inflated) == _MAX_HEADER and "Rows" not in dataset:
        raise ScanError(Reason.TOO_LARGE, f"the header inflates to more than {_MAX_HEADER} bytes")
    dataset.file_meta = dcmread(BytesIO(data[:begin]), force=True).file_meta
    return dataset
