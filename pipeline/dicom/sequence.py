"""What an MR series shows, T1, T2, STIR, DWI ..., derived from its timing; with the rule that said so.

The limits are the usual ones of spin echo contrast (short TR below 1000 ms, long above 1500 ms; short TE below 35 ms,
long above 60 ms). They are this project's choice: where they say nothing, the class is NULL, unless the series'
description tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Attributes = Mapping[str, Any]
"""Keyword to value."""

_SHORT_TR, _LONG_TR = 1000.0, 1500.0
_SHORT_TE, _LONG_TE = 35.0, 60.0
_STIR_TI = (80.0, 350.0)
_FLAIR_TI = 1500.0
_T2STAR_TE = 12.0
_DESCRIPTIONS = (
    ("STIR", r"\bstir\b|\btirm\b"),
    ("FLAIR", r"flair"),
    ("DWI", r"\bdwi\b|diffusion|\badc\b"),
    ("T2*", r"\bt2[ _]?(\*|star)"),
    ("T2", r"(?<![a-z0-9])t2(?![0-9])"),
    ("T1", r"(?<![a-z0-9])t1(?![0-9])"),
    ("PD", r"(?<![a-z])pd(?![a-z])"),
)


@dataclass(frozen=True)
class _Rule:
    name: str
    applies: Callable[[Attributes], bool]
    sequence_class: str


def sequence_of(attributes: Attributes) -> tuple[str | None, str | None]:
    """Class of an MR sequence, and the rule that gave it; (None, None) where nothing tells.

    Args:
        attributes: acquisition attributes by keyword, `SeriesDescription` among them.
    """
    for rule in _RULES:
        if rule.applies(attributes):
            contrast = rule.sequence_class == "T1" and bool(attributes.get("ContrastBolusAgent"))
            return (f"{rule.sequence_class}+C" if contrast else rule.sequence_class), rule.name
    description = str(attributes.get("SeriesDescription") or "").lower()
    for sequence_class, pattern in _DESCRIPTIONS:
        if re.search(pattern, description):
            return sequence_class, "description"
    return None, None


def _has(attributes: Attributes, keyword: str, value: str) -> bool:
    found = attributes.get(keyword) or ()
    return value in {str(v).upper() for v in (found if isinstance(found, list) else [found])}


def _between(attributes: Attributes, keyword: str, low: float, high: float) -> bool:
    value = attributes.get(keyword)
    return value is not None and low <= float(value) <= high


def _is_diffusion(a: Attributes) -> bool:
    return _between(a, "DiffusionBValue", 1.0, float("inf")) or any(
        _has(a, "ImageType", word) for word in ("DIFFUSION", "ADC", "TRACEW")
    )


def _is_gradient_echo(a: Attributes) -> bool:
    classic = _has(a, "ScanningSequence", "GR") and not _has(a, "ScanningSequence", "SE")
    return classic or _has(a, "EchoPulseSequence", "GRADIENT")  # as enhanced objects say it


_MOST = float("inf")
_RULES: tuple[_Rule, ...] = (
    _Rule("b-value or diffusion image", _is_diffusion, "DWI"),
    _Rule("inversion time 80-350 ms",
          lambda a: _between(a, "InversionTime", *_STIR_TI) and not _is_gradient_echo(a), "STIR"),
    _Rule("inversion time above 1500 ms and long TE",
          lambda a: _between(a, "InversionTime", _FLAIR_TI, _MOST) and _between(a, "EchoTime", _LONG_TE, _MOST),
          "FLAIR"),
    _Rule("gradient echo, TE 12 ms and more",
          lambda a: _is_gradient_echo(a) and _between(a, "EchoTime", _T2STAR_TE, _MOST), "T2*"),
    _Rule("gradient echo, TR below 1000 ms",
          lambda a: _is_gradient_echo(a) and _between(a, "RepetitionTime", 0.1, _SHORT_TR), "T1"),
    _Rule("gradient echo with inversion, TE below 12 ms",
          lambda a: _is_gradient_echo(a) and _between(a, "InversionTime", 400.0, _MOST), "T1"),
    _Rule("long TR, long TE",
          lambda a: _between(a, "RepetitionTime", _LONG_TR, _MOST) and _between(a, "EchoTime", _LONG_TE, _MOST), "T2"),
    _Rule("short TR, short TE",
          lambda a: _between(a, "RepetitionTime", 0.1, _SHORT_TR) and _between(a, "EchoTime", 0.1, _SHORT_TE), "T1"),
    _Rule("long TR, short TE",
          lambda a: _between(a, "RepetitionTime", _LONG_TR, _MOST) and _between(a, "EchoTime", 0.1, _SHORT_TE), "PD"),
)  # fmt: skip
"""In the order in which they are asked."""
