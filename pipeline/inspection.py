"""What each file of a source is, from its first bytes and its header."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from pipeline.dicom.headers import looks_like_dicom, read_header
from pipeline.errors import ScanError
from pipeline.nifti import header_record, is_nifti
from pipeline.sources.files import SourceFile
from pipeline.sources.opening import read_file

Record = tuple[str, str]
"""Kind (dicom, nifti, not_image, not_dicom, unreadable) and header as JSON."""

_START_BYTES = 65536


def inspect_all(
    files: Sequence[SourceFile],
    *,
    storage_options: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> list[Record]:
    """The kind and the header record of every file, in order."""
    records = []
    for number, file in enumerate(files, 1):
        records.append(inspect(file, storage_options=storage_options))
        if progress is not None:
            progress(number, len(files))
    return records


def inspect(file: SourceFile, *, storage_options: dict[str, Any]) -> Record:
    """The kind and the header record of one file."""
    try:
        start = _start(file, storage_options)
        if is_nifti(file.name):
            return "nifti", json.dumps(header_record(start, _end(file, storage_options), file.name))
        if looks_like_dicom(start):
            with _stream(file, storage_options) as stream:
                return read_header(stream)
        return ("unreadable" if file.name.lower().endswith((".dcm", ".dicom")) else "not_dicom"), "{}"
    except ScanError:
        return "unreadable", "{}"


def _start(file: SourceFile, storage_options: dict[str, Any]) -> bytes:
    with _stream(file, storage_options) as stream:
        return stream.read(_START_BYTES)


def _end(file: SourceFile, storage_options: dict[str, Any]) -> bytes:
    with _stream(file, storage_options) as stream:
        stream.seek(max(0, file.size - 8))
        return stream.read(8)


def _stream(file: SourceFile, storage_options: dict[str, Any]) -> Any:
    if "://" not in file.uri:
        try:
            return Path(file.uri).open("rb")
        except OSError:
            pass
    return BytesIO(read_file(file.uri, storage_options=storage_options))
