"""The only files that a query can reach: what the store has published, to read.

DuckDB opens files through this and nothing else. It knows the files of one listing by their names and sizes, so nothing
can be reached by a path that was made up, `private/` least of all, and nothing can be written. Files of a store never
change, so what was read is kept.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from fsspec import AbstractFileSystem

from pipeline.store import Store, service_errors

PROTOCOL = "spinetally"
"""Scheme of the addresses that DuckDB gets."""

PUBLISHED = ("catalog", "results", "changes", "compact", "truth/tables", "truth/verdicts")
"""Folders that a query may read. Never `private`, and no voxels."""

_TABLES = (".parquet", "/made_from.json", "/compared.json")
"""What their names end with, of rows or of what tells about them."""

_WHOLE_BYTES = 1 << 18
"""Files up to here are fetched whole: a request costs what so many bytes do."""
_TAIL_BYTES = 96 << 10
"""End of a larger file that is fetched first: its footer and the plain columns before it (`schemas.nested`)."""
_KEPT_BYTES = 1 << 29
"""What is kept of all files."""
_NEVER = datetime(2000, 1, 1, tzinfo=UTC)


def published(store: Store) -> dict[str, int]:
    """Every file that a query may read, relative to the store, with its bytes."""
    found = {path: size for folder in PUBLISHED for path, size in store.sizes(folder).items()}
    return {path: size for path, size in sorted(found.items()) if path.endswith(_TABLES)}


class StoreFiles(AbstractFileSystem):  # type: ignore[misc] # fsspec has no types
    """A read-only filesystem of the files in one listing of a store."""

    protocol = PROTOCOL
    cachable = False

    def __init__(self, store: Store, sizes: dict[str, int]) -> None:
        super().__init__()
        self.store = store
        self.sizes = sizes
        self.failure: Exception | None = None
        """What went wrong while DuckDB was reading, for it passes on no more than the text."""
        self._fs, self._root, self._local = store.fs, store.root, store.is_local
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = Lock()
        self._sets: dict[str, list[str]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix(f"{PROTOCOL}://").lstrip("/")

    def address(self, folder: str) -> str | None:
        """All tables below a folder as DuckDB is to name them: one pattern, for it asks about each name of a list.

        None where there is no table.
        """
        pattern = f"{PROTOCOL}://{folder}/*"
        self._sets[pattern] = [
            f"{PROTOCOL}://{name}" for name in self.sizes if name.startswith(f"{folder}/") and name.endswith(".parquet")
        ]
        return pattern if self._sets[pattern] else None

    def bytes_below(self, folder: str) -> int:
        """Bytes of all files below a folder."""
        return sum(size for name, size in self.sizes.items() if name.startswith(f"{folder}/"))

    def open(self, path: str, mode: str = "rb", *_: Any, **__: Any) -> io.RawIOBase:
        """Open a published file to read.

        Raises:
            PermissionError: it was to be written.
            FileNotFoundError: it is not published.
        """
        if mode != "rb":
            raise PermissionError("a query cannot write: use `-o FILE` of `spinetally sql`, or `spinetally export`")
        name = self._known(path)
        if self._local:
            return _LocalReader(self, name, f"{self._root}/{name}")
        return _Reader(self, name)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name and size of a published file."""
        name = self._known(path)
        return {"name": path, "size": self.sizes[name], "type": "file"}

    def exists(self, path: str, **_: Any) -> bool:
        """Whether the file is published."""
        return self._strip_protocol(path) in self.sizes

    def isfile(self, path: str) -> bool:
        """Whether the file is published."""
        return self.exists(path)

    def isdir(self, path: str) -> bool:  # noqa: ARG002
        """Never: there are only files."""
        return False

    def glob(self, path: str, **_: Any) -> list[str]:
        """The tables of a folder that `address` named, or the file itself; other patterns find nothing."""
        return self._sets.get(path) or ([path] if self.exists(path) else [])

    def modified(self, path: str) -> datetime:  # noqa: ARG002
        """One moment for all: files of a store never change."""
        return _NEVER

    def _known(self, path: str) -> str:
        name = self._strip_protocol(path)
        if name not in self.sizes:
            raise FileNotFoundError("no such table in the store")
        return name

    def fetch_ahead(self, names: Sequence[str]) -> None:
        """Get small files whole, and of larger ones the end, where Parquet keeps its footer; many at a time."""
        if self._local or not names:
            return
        starts = [self._head(name) for name in names]
        with service_errors("reading the store"):
            data = self._fs.cat_ranges(
                [f"{self._root}/{n}" for n in names], starts, [self.sizes[n] for n in names], on_error="raise"
            )
        for name, start, part in zip(names, starts, data, strict=True):
            self._keep((name, start), bytes(part))

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Bytes of a file, from what was kept or from the store."""
        head = self._head(name)
        if start >= head:
            part = self._kept.get((name, head)) or self._keep((name, head), self._get(name, head, self.sizes[name]))
            return part[start - head : stop - head]
        return self._get(name, start, stop)

    def _head(self, name: str) -> int:
        size = self.sizes[name]
        return 0 if size <= _WHOLE_BYTES else size - _TAIL_BYTES

    def _get(self, name: str, start: int, stop: int) -> bytes:
        try:
            with service_errors("reading the store"):
                return bytes(self._fs.cat_file(f"{self._root}/{name}", start=start, end=stop))
        except Exception as error:
            self.failure = error
            raise

    def _keep(self, key: tuple[str, int], data: bytes) -> bytes:
        with self._lock:
            self._kept_bytes += len(data) - len(self._kept.get(key, b""))
            self._kept[key] = data
            while self._kept_bytes > _KEPT_BYTES:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
        return data


class _Reader(io.RawIOBase):
    """A file read by ranges."""

    def __init__(self, files: StoreFiles, name: str) -> None:
        super().__init__()
        self._files, self._name, self._at = files, name, 0
        self.size = files.sizes[name]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next bytes; all that are left where `size` is negative, none at the end."""
        stop = self.size if size < 0 else min(self._at + size, self.size)
        data = self._range(self._at, stop) if stop > self._at else b""
        self._at += len(data)
        return data

    def _range(self, start: int, stop: int) -> bytes:
        return self._files.read_range(self._name, start, stop)


class _LocalReader(_Reader):
    """A file of this machine. DuckDB drops files without closing them, which Python's own would complain of."""

    def __init__(self, files: StoreFiles, name: str, path: str) -> None:
        super().__init__(files, name)
        self._descriptor = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()

    def _range(self, start: int, stop: int) -> bytes:
        return os.pread(self._descriptor, stop - start, start)
