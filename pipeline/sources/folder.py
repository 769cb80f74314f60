"""A folder of this machine, walked through links."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.sources.files import SourceFile, address_of
from pipeline.store import MARK


def list_folder(root: Path) -> Iterator[SourceFile]:
    """Every file below a folder, sorted by path; linked folders are entered, each folder once.

    Hidden entries (`.git`, `._0001.dcm`) and stores of this program are passed over, and so are links to nothing.

    Raises:
        SourceError: a folder may not be read.
    """
    seen: set[tuple[int, int]] = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        folders, files = _entries(folder)
        if any(entry.name == MARK for entry in files):
            continue
        pending += sorted((Path(entry.path) for entry in folders), reverse=True)
        for entry in files:
            yield _source_file(entry.path, entry.path[len(str(root)) :].lstrip("/"), entry.stat())


def source_file(path: Path) -> SourceFile:
    """One file, by its own name."""
    return _source_file(str(path), path.name, path.stat())


def _source_file(path: str, name: str, status: os.stat_result) -> SourceFile:
    return SourceFile(address_of(path), address_of(name), status.st_size, str(status.st_mtime_ns))


def _entries(folder: Path) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    except PermissionError:
        raise SourceError(
            "a folder of the source may not be read: scans in it would be missing without a word; "
            "grant reading, or leave it out of the source"
        ) from None
    return [e for e in entries if e.is_dir()], [e for e in entries if e.is_file()]
