"""What the values of other programs' masks mean: tables from a value to the name of a level.

    verse             C1 = 1 ... T13 = 28, as `schemas.spine` (github.com/anjany/verse); unnumbered ones from 101
    totalsegmentator  task `total` of version 2 (wasserth/TotalSegmentator, totalsegmentator/map_to_binary.py)
    spineps           instance mask of SPINEPS (Hendrik-code/TPTBox, Vertebra_Instance): as verse, with S2 ... S6
                      at 29 ... 33, discs at 100 + vertebra and endplates at 200 + vertebra
    vista3d           global labels of the bundle VISTA3D (github.com/Project-MONAI/VISTA)

A value that a table knows as something else than a level (an organ, a disc) is background; one it does not know at
all is an error, for it shows that the mask comes from another program.
"""

from __future__ import annotations

from dataclasses import dataclass

from schemas.spine import BY_NUMBER, MAX_UNNUMBERED, UNNUMBERED_BASE, level_name


@dataclass(frozen=True)
class LabelTable:
    """The values of one program's masks."""

    levels: dict[int, str]
    """Value to the name of a level."""
    others: frozenset[int] = frozenset()
    """Values that are something else, and so background."""

    @property
    def known(self) -> frozenset[int]:
        """Every value that may occur, 0 left out."""
        return frozenset(self.levels) | self.others


_FROM_BELOW = [*(f"L{i}" for i in range(5, 0, -1)), *(f"T{i}" for i in range(12, 0, -1))]
_FROM_BELOW += [f"C{i}" for i in range(7, 0, -1)]


def _verse() -> LabelTable:
    unnumbered = range(UNNUMBERED_BASE + 1, UNNUMBERED_BASE + MAX_UNNUMBERED + 1)
    return LabelTable({number: level_name(number) for number in (*sorted(BY_NUMBER), *unnumbered)})


def _totalsegmentator() -> LabelTable:
    levels = {25: "SACRUM", 26: "SACRUM"} | {27 + i: name for i, name in enumerate(_FROM_BELOW)}
    return LabelTable(levels, frozenset(range(1, 118)) - levels.keys())


def _spineps() -> LabelTable:
    levels = {number: level_name(number) for number in BY_NUMBER} | dict.fromkeys(range(29, 34), "SACRUM")
    offsets = (100, 200)
    return LabelTable(levels, frozenset(offset + number for offset in offsets for number in levels))


def _vista3d() -> LabelTable:
    levels = {33 + i: name for i, name in enumerate(_FROM_BELOW)} | {97: "SACRUM", 127: "SACRUM", 131: "L6"}
    return LabelTable(levels, frozenset(range(1, 133)) - levels.keys())


LABEL_TABLES: dict[str, LabelTable] = {
    "verse": _verse(),
    "totalsegmentator": _totalsegmentator(),
    "spineps": _spineps(),
    "vista3d": _vista3d(),
}
"""By the name that a recipe or a model.yaml gives."""
