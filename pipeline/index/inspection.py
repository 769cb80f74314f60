"""What each file of a source is, from its first bytes and its header."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, BinaryIO

from pipeline.dicom.headers import Record, looks_like_dicom, read_header, record_of, unreadable
from pipeline.dicom.quiet import quiet
from pipeline.errors import ScanError, ServiceError
from pipeline.nifti import header_record, is_nifti
from pipeline.sandbox import run_sandboxed
from pipeline.sources import dicomweb
from pipeline.sources.archives import is_archive
from pipeline.sources.files import SourceFile, file_errors
from pipeline.sources.opening import open_file

UNREADABLE: Record = ("unreadable", "{}")

BATCH = 64
"""Files that a helper process inspects at a time."""

ALONE_SECONDS = 1.0
"""How long this process inspects alone before it starts helpers."""

_BATCH_SECONDS = 300.0
_FILE_SECONDS = 60.0
_MEMORY_MB = 4096
_START_BYTES = 32768
_AT_A_TIME = 16


def inspect_all(
    files: Sequence[SourceFile],
    *,
    storage_options: dict[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> list[Record]:
    """The kind and the header record of every file, in order; many files are shared among helper processes.

    Kinds are dicom, nifti, not_image, not_dicom and unreadable.

    Raises:
        ServiceError: the service that holds the files does not answer.
    """
    report = progress or _silent
    records: list[Record] = []
    begin = time.perf_counter()
    for batch in _batches(files, BATCH):  # a helper takes a second to start: small sources are done by then
        if time.perf_counter() - begin > ALONE_SECONDS and len(files) - len(records) > BATCH:
            break
        records += _inspect_many(batch, storage_options)
        report(len(records), len(files))
    return records + _by_helpers(files[len(records) :], len(records), storage_options, report)


def _by_helpers(
    files: Sequence[SourceFile], before: int, storage_options: dict[str, Any], report: Callable[[int, int], None]
) -> list[Record]:
    if not files:
        return []
    done, total = before, before + len(files)
    with ThreadPoolExecutor(_helpers()) as pool:
        batches = [pool.submit(_inspect_batch, batch, storage_options) for batch in _batches(files, BATCH)]
        try:
            for batch in as_completed(batches):
                done += len(batch.result())
                report(done, total)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [record for batch in batches for record in batch.result()]


def inspect(file: SourceFile, *, storage_options: dict[str, Any]) -> Record:
    """The kind and the header record of one file."""
    try:
        if file.uri.startswith(dicomweb.SCHEME):
            return _of_server(file.uri)
        with file_errors(), open_file(file, storage_options=storage_options) as stream:
            return _inspect(file, stream)
    except ScanError as error:
        return "unreadable", unreadable(error.sentence)


def _of_server(uri: str) -> Record:
    try:
        with quiet():
            return record_of(dicomweb.read_header(uri))
    except (ScanError, ServiceError):
        raise
    except Exception:  # a header may hold anything
        return UNREADABLE


def inspect_task(arguments: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
    """Inspect a batch of files inside a helper process."""
    files = [SourceFile(*fields) for fields in arguments["files"]]
    return {"records": _inspect_many(files, arguments["storage_options"])}, b""


def _inspect_many(files: Sequence[SourceFile], storage_options: dict[str, Any]) -> list[Record]:
    if all("://" not in file.uri for file in files):
        return [inspect(file, storage_options=storage_options) for file in files]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:  # what is far away is waited for together
        return list(pool.map(lambda file: inspect(file, storage_options=storage_options), files))


def _inspect(file: SourceFile, stream: BinaryIO) -> Record:
    start = stream.read(_START_BYTES)
    if is_nifti(file.name):
        stream.seek(max(0, file.size - 8))
        return "nifti", json.dumps(header_record(start, stream.read(8), file.name))
    if looks_like_dicom(start):
        return read_header(stream, start=start, size=file.size)
    if is_archive(file.name):
        return UNREADABLE
    if not file.name.lower().endswith((".dcm", ".dicom")):
        return "not_dicom", "{}"
    said = "has other content: see what it is" if start else "is empty: fetch it again"
    return "unreadable", unreadable(f"a file with the name of a DICOM file {said}")


def _inspect_batch(files: Sequence[SourceFile], storage_options: dict[str, Any]) -> list[Record]:
    try:
        return _sandboxed(files, storage_options, _BATCH_SECONDS)
    except ScanError:  # one of them ended the helper, or took too long: which?
        return [record for file in files for record in _alone(file, storage_options)]


def _alone(file: SourceFile, storage_options: dict[str, Any]) -> list[Record]:
    try:
        return _sandboxed([file], storage_options, _FILE_SECONDS)
    except ScanError:
        return [UNREADABLE]


def _sandboxed(files: Sequence[SourceFile], storage_options: dict[str, Any], seconds: float) -> list[Record]:
    arguments = {"files": [(f.uri, f.name, f.size, f.stamp) for f in files], "storage_options": storage_options}
    head, _ = run_sandboxed("headers", arguments, seconds=seconds, memory_mb=_MEMORY_MB)
    return [(kind, record) for kind, record in head["records"]]


def _helpers() -> int:
    return max(1, min(len(os.sched_getaffinity(0)), 16))


def _batches(files: Sequence[SourceFile], count: int) -> Iterator[Sequence[SourceFile]]:
    for start in range(0, len(files), count):
        yield files[start : start + count]


def _silent(done: int, total: int) -> None:
    """No progress is asked for."""
