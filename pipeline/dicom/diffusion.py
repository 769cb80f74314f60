"""What scanners say of an MR image in private elements that the standard has a place for: diffusion and component.

Private elements as the vendors' conformance statements, pydicom's private dictionary and UIH's own list (dcm2niix issue
225) have them. GE adds 1e9 to the b-values of some protocols, so what is left of a division by it is the b-value, and
uses the element for other things where the sequence is not echo planar.

Enhanced objects of all vendors have the standard's macro of diffusion. Where it was lost, the frame's groups may still
hold the private elements, themselves or in a private sequence, as Philips has it.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import calcsize, unpack
from typing import Any, NamedTuple

from pydicom import Dataset

from pipeline.dicom.acquisition import real, reals, text

_GE, _GE_BIAS, _UIH = "GEMS_PARM_01", 1e9, "Image Private Header"


class _Private(NamedTuple):
    """Elements of one private block that hold one value together."""

    group: int
    creator: str
    elements: tuple[int, ...]
    binary: str | None = None
    """How one is packed where its VR was lost; None for text."""
    convert: Callable[[float], float] = float


_B_VALUES = (
    _Private(0x0019, "SIEMENS MR HEADER", (0x0C,)),
    _Private(0x0043, _GE, (0x39,), convert=lambda value: value % _GE_BIAS),
    _Private(0x2001, "Philips Imaging DD 001", (0x03,), "<f"),
    _Private(0x0065, _UIH, (0x09,), "<d"),
)
_GRADIENTS = (
    _Private(0x0019, "SIEMENS MR HEADER", (0x0E,), "<3d"),
    _Private(0x0019, "GEMS_ACQU_01", (0xBB, 0xBC, 0xBD)),
    _Private(0x2005, "Philips MR Imaging DD 001", (0xB0, 0xB1, 0xB2), "<f"),
    _Private(0x0065, _UIH, (0x37,), "<3d"),
)
_COMPONENT = _Private(0x0043, _GE, (0x2F,), "<h")
"""Magnitude 0, phase 1, real 2, imaginary 3, in one series of GE."""

_SCANNING_SEQUENCE = 0x00180020

PRIVATE_TAGS: frozenset[int] = frozenset({_SCANNING_SEQUENCE}) | frozenset(
    (private.group << 16) + tag
    for private in (*_B_VALUES, *_GRADIENTS, _COMPONENT)
    for block in range(0x10, 0x18)
    for tag in (block, *((block << 8) + element for element in private.elements))
)
"""All that is read for it, in any of the blocks where it usually is."""


def private_component(dataset: Dataset) -> float | None:
    """Which component of a complex image a classic image is, where its vendor (GE) wrote it."""
    found = _read(dataset, _COMPONENT) if any(_private_tags(dataset)) else []
    return found[0] if found else None


def private_diffusion_of_group(group: Dataset) -> dict[str, Any]:
    """The same as `private_diffusion` for the functional groups of a frame, their private sequences included."""
    for tag in _private_tags(group):
        items = group[tag].value if group[tag].VR == "SQ" else ()
        for item in items or ():
            public = {k: item.get(k) for k in ("DiffusionBValue", "DiffusionGradientOrientation")}
            if public["DiffusionBValue"] is not None:
                return public
            if found := private_diffusion(item):
                return found
    return private_diffusion(group)


def private_diffusion(dataset: Dataset) -> dict[str, Any]:
    """DiffusionBValue in s/mm2 and DiffusionGradientOrientation of a classic image, those that its vendor wrote."""
    if not any(_private_tags(dataset)):
        return {}
    values = next((v for private in _b_values(dataset) if (v := _read(dataset, private))), None)
    if values is None:
        return {}
    found: dict[str, Any] = {"DiffusionBValue": values[0]}
    gradient = next((v for private in _GRADIENTS if len(v := _read(dataset, private)) == 3), None)
    if gradient is not None and any(gradient):
        found["DiffusionGradientOrientation"] = gradient
    return found


def _b_values(dataset: Dataset) -> list[_Private]:
    """Where to look for a b-value."""
    is_echo_planar = "EP" in (text(dataset.get("ScanningSequence")) or "")
    return [private for private in _B_VALUES if private.creator != _GE or is_echo_planar]


def _private_tags(dataset: Dataset) -> list[int]:
    return [int(tag) for tag in dataset.keys() if tag >> 16 & 1]  # noqa: SIM118 - a data set iterates over elements


def _read(dataset: Dataset, private: _Private) -> list[float]:
    """The numbers of a private entry; none where it is not there or not all of it."""
    try:
        block = dataset.private_block(private.group, private.creator)
        values = [number for element in private.elements for number in _numbers(block[element].value, private.binary)]
    except Exception:  # not there, or damaged: as pydicom has it, anything may be raised
        return []
    return [private.convert(value) for value in values]


def _numbers(value: Any, binary: str | None) -> list[float]:
    if isinstance(value, bytes):
        if binary is not None:
            return list(unpack(binary, value[: calcsize(binary)]))
        value = value.decode("ascii").strip("\0 ").split("\\")
    first = real(value)
    return reals(value) or ([] if first is None else [first])
