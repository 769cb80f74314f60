"""Members of tar and zip files, read where they stand: nothing is unpacked into a folder.

A member's address is `archive://ADDRESS!/MEMBER`. Names of members are never used as paths.
"""

from __future__ import annotations

import atexit
import bz2
import gzip
import lzma
import re
import tarfile
import tempfile
import threading
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from pipeline.errors import ScanError, ServiceError
from pipeline.sources.files import SourceFile, address_of, file_errors, path_of
from pipeline.sources.remote import stamp_of
from pipeline.store.filesystem import open_filesystem, service_errors
from schemas.reasons import Reason

SCHEME = "archive://"
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_BYTES = 64 * 2**30
"""To which a compressed tar may grow."""
MOST_MEMBER_BYTES = 8 * 2**30
"""Which one member may have."""

_COPIED_AT_ONCE = 2**22
_MOST_OPEN = 4
_HIDDEN = re.compile(r"(^|/)\.(?!\.?(/|$))")
_ADDRESS = re.compile(rf"(.+?(?:{'|'.join(map(re.escape, SUFFIXES))}))!/(.*)", re.IGNORECASE | re.DOTALL)
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError, NotImplementedError)
_DAMAGED = "an archive of the source is damaged: fetch it again"
_lock = threading.Lock()
_open: OrderedDict[tuple[str, str], _Archive] = OrderedDict()


def is_archive(name: str) -> bool:
    """Whether a file is called like a tar or zip."""
    return name.lower().endswith(SUFFIXES)


Contents = Mapping[str, tuple[str, Mapping[str, int]]]
"""Archive to the stamp that its members have, and their bytes by name."""


def list_archive(file: SourceFile, storage_options: dict[str, Any], known: Contents) -> Iterator[SourceFile]:
    """The files in an archive; the archive itself where it cannot be read, so that it is accounted for.

    Args:
        file: the archive.
        storage_options: for fsspec.
        known: archives as they were listed before; one that has not changed since is not opened.

    Raises:
        ServiceError: the storage that holds it does not answer.
    """
    stamp = f"{file.size}-{file.stamp}"
    listed_as, members = known.get(file.uri, ("", {}))
    if listed_as != stamp:
        try:
            with file_errors():
                members = _opened(file.uri, storage_options).sizes()
        except ScanError:
            yield file
            return
    for name, size in sorted(members.items()):
        yield SourceFile(f"{SCHEME}{file.uri}!/{name}", f"{file.name}/{name}", size, stamp)


def contents_of(files: Iterable[tuple[str, int, str]]) -> dict[str, tuple[str, dict[str, int]]]:
    """The archives of files, each an address, its bytes and its stamp; those in no archive are left out."""
    found: dict[str, tuple[str, dict[str, int]]] = {}
    for uri, size, stamp in files:
        if uri.startswith(SCHEME):
            archive, name = _parts(uri)
            found.setdefault(archive, (stamp, {}))[1][name] = size
    return found


def read_member(
    uri: str, *, storage_options: dict[str, Any], start: int | None = None, end: int | None = None
) -> bytes:
    """The bytes of a member, or those from `start` up to `end`.

    Raises:
        ScanError: unreadable, too_large.
        ServiceError: the storage that holds the archive does not answer.
    """
    archive, name = _parts(uri)
    while True:
        with suppress(_Closed):  # another thread had need of the place: open it again
            return _opened(archive, storage_options).read(name, start or 0, end)


def stamp_of_member(uri: str, *, storage_options: dict[str, Any]) -> str:
    """What tells that a member has not changed: nor has its archive.

    Raises:
        ScanError: unreadable, the archive is not there.
        ServiceError: the storage that holds the archive does not answer.
    """
    with file_errors():
        return _stamp(_parts(uri)[0], storage_options)


class _Closed(Exception):  # noqa: N818 - no error
    pass


