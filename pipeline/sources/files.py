"""A file of a source: its address, its size, what tells that it has not changed, and what its errors mean."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from pipeline.errors import ScanError, ServiceError
from schemas.reasons import Reason

_AWAY = {errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH}
"""A network drive says so when its server is gone."""
_OURS = {errno.ENOSPC: "no space left for temporary files", errno.EDQUOT: "no space left for temporary files",
         errno.EMFILE: "too many open files", errno.ENFILE: "too many open files"}  # fmt: skip
"""What this machine lacks says nothing of the file."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that a source lists."""

    uri: str = field(repr=False)
    """Absolute path, or an address with a scheme."""
    name: str = field(repr=False)
    """Path relative to the source: what identifies a file that has no UID, wherever the source is moved to."""
    size: int
    """Bytes."""
    stamp: str
    """Modification time or ETag: an equal one means unchanged."""


_ESCAPES = 0x10FE00
"""Of the private use area of Unicode: stands for the bytes of a name that are no UTF-8."""


def address_of(path: str) -> str:
    """A path or name as text that a table can hold; bytes that are no UTF-8, as in old archives, become escapes."""
    if path.isascii():
        return path
    return "".join(chr(_ESCAPES + ord(c) - 0xDC00) if 0xDC80 <= ord(c) <= 0xDCFF else c for c in path)


def path_of(address: str) -> str:
    """The inverse of `address_of`."""
    if address.isascii():
        return address
    escapes = range(_ESCAPES + 0x80, _ESCAPES + 0x100)
    return "".join(chr(0xDC00 + ord(c) - _ESCAPES) if ord(c) in escapes else c for c in address)


@contextmanager
def file_errors() -> Iterator[None]:
    """Turn what reading a file raises into what it means; no path is told, for it may hold a name.

    Raises:
        ScanError: unreadable where something is wrong with the file.
        ServiceError: the drive is away, or this machine lacks something.
    """
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise ScanError(
            Reason.UNREADABLE,
            "a file that the source listed is not there any more: restore it and `retry`, or run again without it",
        ) from None
    except PermissionError:
        raise ScanError(Reason.UNREADABLE, "a file of the source may not be read: grant reading") from None
    except ServiceError:
        raise
    except OSError as error:
        if error.errno in _AWAY:
            raise ServiceError(f"reading a file of the source: {error.strerror}") from None
        if error.errno in _OURS:
            raise ServiceError(f"reading a file of the source: {_OURS[error.errno]}") from None
        raise ScanError(Reason.UNREADABLE, f"a file of the source cannot be read: {type(error).__name__}") from None
