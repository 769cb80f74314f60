"""Opening the files of any source by their addresses alone, so that a worker needs nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from pipeline.series import SeriesFile
from pipeline.sources import archives, dicomweb
from pipeline.sources.files import SourceFile, file_errors, path_of
from pipeline.store.filesystem import open_filesystem, service_errors

_FIRST_BYTES = 65536
_BLOCK_BYTES = 2**24
Content = bytes | memoryview
"""The bytes of a file, on their own or within a block of others."""
AHEAD = 8
"""Files of a remote source that are fetched at a time."""


def read_file(uri: str, *, storage_options: dict[str, Any], start: int | None = None, end: int | None = None) -> bytes:
    """The bytes of a file, or those from `start` up to `end`.

    Raises:
        ScanError: unreadable where the file is gone, may not be read, or its archive is damaged.
        ServiceError: the service that holds it does not answer.
    """
    with file_errors():
        if uri.startswith(archives.SCHEME):
            return archives.read_member(uri, storage_options=storage_options, start=start, end=end)
        if uri.startswith(dicomweb.SCHEME):
            return dicomweb.read_instance(uri)[start:end]
        if "://" not in uri:
            with Path(path_of(uri)).open("rb") as file:
                file.seek(start or 0)
                return file.read() if end is None else file.read(max(0, end - (start or 0)))
        with service_errors("reading a file of the source"):
            filesystem, path = open_filesystem(uri, storage_options)
            return bytes(filesystem.cat_file(path, start=start, end=end))


def open_file(file: SourceFile, *, storage_options: dict[str, Any]) -> BinaryIO:
    """A file to look into, from its first byte; of one that is not on this machine only the start is fetched at first.

    Raises:
        ScanError: unreadable.
        ServiceError: the service that holds it does not answer.
    """
    if "://" not in file.uri:
        with file_errors():
            return open(path_of(file.uri), "rb")
    return cast("BinaryIO", _Fetched(file, storage_options))


def read_files(files: Sequence[SeriesFile], storage_options: dict[str, Any]) -> Iterator[Content]:
    """The bytes of files, one after the other; remote ones are fetched a few ahead.

    Raises:
        ScanError: unreadable.
        ServiceError: the service that holds them does not answer.
    """
    if all("://" not in file.uri for file in files):
        yield from _read_here(files)
        return
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: deque[Future[bytes]] = deque()
        for file in files:
            waiting.append(pool.submit(read_file, file.uri, storage_options=storage_options))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read_here(files: Sequence[SeriesFile]) -> Iterator[Content]:
    """Files of this machine, several to a block of memory: the system hands out few large blocks faster than many."""
    block, left = memoryview(bytearray()), sum(file.size for file in files)
    for file in files:
        if file.size > len(block):
            block = np.empty(max(file.size, min(_BLOCK_BYTES, left)), np.uint8).data
        with file_errors(), open(path_of(file.uri), "rb", buffering=0) as stream:
            count = stream.readinto(block[: file.size])
            more = stream.read()
        content, block, left = block[:count], block[file.size :], left - file.size
        yield bytes(content) + more if more else content


class _Fetched(RawIOBase):
    """A file of which the first bytes are here; one more request fetches all of it, where more is asked for."""

    def __init__(self, file: SourceFile, storage_options: dict[str, Any]) -> None:
        self._file, self._options, self._at = file, storage_options, 0
        self._data = self._fetch(min(_FIRST_BYTES, file.size))

    def _fetch(self, end: int | None) -> bytes:
        return read_file(self._file.uri, storage_options=self._options, start=0, end=end)

    def read(self, size: int = -1) -> bytes:
        """As a file does."""
        end = self._file.size if size < 0 else min(self._file.size, self._at + size)
        if end > len(self._data):
            self._data = self._fetch(None)
        data = self._data[self._at : end]
        self._at = max(self._at, end)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file does."""
        self._at = offset + (0, self._at, self._file.size)[whence]
        return self._at

    def tell(self) -> int:
        """As a file does."""
        return self._at
