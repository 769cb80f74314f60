"""A person's name for one vertebra, and those that follow from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError, ScanError, SourceError
from pipeline.grid import Grid
from pipeline.level_anchor import parse_anchor, renamed
from pipeline.manifest import parse_manifest
from pipeline.masks import LevelMask
from schemas.spine import level_name, level_number

UP = Grid((40, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
DOWN = Grid((40, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 39.0), (1, 0, 0, 0, -1, 0, 0, 0, -1))


def _mask(*names: str, grid: Grid = UP) -> LevelMask:
    """A column of vertebrae of these names, the first at the head."""
    levels = np.zeros(grid.shape, np.uint16)
    for place, name in enumerate(names):
        top = 38 - 4 * place
        levels[top - 2 : top] = level_number(name)
    return LevelMask(levels if grid is UP else levels[::-1].copy())


def _names(mask: LevelMask, grid: Grid = UP) -> list[str]:
    column = mask.levels[:, 0, 0] if grid is DOWN else mask.levels[::-1, 0, 0]
    return [level_name(int(n)) for i, n in enumerate(column) if n and (i == 0 or column[i - 1] != n)]


@pytest.mark.parametrize("grid", [UP, DOWN])
def test_all_others_follow(grid: Grid) -> None:
    mask = renamed(_mask("V1", "V2", "V3", "SACRUM", grid=grid), parse_anchor("V3=L5"), grid)
    assert _names(mask, grid) == ["L3", "L4", "L5", "SACRUM"]
    assert mask.anchor == "user"


def test_it_goes_before_the_names_that_a_model_gave() -> None:
    assert _names(renamed(_mask("L1", "L2", "L3"), {"L2": "L3"}, UP)) == ["L2", "L3", "L4"]
    assert _names(renamed(_mask("L1", "L2", "L3"), {"V1": "T12"}, UP)) == ["T12", "L1", "L2"]


def test_a_gap_between_names_is_counted() -> None:
    assert _names(renamed(_mask("T10", "T12", "L1"), {"T12": "T11"}, UP)) == ["T9", "T11", "T12"]


def test_what_lies_beyond_the_usual_count_stays_unnumbered() -> None:
    assert _names(renamed(_mask("V1", "V2", "V3"), {"V2": "L5"}, UP)) == ["L4", "L5", "V3"]
    assert _names(renamed(_mask("V1", "V2", "V3"), {"V2": "C1"}, UP)) == ["V1", "C1", "C2"]


def test_the_body_stays_the_body() -> None:
    mask = _mask("V1", "V2")
    parts = (mask.levels > 0).astype(np.uint8)
    assert renamed(LevelMask(mask.levels, parts), {"V1": "L1"}, UP).parts is parts


@pytest.mark.parametrize("anchors", [{"V4": "L3"}, {"T5": "L3"}, {"V1": "L1", "V2": "L4"}])
def test_what_does_not_fit_the_scan(anchors: dict[str, str]) -> None:
    with pytest.raises(ScanError, match=r"V1 V2 V3|contradict"):
        renamed(_mask("V1", "V2", "V3"), anchors, UP)


@pytest.mark.parametrize("text", ["L3", "V3=", "V3=V4", "SACRUM=L5", "V3=L6", "3=L3", "=L3", "V3=L3=L4"])
def test_what_is_no_anchor(text: str) -> None:
    with pytest.raises(ConfigError, match="is no anchor"):
        parse_anchor(text)


def test_in_a_manifest(tmp_path: Path) -> None:
    (row,) = parse_manifest(b"uri,level_anchor\na.nii,V3=L3\n", uri=str(tmp_path / "m.csv"), clinical=())
    assert row.masks.level_anchor == "V3=L3"
    with pytest.raises(SourceError, match="row 1 of the manifest: `level_anchor`"):
        parse_manifest(b"uri,level_anchor\na.nii,third\n", uri=str(tmp_path / "m.csv"), clinical=())
