"""The levels of the spine: their numbers in a mask, their order, their regions and their SNOMED CT codes.

Numbers follow the VerSe convention (C1 = 1 ... L5 = 24, L6 = 25, sacrum = 26, coccyx = 27, T13 = 28), so a mask from
that family reads as it is. Vertebrae that could be told apart but not named are `V1`, `V2`, ... from the top down,
numbered from 101.
"""

from __future__ import annotations

from dataclasses import dataclass

UNNUMBERED_BASE = 100
"""`V1` is 101 in a mask."""

MAX_UNNUMBERED = 40
"""`V40` is the last number; no field of view holds more vertebrae."""

OUTSIDE = "none"
"""Where lesions outside every vertebra are tallied."""


@dataclass(frozen=True)
class Level:
    """One level of the spine."""

    name: str
    """As in reports: `C1` ... `L6`, `SACRUM`, `COCCYX`."""
    number: int
    """Its value in a mask."""
    region: str
    """cervical, thoracic, lumbar, sacral."""
    snomed: str | None
    """SNOMED CT code (pydicom 3.0.2's dictionary of codes); None where that has none (T13, L6)."""


def _levels() -> tuple[Level, ...]:
    cervical = "14806007 39976000 113205007 5329002 36978003 36054005 87391001".split()
    thoracic = (
        "64864005 53733008 1626008 73071006 56401006 45296009 62487009 11068009 82687006 7610001 12989004 23215003"
    ).split()
    lumbar = "66794005 14293000 36470004 11994002 49668003".split()
    return (
        *(Level(f"C{i}", i, "cervical", code) for i, code in enumerate(cervical, 1)),
        *(Level(f"T{i}", 7 + i, "thoracic", code) for i, code in enumerate(thoracic, 1)),
        Level("T13", 28, "thoracic", None),
        *(Level(f"L{i}", 19 + i, "lumbar", code) for i, code in enumerate(lumbar, 1)),
        Level("L6", 25, "lumbar", None),
        Level("SACRUM", 26, "sacral", "54735007"),
        Level("COCCYX", 27, "sacral", "64688005"),
    )


LEVELS: tuple[Level, ...] = _levels()
"""From the top of the spine to its end; T13 and L6 stand where they occur."""

BY_NAME: dict[str, Level] = {level.name: level for level in LEVELS}
BY_NUMBER: dict[int, Level] = {level.number: level for level in LEVELS}

_ORDER = {level.number: position for position, level in enumerate(LEVELS)}


def level_name(number: int) -> str:
    """The name of a mask's value: `T12`, `SACRUM`, or `V3` for an unnumbered vertebra.

    Raises:
        ValueError: the value is no level.
    """
    if number in BY_NUMBER:
        return BY_NUMBER[number].name
    if UNNUMBERED_BASE < number <= UNNUMBERED_BASE + MAX_UNNUMBERED:
        return f"V{number - UNNUMBERED_BASE}"
    raise ValueError(
        f"{number} is no level of the spine: 1 to 28 (VerSe) or "
        f"{UNNUMBERED_BASE + 1} to {UNNUMBERED_BASE + MAX_UNNUMBERED} (unnumbered) are allowed"
    )


def level_number(name: str) -> int:
    """The mask's value of a level's name; the inverse of `level_name`.

    Raises:
        ValueError: the name is no level.
    """
    if name in BY_NAME:
        return BY_NAME[name].number
    if name.startswith("V") and name[1:].isdigit() and 0 < int(name[1:]) <= MAX_UNNUMBERED:
        return UNNUMBERED_BASE + int(name[1:])
    raise ValueError(f"{name!r} is no level of the spine: C1 ... L6, SACRUM, COCCYX or V1 ... V{MAX_UNNUMBERED}")


def is_named(number: int) -> bool:
    """Whether a mask's value is a named level, not an unnumbered vertebra."""
    return number in BY_NUMBER


def craniocaudal_rank(number: int) -> int:
    """A number that grows from head to foot; unnumbered vertebrae keep their own order behind all named ones."""
    return _ORDER.get(number, number + len(LEVELS))


def region(number: int) -> str | None:
    """cervical, thoracic, lumbar or sacral; None for an unnumbered vertebra."""
    level = BY_NUMBER.get(number)
    return level.region if level else None
