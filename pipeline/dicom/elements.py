"""A first pass over a DICOM header, several times as fast as pydicom's: it only finds where the wanted elements are.

Little endian files without functional groups are nearly all there is, and nearly all of their elements are not wanted.
Their raw bytes become values by pydicom's own conversion; whatever is unusual is left to pydicom altogether.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

CHARSET = 0x00080005
"""SpecificCharacterSet."""

EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
IMPLICIT_LITTLE = "1.2.840.10008.1.2"
_LEFT_TO_PYDICOM = {
    "1.2.840.10008.1.2.2",  # explicit VR big endian
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.113619.5.2",  # GE private: little endian header, big endian pixels
}

_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_SHORT = {
    b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO",
    b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
}  # fmt: skip
_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_PIXELS = 0x7FE00008
_DEEPEST = 8

_long = Struct("<L").unpack_from
_explicit = Struct("<HH2sH").unpack_from
_implicit = Struct("<HHL").unpack_from


class Unusual(Exception):  # noqa: N818 - no error: the long way must be taken
    """The header needs pydicom."""


class Incomplete(Exception):  # noqa: N818 - no error: more bytes are needed
    """The header goes on behind the bytes that are there."""


class Element(NamedTuple):
    """One element as it stands in the file."""

    tag: int
    """Group and element."""
    vr: str | None
    """Value representation; None in implicit VR."""
    value: bytes
    """Its bytes; those of the items for a sequence."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """The wanted elements of a header."""

    transfer_syntax: str
    """UID."""
    implicit: bool
    """Whether elements have no VR."""
    elements: tuple[Element, ...]
    """In ascending order."""
    end: int
    """Where the pixels' element begins, in bytes."""


def scan(data: bytes, wanted: frozenset[int], refused: frozenset[int] = frozenset()) -> Scanned:
    """Find the wanted elements before the pixels.

    Args:
        data: the file from its first byte on; its whole header if possible.
        wanted: tags to keep.
        refused: tags that call for pydicom where one is found.

    Raises:
        Unusual: something that pydicom must decide on.
        Incomplete: the header does not end within `data`.
    """
    syntax, position = dataset_start(data)
    if syntax in _LEFT_TO_PYDICOM:
        raise Unusual
    implicit = syntax == IMPLICIT_LITTLE
    if implicit == (data[position + 4 : position + 6] in _SHORT | _LONG):
        raise Unusual
    elements, end = _walk(data, position, implicit, wanted, refused)
    return Scanned(syntax, implicit, tuple(elements), end)


def dataset_start(data: bytes) -> tuple[str, int]:
    """The transfer syntax, and where the data set begins (PS3.10, 7.1).

    Raises:
        Unusual: no preamble, or another syntax than the standard's.
        Incomplete: the meta information goes on behind `data`.
    """
    if data[128:132] != b"DICM":
        raise Unusual
    position, syntax = 132, ""
    while data[position : position + 2] == b"\x02\x00":
        tag, _, start, length = _explicit_head(data, position)
        if length == _UNDEFINED:
            raise Unusual
        if tag == 0x00020010:
            syntax = data[start : start + length].rstrip(b"\0 ").decode("ascii", "replace")
        position = start + length
    if not syntax.startswith("1.2.840.10008.1.2"):
        raise Unusual
    return syntax, position


def _walk(
    data: bytes, position: int, implicit: bool, wanted: frozenset[int], refused: frozenset[int]
) -> tuple[list[Element], int]:
    found: list[Element] = []
    size, last = len(data), 0
    vr: bytes | None = None
    while True:
        if position + 12 > size:
            raise Incomplete
        # as `_implicit_head` and `_explicit_head` have it: calls would cost more than all the rest
        if implicit:
            group, number, length = _implicit(data, position)
            start = position + 8
        else:
            group, number, vr, length = _explicit(data, position)
            start = position + 8
            if vr not in _SHORT:
                if vr not in _LONG:
                    raise Unusual
                start, length = position + 12, _long(data, position + 8)[0]
        tag = group << 16 | number
        if tag <= last or tag in refused:
            raise Unusual
        if tag >= _PIXELS:
            if group != 0x7FE0:
                raise Unusual
            return found, position
        stop = after = start + length
        if length == _UNDEFINED:
            if vr not in (b"SQ", None):
                raise Unusual
            stop, after = _skip_items(data, start, implicit, 0)
        if tag in wanted:
            if stop > size:
                raise Incomplete
            found.append(Element(tag, vr.decode("ascii") if vr else None, data[start:stop]))
        last, position = tag, after


def _explicit_head(data: bytes, position: int) -> tuple[int, bytes | None, int, int]:
    """Tag, VR, where the value starts, its length."""
    if position + 12 > len(data):
        raise Incomplete
    group, number, vr, length = _explicit(data, position)
    if vr in _SHORT:
        return group << 16 | number, vr, position + 8, length
    if vr not in _LONG:
        raise Unusual
    return group << 16 | number, vr, position + 12, _long(data, position + 8)[0]


def _implicit_head(data: bytes, position: int) -> tuple[int, None, int, int]:
    """Tag, no VR, where the value starts, its length."""
    if position + 8 > len(data):
        raise Incomplete
    group, number, length = _implicit(data, position)
    return group << 16 | number, None, position + 8, length


def _skip_items(data: bytes, position: int, implicit: bool, depth: int) -> tuple[int, int]:
    """Where the items of a sequence of undefined length end, and where its delimiter ends (PS3.5, 7.5)."""
    if depth > _DEEPEST:
        raise Unusual
    while True:
        tag, _, start, length = _implicit_head(data, position)
        if tag == _SEQUENCE_END:
            return position, start
        if tag != _ITEM:
            raise Unusual
        position = start + length if length != _UNDEFINED else _skip_item(data, start, implicit, depth)


def _skip_item(data: bytes, position: int, implicit: bool, depth: int) -> int:
    """Where an item of undefined length ends."""
    head = _implicit_head if implicit else _explicit_head
    while True:
        if data[position : position + 4] == b"\xfe\xff\x0d\xe0":
            return position + 8
        _, vr, start, length = head(data, position)
        if length != _UNDEFINED:
            position = start + length
        elif vr in (b"SQ", None):
            _, position = _skip_items(data, start, implicit, depth + 1)
        else:
            raise Unusual
