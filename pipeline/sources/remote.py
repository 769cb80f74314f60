"""A prefix of an object storage, or any other place that fsspec reads."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from pipeline.errors import SourceError
from pipeline.sources.files import SourceFile
from pipeline.store import MARK
from pipeline.store.filesystem import open_filesystem, service_errors


def list_remote(uri: str, storage_options: dict[str, Any]) -> Iterator[SourceFile]:
    """Every file below a prefix, or the one file that the address names; hidden ones and stores are passed over.

    Raises:
        SourceError: nothing is there.
        ServiceError: the storage does not answer.
    """
    filesystem, root = open_filesystem(uri, storage_options)
    with service_errors("listing the source"):
        try:
            found = filesystem.find(root, detail=True)
        except FileNotFoundError:
            found = {}
    if not found:
        raise SourceError("there is nothing at the address that `source` names: check bucket, prefix and credentials")
    stores = tuple(f"{posixpath.dirname(path)}/" for path in found if posixpath.basename(path) == MARK)
    for path, info in sorted(found.items()):
        hidden = any(step.startswith(".") for step in path[len(root) :].split("/"))
        if info.get("type") == "file" and not hidden and not path.startswith(stores) and not path.endswith("/"):
            name = path[len(root) :].lstrip("/") or posixpath.basename(path)
            yield SourceFile(filesystem.unstrip_protocol(path), name, int(info.get("size") or 0), stamp_of(info))


def stamp_of(info: dict[str, Any]) -> str:
    """What tells that a file has not changed, from what its storage says of it."""
    return next((str(info[key]) for key in ("ETag", "LastModified", "mtime", "created") if info.get(key)), "")