class _Archive:
    """An open archive; its members are read one at a time."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._lock = threading.Lock()
        self._file = file
        try:
            if name.lower().endswith(".zip"):
                self._bundle: zipfile.ZipFile | tarfile.TarFile = zipfile.ZipFile(file)
                self._sizes = {i.filename: i.file_size for i in self._bundle.infolist() if not i.is_dir()}
                self._member: Callable[[str], IO[bytes] | None] = self._bundle.open
            else:
                self._file = _unpacked(file, name)
                bundle = self._bundle = tarfile.TarFile(fileobj=self._file)
                self._sizes = {address_of(member.name): member.size for member in bundle if member.isfile()}
                self._member = lambda member: bundle.extractfile(path_of(member))
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close it, once nobody reads."""
        with self._lock:
            self._bundle.close()
            self._file.close()

    def sizes(self) -> dict[str, int]:
        """Name of each member to its bytes; hidden ones are passed over."""
        return {name: size for name, size in self._sizes.items() if not _HIDDEN.search(name)}

    def read(self, name: str, start: int, end: int | None) -> bytes:
        """A stretch of a member."""
        if self._sizes.get(name, 0) > MOST_MEMBER_BYTES:
            raise ScanError(Reason.TOO_LARGE, f"a file of the archive has {self._sizes[name]} bytes")
        with self._lock, _damage():
            if self._file.closed:
                raise _Closed
            member = self._member(name)
            if member is None:
                raise ValueError
            with member:
                member.seek(start)
                return member.read(-1 if end is None else max(0, end - start))


def _parts(uri: str) -> tuple[str, str]:
    """The archive of a member, and its name there; `!/` may stand in the path of the archive too."""
    found = _ADDRESS.fullmatch(uri.removeprefix(SCHEME))
    if found is None:
        raise ScanError(Reason.UNREADABLE, "an address in an archive names no archive")
    return found[1], found[2]


def _opened(uri: str, storage_options: dict[str, Any]) -> _Archive:
    """An archive that was opened before, as long as it has not changed; else it is opened."""
    with _lock, _damage():
        key = (uri, _stamp(uri, storage_options))
        if key not in _open:
            _open[key] = _Archive(_fetched(uri, storage_options), uri)
            while len(_open) > _MOST_OPEN:
                _open.popitem(last=False)[1].close()
        _open.move_to_end(key)
        return _open[key]


def _stamp(uri: str, storage_options: dict[str, Any]) -> str:
    if "://" not in uri:
        status = Path(path_of(uri)).stat()
        return f"{status.st_mtime_ns} {status.st_size}"
    with service_errors("reading an archive of the source"):
        filesystem, path = open_filesystem(uri, storage_options)
        return stamp_of(filesystem.info(path))


def _fetched(uri: str, storage_options: dict[str, Any]) -> IO[bytes]:
    """The archive's own bytes as a file to move about in; of a remote one a copy that has no name."""
    if "://" not in uri:
        return Path(path_of(uri)).open("rb")
    with service_errors("reading an archive of the source"):
        filesystem, path = open_filesystem(uri, storage_options)
        with filesystem.open(path, "rb") as remote:
            return _copied(remote, MOST_BYTES)


def _unpacked(file: IO[bytes], name: str) -> IO[bytes]:
    """A tar without its compression, as a copy that has no name: gzip cannot be moved about in."""
    suffix = name.lower().rsplit(".", 1)[-1]
    openers: dict[str, Callable[[IO[bytes]], Any]] = {
        "gz": lambda f: gzip.GzipFile(fileobj=f),
        "tgz": lambda f: gzip.GzipFile(fileobj=f),
        "bz2": bz2.BZ2File,
        "xz": lzma.LZMAFile,
    }
    if suffix not in openers:
        return file
    with file, openers[suffix](file) as packed:
        return _copied(packed, MOST_BYTES)


def _copied(source: Any, most_bytes: int) -> IO[bytes]:
    with ExitStack() as on_error:
        copy: IO[bytes] = on_error.enter_context(tempfile.TemporaryFile(prefix="archive-"))
        while block := source.read(_COPIED_AT_ONCE):
            copy.write(block)
            if copy.tell() > most_bytes:
                raise ScanError(Reason.TOO_LARGE, f"an archive unpacks to more than {most_bytes} bytes")
        copy.seek(0)
        on_error.pop_all()  # the caller reads on
        return copy


@contextmanager
def _damage() -> Iterator[None]:
    try:
        yield
    except _DAMAGE:
        raise ScanError(Reason.UNREADABLE, _DAMAGED) from None
    except RuntimeError:  # as zipfile has it
        raise ScanError(
            Reason.UNREADABLE, "a file of an archive is locked by a password: unpack it into the source"
        ) from None
    except OSError as error:
        if isinstance(error, ServiceError) or error.errno is not None:
            raise
        raise ScanError(Reason.UNREADABLE, _DAMAGED) from None  # as gzip and bz2 have it


@atexit.register
def close_all() -> None:
    """Close what is open."""
    with _lock:
        while _open:
            _open.popitem()[1].close()
