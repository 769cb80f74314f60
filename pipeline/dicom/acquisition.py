"""How a scan was made: a header's attributes as the columns of `schemas.acquisition`.

Enhanced objects keep attributes in functional groups (PS3.3 C.7.6.16), some under another keyword than the classic
ones; both are read, classic first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from schemas.acquisition import ATTRIBUTES, CLOCK, FREE_TEXT, Attribute
from schemas.columns import DOUBLES, STRINGS

VARYING = ("XRayTubeCurrent", "ExposureTime", "Exposure", "CTDIvol", "RescaleSlope", "RescaleIntercept")
"""Real numbers that change from slice to slice, under automatic exposure control or by the scale of PET."""

_NEVER_ZERO = {"PatientWeight", "PatientSize"}
"""A 0 there says that nobody filled it in."""

_OF_FRAMES = {"AcquisitionTime"}
"""What frames carry, so that it is not asked of the header."""

OTHER_KEYWORDS: dict[str, str] = {
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "RFEchoTrainLength": "EchoTrainLength",
    "XRayTubeCurrentInmA": "XRayTubeCurrent",
    "ExposureTimeInms": "ExposureTime",
    "ExposureInmAs": "Exposure",
    "RadiopharmaceuticalStartDateTime": "RadiopharmaceuticalStartTime",
}
"""Keywords of enhanced objects and the classic keyword that means the same."""

_NESTED = (
    "RadiopharmaceuticalInformationSequence",
    "RotationInformationSequence",
    "DetectorInformationSequence",
    "ContrastBolusAgentSequence",
    "MultienergyCTAcquisitionSequence",
)
_CODES = {
    "RadiopharmaceuticalCodeSequence": "RadiopharmaceuticalCodeMeaning",
    "RadionuclideCodeSequence": "RadionuclideCodeMeaning",
    "ViewCodeSequence": "ViewCodeMeaning",
    "PatientOrientationCodeSequence": "PatientOrientationCodeMeaning",
}
_ASKED = (*(a.keyword for a in ATTRIBUTES if a.keyword not in _OF_FRAMES), *FREE_TEXT, *OTHER_KEYWORDS, *_CODES)
_WANTED: dict[int, str] = {tag: keyword for keyword in _ASKED if (tag := tag_for_keyword(keyword)) is not None}

KEYWORDS: tuple[str, ...] = (*_ASKED, *_NESTED, "EnergyWindowInformationSequence")
"""All that is looked for at the top of a header."""

_SEVERAL = (list, tuple, MultiValue)  # the quick ones first
_AGE = re.compile(r"^\s*(\d{1,3})\s*([DWMY])\s*$")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def attributes_of(dataset: Dataset) -> dict[str, Any]:
    """Keyword to value of every acquisition attribute that a header has; JSON can hold the values."""
    flat = flatten(dataset)
    found: dict[str, Any] = {}
    for attribute in ATTRIBUTES:
        if attribute.keyword in flat:
            value = _converter(attribute)(flat[attribute.keyword])
            if value is not None:
                found[attribute.keyword] = value
    for keyword in FREE_TEXT:
        value = text(flat.get(keyword))
        if value is not None:
            found[keyword] = value
    return found


def flatten(dataset: Dataset) -> dict[str, Any]:
    """Keyword to value: top level, then shared groups, the first frame's groups, and the first items that matter."""
    flat: dict[str, Any] = {}
    for level in _levels(dataset):
        for keyword, value in _elements(level):
            flat.setdefault(OTHER_KEYWORDS.get(keyword, keyword), value)
    for keyword, name in _CODES.items():
        if _first(flat.get(keyword)) is not None:
            flat.setdefault(name, _first(flat[keyword]).get("CodeMeaning"))  # type: ignore[union-attr]
    for limit in ("Lower", "Upper"):
        flat.setdefault(f"EnergyWindow{limit}Limit", _energy_limits(dataset, limit))
    return flat


def real(value: Any) -> float | None:
    """A number from a header; None where it is empty, no number, or not finite."""
    if isinstance(value, _SEVERAL):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def reals(value: Any) -> list[float] | None:
    """Numbers from a header; None where there is none or one is no number."""
    values = list(value) if isinstance(value, _SEVERAL) else [value]
    numbers = [real(item) for item in values]
    return [n for n in numbers if n is not None] if numbers and None not in numbers else None


def text(value: Any) -> str | None:
    """Text from a header, several values joined by a backslash; None where it is empty."""
    if value is None:
        return None
    joined = "\\".join(str(v) for v in value) if isinstance(value, _SEVERAL) else str(value)
    return joined.strip().strip("\0") or None


def clock(value: Any) -> str | None:
    """A time of day such as `14:30:05` from a DICOM time, or from a date and time, whose date is left out."""
    digits = re.split(r"[.+&-]", (text(value) or "").replace(":", ""))[0].strip()
    digits = digits[8:] if len(digits) > 8 else digits
    if not re.fullmatch(r"([01]\d|2[0-3])([0-5]\d)?([0-5]\d)?", digits):
        return None
    digits = digits.ljust(6, "0")
    return f"{digits[:2]}:{digits[2:4]}:{digits[4:]}"


def _converter(attribute: Attribute) -> Callable[[Any], Any]:
    if attribute.keyword == "PatientAge":
        return _years
    if attribute.keyword in _NEVER_ZERO:
        return lambda value: real(value) or None
    return clock if attribute.unit == CLOCK else _CONVERT[attribute.kind]


def _levels(dataset: Dataset) -> Iterable[Dataset]:
    yield dataset
    groups = [
        _first(dataset.get(keyword))
        for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    ]
    for group in [g for g in groups if g is not None]:
        for macro in group:
            item = _first(macro.value) if macro.VR == "SQ" else None
            if item is not None:
                yield item
    for keyword in _NESTED:
        item = _first(dataset.get(keyword))
        if item is not None:
            yield item


def _elements(level: Dataset) -> Iterable[tuple[str, Any]]:
    for tag, keyword in _WANTED.items():
        if tag in level:
            with suppress(Exception):  # a value that cannot be read is a missing value
                yield keyword, level[tag].value


def _first(value: Any) -> Dataset | None:
    return value[0] if isinstance(value, Sequence) and len(value) else None


def _energy_limits(dataset: Dataset, limit: str) -> list[float] | None:
    found = [
        real(window.get(f"EnergyWindow{limit}Limit"))
        for item in dataset.get("EnergyWindowInformationSequence") or []
        for window in item.get("EnergyWindowRangeSequence") or []
    ]
    return [f for f in found if f is not None] or None


def _years(value: Any) -> float | None:
    """An age such as `068Y` or `006M` (PS3.5, AS) in years."""
    match = _AGE.match(str(value))
    return int(match[1]) * _YEARS[match[2]] if match else None


def _whole(value: Any) -> int | None:
    number = real(value)
    return int(number) if number is not None and abs(number) < 2**31 else None


def _texts(value: Any) -> list[str] | None:
    values = list(value) if isinstance(value, _SEVERAL) else [value]
    found = [str(v).strip() for v in values if v is not None]
    return found if any(found) else None


_CONVERT: Mapping[pa.DataType, Callable[[Any], Any]] = {
    pa.float64(): real,
    pa.int32(): _whole,
    pa.string(): text,
    STRINGS: _texts,
    DOUBLES: reals,
}
