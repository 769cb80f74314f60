"""A folder of this machine, walked through links."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ServiceError, SourceError
from pipeline.sources.files import SourceFile, address_of
from pipeline.store import MARK

_NOTHING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""Of a link that leads nowhere or round in a circle, and of what went away while we looked."""

Entries = list[tuple[str, os.stat_result]]
"""Paths, and what they are."""


def list_folder(root: Path) -> Iterator[SourceFile]:
    """Every file below a folder, sorted by path; linked folders are entered, each folder once.

    Hidden entries (`.git`, `._0001.dcm`) and stores of this program are passed over, and so are links to nothing.

    Raises:
        SourceError: a folder may not be read.
        ServiceError: the disk does not answer.
    """
    seen: set[tuple[int, int]] = set()
    pending: Entries = [(str(root), root.stat())]
    while pending:
        folder, status = pending.pop()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders, files = _entries(folder)
        if any(os.path.basename(path) == MARK for path, _ in files):
            continue
        pending += reversed(folders)
        for path, status in files:
            yield _source_file(path, path[len(str(root)) :].lstrip("/"), status)


def source_file(path: Path) -> SourceFile:
    """One file, by its own name."""
    return _source_file(str(path), path.name, path.stat())


def _source_file(path: str, name: str, status: os.stat_result) -> SourceFile:
    return SourceFile(address_of(path), address_of(name), status.st_size, str(status.st_mtime_ns))


def _entries(folder: str) -> tuple[Entries, Entries]:
    """The folders and the files in a folder, by name."""
    with _told():
        try:
            with os.scandir(folder) as found:
                shown = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
        except FileNotFoundError:
            return [], []
        entries = [(entry.path, status) for entry in shown if (status := _status(entry)) is not None]
    folders = [(path, status) for path, status in entries if stat.S_ISDIR(status.st_mode)]
    return folders, [(path, status) for path, status in entries if stat.S_ISREG(status.st_mode)]


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What an entry is, or what its link leads to; None where that is nothing."""
    try:
        return entry.stat()
    except OSError as error:
        if error.errno in _NOTHING:
            return None
        raise


@contextmanager
def _told() -> Iterator[None]:
    """Errors without the path, which may hold a name."""
    try:
        yield
    except PermissionError:
        raise SourceError(
            "a folder of the source may not be read: scans in it would be missing without a word; "
            "grant reading, or leave it out of the source"
        ) from None
    except OSError as error:
        raise ServiceError(f"listing the source: {type(error).__name__}: {error.strerror}") from None
