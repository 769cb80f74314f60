"""A vertebra's name as a person knows it: one is given, and all others of the scan follow by counting.

`V3=L3` says that the third vertebra from the head, of those that the mask holds, is L3; `L2=L3` that the one the mask
calls L2 is. Whatever made the mask, the person's word goes before it. Counted is C1 ... L5; what lies beyond either
end stays unnumbered, and the sacrum keeps its name.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.errors import ConfigError, ScanError
from pipeline.grid import Grid
from pipeline.masks import LABEL_TYPE, LevelMask
from pipeline.regions import Region, find_regions
from schemas.reasons import Reason
from schemas.spine import BY_NAME, UNNUMBERED_BASE, level_name, level_number

_STANDARD = tuple(range(1, 25))
"""Numbers of C1 ... L5, the usual count."""
_BELOW = {BY_NAME["SACRUM"].number, BY_NAME["COCCYX"].number}


def parse_anchor(text: str) -> dict[str, str]:
    """`V3=L3` as {"V3": "L3"}.

    Raises:
        ConfigError: it is not of that form, or names no vertebra.
    """
    key, _, name = (part.strip().upper() for part in text.partition("="))
    return checked({key: name})


def checked(anchors: Mapping[str, str]) -> dict[str, str]:
    """The anchors themselves.

    Raises:
        ConfigError: one of them names no vertebra.
    """
    for key, name in anchors.items():
        try:
            number, given = level_number(key), level_number(name)
        except ValueError:
            number, given = 0, 0
        if given not in _STANDARD or not number or number in _BELOW:
            raise ConfigError(
                f"{key}={name} is no anchor: write a vertebra (V1 is the topmost in view) and its name of C1 ... L5, "
                "such as V3=L3"
            )
    return dict(anchors)


def renamed(mask: LevelMask, anchors: Mapping[str, str], grid: Grid) -> LevelMask:
    """The same vertebrae with the names that follow from a person's anchors.

    Raises:
        ScanError: MODEL_OUTPUT, the mask lacks that vertebra, or the anchors contradict each other.
    """
    positions = _positions(mask, grid)
    shifts = {_STANDARD.index(level_number(name)) - _position(key, positions) for key, name in anchors.items()}
    if len(shifts) > 1:
        raise ScanError(Reason.MODEL_OUTPUT, f"the anchors {_said(anchors)} contradict each other in this scan")
    shift = shifts.pop()
    table = np.arange(int(mask.levels.max(initial=0)) + 1, dtype=LABEL_TYPE)
    for place, (number, position) in enumerate(positions.items(), 1):
        inside = 0 <= shift + position < len(_STANDARD)
        table[number] = _STANDARD[shift + position] if inside else UNNUMBERED_BASE + place
    return LevelMask(table[mask.levels], mask.parts, "user")


def _positions(mask: LevelMask, grid: Grid) -> dict[int, int]:
    """Number of each vertebra to its place in the count, from head to foot.

    Where all are named, a gap between two of them counts as what is missing; else they follow one another.
    """
    regions = [region for region in find_regions(mask.levels) if region.label not in _BELOW]
    numbers = [region.label for region in sorted(regions, key=lambda region: -_height(region, grid))]
    if all(number in _STANDARD for number in numbers):
        return {number: _STANDARD.index(number) for number in numbers}
    return {number: place for place, number in enumerate(numbers)}


def _position(key: str, positions: Mapping[int, int]) -> int:
    number, ordered = level_number(key), list(positions)
    if number > UNNUMBERED_BASE and number - UNNUMBERED_BASE <= len(ordered):
        return positions[ordered[number - UNNUMBERED_BASE - 1]]
    if number in positions:
        return positions[number]
    seen = " ".join(level_name(n) for n in ordered) or "none"
    raise ScanError(
        Reason.MODEL_OUTPUT, f"the anchor names {key}, and the vertebrae seen are {seen}: correct `level_anchor`"
    )


def _height(region: Region, grid: Grid) -> float:
    """How far up the middle of a region's box lies, in mm."""
    return float(grid.to_lps([(part.start + part.stop - 1) / 2 for part in region.box])[2])


def _said(anchors: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={name}" for key, name in anchors.items())
