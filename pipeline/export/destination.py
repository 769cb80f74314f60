"""Where exported files go: a folder, or a prefix of an object storage."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import RequestError
from pipeline.store.filesystem import open_filesystem, service_errors


@dataclass(frozen=True)
class Destination:
    """A place that takes files by their relative paths."""

    uri: str
    """Folder or `s3://bucket/prefix`."""
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """For fsspec."""

    def write(self, path: str, data: bytes) -> str:
        """Write a file, over one that is there; its path.

        Raises:
            RequestError: the folder cannot be written to.
            ServiceError: the object storage was not there.
        """
        if "://" not in self.uri:
            target = Path(self.uri).expanduser() / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            except OSError as error:
                raise RequestError(f"cannot write to the destination: {error.strerror}") from error
            return path
        with service_errors("writing to the destination"):
            filesystem, root = open_filesystem(self.uri, self.storage_options)
            filesystem.pipe_file(posixpath.join(root, path), data)
        return path
