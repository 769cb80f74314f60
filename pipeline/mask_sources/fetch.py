"""The file of a mask on this machine: where it lies, or a temporary copy of it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec

from pipeline.errors import ScanError
from pipeline.sources import archives, dicomweb
from pipeline.sources.files import path_of
from pipeline.sources.opening import read_file
from pipeline.store import open_filesystem, service_errors
from schemas.reasons import Reason

_COPIED_AT_ONCE = 8 * 2**20
"""Bytes."""


@contextmanager
def local_file(uri: str, storage_options: dict[str, Any] | None = None) -> Iterator[Path]:
    """A mask's file as a path that programs without fsspec can read; a folder stands for the one file in it.

    Raises:
        ScanError: MASK_MISSING, there is no such file, or several; UNREADABLE, of an archive or a server.
        ServiceError: what holds it does not answer.
    """
    if uri.startswith((archives.SCHEME, dicomweb.SCHEME)):  # as objects of the source are named, and no other masks
        with tempfile.TemporaryDirectory(prefix="spinetally-mask-") as folder:
            copy = Path(folder) / ("mask" + _suffix(uri))
            data = read_file(uri, storage_options=storage_options or {})
            with service_errors("reading a mask"):
                copy.write_bytes(data)
            yield copy
        return
    filesystem, path = open_filesystem(path_of(uri), storage_options or {})
    with service_errors("reading a mask"):
        path = _one_file(filesystem, path)
    if "://" not in uri or uri.startswith("file://"):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="spinetally-mask-") as folder:
        copy = Path(folder) / ("mask" + _suffix(path))
        with service_errors("reading a mask"), filesystem.open(path, "rb") as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, _COPIED_AT_ONCE)
        yield copy


def _one_file(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    if filesystem.isfile(path):
        return path
    inside = [name for name in filesystem.find(path)] if filesystem.isdir(path) else []  # noqa: C416
    if len(inside) == 1:
        return str(inside[0])
    found = f"a folder of {len(inside)} files is there" if inside else "nothing is there"
    raise ScanError(
        Reason.MASK_MISSING,
        f"the mask that the manifest names was not found ({found}): give the address of one file",
    )


def _suffix(path: str) -> str:
    name = Path(path).name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix[:8]
