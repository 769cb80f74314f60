"""The store: one folder or one `s3://bucket/prefix` that holds all state. Files are only ever added.

A file appears whole or not at all, and nothing is overwritten, so nothing has to be locked. Only `gc` and `forget`
remove.

    store = Store.create("s3://bucket/cohort", cohort="demo")
    store.write("results/recipe=ab12/s1-20260101T000000000000-0123abcd.parquet", data)
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import zarr.storage
from zarr.abc.store import Store as ZarrStore

from pipeline.errors import DamagedError, ServiceError, StoreError
from pipeline.store.filesystem import check_bucket, filesystem_options, wait, with_patience
from pipeline.store.filesystem import from_environment as from_environment
from pipeline.store.filesystem import open_filesystem as open_filesystem
from pipeline.store.filesystem import service_errors as service_errors
from schemas.catalog import LAYOUT_VERSION

T = TypeVar("T")

MARK = "store.json"
"""Makes a folder a store."""

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}")
"""What a file is called while it is written beside its place."""

_AT_ONCE = 4
"""Files of one volume that are on their way at the same time."""

CREATE_WAITS_S = (0.3, 1.0, 3.0, 6.0)
"""Longest waits before an exclusive creation is tried again, of which nothing was to be seen."""


def new_attempt() -> str:
    """A name for an attempt: sorts by time, and no two are alike."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Store:
    """A store by its address; small, and can be sent to a worker."""

    uri: str
    """Folder (absolute) or `s3://bucket/prefix`."""
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """For fsspec; values may be `$NAME`, read from the environment where they are used."""

    @classmethod
    def create(cls, uri: str, *, cohort: str, storage_options: dict[str, Any] | None = None) -> Store:
        """Make the store, or open the one that is there.

        Raises:
            StoreError: the place holds other files, another cohort, or a newer layout, or there is no such bucket.
            ServiceError: a disk or an object storage was not there.
        """
        store = cls.at(uri, storage_options)
        if not store.exists(MARK):
            try:
                store._make(cohort)
            except (FileNotFoundError, FileExistsError, NotADirectoryError) as error:
                raise StoreError(
                    "no folder can be made where `store` says, for something else is in its way "
                    f"({type(error).__name__}): check the path"
                ) from error
        found = store._read_mark()["cohort"]
        if found != cohort:
            raise StoreError(
                f"this store belongs to the cohort {found!r}, the cohort file says {cohort!r}: "
                "give another `store`, or the name that it was made with"
            )
        return store

    @classmethod
    def open(cls, uri: str, *, storage_options: dict[str, Any] | None = None) -> Store:
        """Open a store that is there.

        Raises:
            StoreError: there is none, or it has a newer layout.
        """
        store = cls.at(uri, storage_options)
        store._read_mark()
        return store

    @classmethod
    def at(cls, uri: str, storage_options: dict[str, Any] | None = None) -> Store:
        """The store of an address, whether it is there or has yet to be made."""
        return cls(_absolute(uri), storage_options or {})

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return "://" not in self.uri

    @property
    def fs(self) -> fsspec.AbstractFileSystem:
        """The filesystem it lies in."""
        return open_filesystem(self.uri, self.storage_options)[0]

    @property
    def root(self) -> str:
        """Its path in `fs`."""
        return open_filesystem(self.uri, self.storage_options)[1].rstrip("/")

    @property
    def cohort(self) -> str:
        """Name of the cohort it was made for."""
        return str(self._read_mark()["cohort"])

    def path(self, path: str) -> str:
        """A file of the store as a path in `fs`."""
        return posixpath.join(self.root, path)

    def exists(self, path: str) -> bool:
        """Whether the file is there."""
        with service_errors("reading the store"):
            return bool(with_patience(lambda: self.fs.exists(self.path(path))))

    def size(self, path: str) -> int:
        """Bytes of a file."""
        with service_errors("reading the store"):
            return int(with_patience(lambda: self.fs.info(self.path(path)))["size"])

    def size_below(self, path: str) -> int:
        """Bytes of all files below a folder."""
        with service_errors("reading the store"):
            return int(with_patience(lambda: self.fs.du(self.path(path))))

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        fs, full = self.fs, self.path(path)
        with service_errors("reading the store"):
            return Path(full).read_bytes() if self.is_local else bytes(with_patience(lambda: fs.cat_file(full)))

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes of several files, fetched at the same time where that is worth it."""
        paths = list(paths)
        return dict(zip(paths, self._each(self.read, paths), strict=True))

    def write(self, path: str, data: bytes) -> None:
        """Add a file, whole or not at all: one PUT, or a temporary file that is renamed."""
        with service_errors("writing to the store"):
            if not self.is_local:
                self._put(path, data)
                return
            with _beside(Path(self.path(path)), data) as temporary:
                os.replace(temporary, self.path(path))

    def write_all(self, files: Mapping[str, bytes]) -> None:
        """Add several files, each whole or not at all, at the same time where that is worth it."""
        self._each(lambda path: self.write(path, files[path]), list(files))

    def create_once(self, path: str, data: bytes) -> bytes:
        """Add a file of which there may be one only; the bytes that are there afterwards, one's own or another's."""
        if not self.is_local:
            return self._create_remote(path, data)
        if (found := self._read_if_there(path)) is not None:  # nothing to write, where nothing may be written either
            return found
        with service_errors("writing to the store"):
            try:
                # exists() then open() lets two writers through; a hard link has one winner
                with _beside(Path(self.path(path)), data) as temporary:
                    os.link(temporary, self.path(path))
            except FileExistsError:
                pass
        return self.read(path)

    def list(self, prefix: str) -> list[str]:
        """All files below a folder, relative to the store, sorted; hidden and temporary ones left out."""
        with service_errors("listing the store"):
            try:
                found = with_patience(lambda: self.fs.find(self.path(prefix)))
            except FileNotFoundError:
                return []
        start = len(self.root) + 1
        names = (name[start:] for name in found)
        return sorted(name for name in names if not posixpath.basename(name).startswith("."))

    def sizes(self, prefix: str) -> dict[str, int]:
        """All files below a folder, as `list` has them, with their bytes."""
        with service_errors("listing the store"):
            try:
                found = with_patience(lambda: self.fs.find(self.path(prefix), detail=True))
            except FileNotFoundError:
                return {}
        start = len(self.root) + 1
        shown = ((name[start:], int(about["size"])) for name, about in sorted(found.items()))
        return {name: size for name, size in shown if not posixpath.basename(name).startswith(".")}

    def remove(self, path: str) -> None:
        """Remove a file or a folder with all that is in it; only `gc` and `forget` may."""
        with service_errors("removing from the store"):
            self.fs.rm(self.path(path), recursive=True)

    def write_table(self, path: str, table: pa.Table) -> None:
        """Add a Parquet file."""
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd", write_page_index=True)
        self.write(path, buffer.getvalue())

    def read_table(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A Parquet file as a table.

        Raises:
            ServiceError: less of it came than there is.
            DamagedError: it is damaged where it lies.
        """
        data = self.read(path)
        try:
            return pq.read_table(io.BytesIO(data), columns=None if columns is None else [*columns])
        except (pa.ArrowInvalid, OSError) as error:
            self.check_whole(path, data)
            raise DamagedError(f"{path} is damaged ({type(error).__name__}): remove it, and run again") from error

    def check_whole(self, path: str, data: bytes) -> None:
        """See whether all of a file came, when it makes no sense.

        Raises:
            ServiceError: less came than there is.
        """
        size = self.size(path)
        if size != len(data):
            raise ServiceError(f"reading the store: {len(data)} bytes came of a file of {size}: run again")

    def zarr(self, path: str) -> ZarrStore:
        """A folder of the store for zarr."""
        if self.is_local:
            return zarr.storage.LocalStore(self.path(path))
        options = filesystem_options(self.uri, self.storage_options)
        return zarr.storage.FsspecStore.from_url(posixpath.join(self.uri, path), storage_options=options)

    def _each(self, call: Callable[[str], T], paths: Sequence[str]) -> tuple[T, ...]:
        if self.is_local or len(paths) == 1:
            return tuple(call(path) for path in paths)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return tuple(pool.map(call, paths))

    def _put(self, path: str, data: bytes) -> None:
        fs, full = self.fs, self.path(path)
        try:
            with_patience(lambda: fs.pipe_file(full, data))
        except FileNotFoundError as error:
            # of a large file's last step, whose answer was lost: it is through and cannot be made again
            if not (fs.exists(full) and fs.cat_file(full) == data):
                raise ServiceError("writing to the store: its bucket is not there any more") from error

    def _create_remote(self, path: str, data: bytes) -> bytes:
        """Create unless it exists: what is there decides, for a refusal and a lost answer look alike."""
        fs, full, failure = self.fs, self.path(path), "no answer"
        for longest_s in (*CREATE_WAITS_S, None):
            if (found := self._read_if_there(path)) is not None:
                return found
            try:
                with service_errors("writing to the store"):
                    fs.pipe_file(full, data, mode="create")
                    return self.read(path)
            except FileExistsError:
                pass
            except (FileNotFoundError, ServiceError) as error:
                if isinstance(error.__cause__, PermissionError):
                    raise
                failure = str(error)
            if longest_s is not None:
                wait(longest_s)
        found = self._read_if_there(path)
        if found is None:
            raise ServiceError(f"creating a file of the store that there may be once: {failure}")
        return found

    def _read_if_there(self, path: str) -> bytes | None:
        try:
            return self.read(path)
        except FileNotFoundError:
            return None

    def _read_mark(self) -> dict[str, Any]:
        try:
            mark: dict[str, Any] = json.loads(self.read(MARK))
        except FileNotFoundError:
            raise StoreError("there is no store here (no store.json): run `spinetally run` first") from None
        except ValueError:
            raise StoreError("store.json is damaged: it should be JSON with `layout` and `cohort`") from None
        if not isinstance(mark, dict) or not isinstance(mark.get("cohort"), str):
            raise StoreError("store.json is damaged: it should be JSON with `layout` and `cohort`")
        if not isinstance(mark.get("layout"), int) or mark["layout"] > LAYOUT_VERSION:
            raise StoreError(
                f"the store has layout {mark.get('layout')}, this spinetally knows up to {LAYOUT_VERSION}: "
                "install the newer spinetally that wrote it"
            )
        return mark

    def _make(self, cohort: str) -> None:
        if not self.is_local:
            check_bucket(self.fs, self.root)
        self._refuse_foreign_files()
        mark = {"layout": LAYOUT_VERSION, "cohort": cohort, "created": datetime.now(UTC).isoformat()}
        self.create_once(MARK, json.dumps(mark, indent=1).encode())

    def _refuse_foreign_files(self) -> None:
        with service_errors("opening the store"):
            try:
                names = [posixpath.basename(name.rstrip("/")) for name in self.fs.ls(self.root, detail=False)]
            except FileNotFoundError:
                return
        foreign = [name for name in names if name and not name.startswith(".") and name != MARK]
        if foreign and not self.exists(MARK):
            raise StoreError(
                f"the place for the store holds {len(foreign)} other files and no store.json: "
                "give an empty or a new folder as `store`"
            )


def _absolute(uri: str) -> str:
    uri = uri.removeprefix("file://")  # a folder is written to whole or not at all, which fsspec does not do
    return uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().absolute())


@contextmanager
def _beside(target: Path, data: bytes) -> Iterator[Path]:
    """The data in a temporary file of the target's folder, on the disk; removed at the end if still there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{secrets.token_hex(6)}"
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
