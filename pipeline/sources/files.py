"""A file of a source: its address, its size, and what tells that it has not changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that a source lists."""

    uri: str
    """Absolute path, or an address with a scheme."""
    name: str
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
