"""The DICOM objects that a series was made of, as far as export needs them: their headers."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset

from pipeline.dicom.part10 import read_header_by_pydicom
from pipeline.dicom.quiet import quiet
from pipeline.errors import ScanError
from pipeline.sources.files import path_of
from pipeline.sources.opening import read_file
from pipeline.store import Store
from schemas.reasons import Reason

_NEEDED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows")

Addresses = dict[str, list[str]]
"""series_key to the addresses of its files; they stay in memory, for paths carry names."""


def source_addresses(store: Store) -> Addresses:
    """Where the files of each series are, by the newest crosswalk that has it."""
    found: Addresses = {}
    for path in store.list("private/crosswalk"):
        rows = store.read_table(path, ["series_key", "uris"])
        found |= dict(zip(rows["series_key"].to_pylist(), rows["uris"].to_pylist(), strict=True))
    return found


def read_headers(uris: Iterable[str], storage_options: dict[str, Any]) -> list[Dataset] | None:
    """The headers of a series' files, one per SOP instance; None where one is no DICOM image.

    Raises:
        ScanError: a file is gone or cannot be read.
        ServiceError: the service that holds them does not answer.
    """
    headers: dict[str, Dataset] = {}
    for uri in dict.fromkeys(uris):
        header = _header(_content(uri, storage_options))
        if header is None:
            return None
        headers.setdefault(str(header.SOPInstanceUID), header)
    return list(headers.values())


def _content(uri: str, storage_options: dict[str, Any]) -> BinaryIO:
    if "://" in uri:
        return BytesIO(read_file(uri, storage_options=storage_options))
    try:
        return Path(path_of(uri)).open("rb")
    except OSError as error:
        raise ScanError(Reason.UNREADABLE, f"a file of the series cannot be opened: {error.strerror}") from error


def _header(content: BinaryIO) -> Dataset | None:
    """A header; None of what is no image. What is not DICOM may raise anything, for it is read as if it were."""
    try:
        with content, quiet():
            header = read_header_by_pydicom(content)
            return header if all(keyword in header for keyword in _NEEDED) else None
    except Exception:
        return None
