from __future__ import annotations

import numpy as np
import pytest

from pipeline.masks import BODY, LevelMask
from schemas.spine import level_number
from tests.pipeline.tally.shapes import bone, grid_of, lesion_mask, spine, tally


def rows(result: dict) -> dict[str, dict]:
    return {row["level"]: row for row in result["vertebrae"]}


def test_levels_have_their_share() -> None:
    grid, levels = spine(("T11", "T12", "L1"))
    mask = np.zeros(grid.shape, np.uint16)
    mask[24:34, 20:30, 20:30] = 1  # 6 slices in T12 (18 to 30), 2 between, 2 in T11
    mask[6:8, 41:43, 20:24] = 2  # L1, posterior, one side
    mask[0:2, 0:3, 0:3] = 3  # outside
    result = tally(bone(levels), grid, lesions=lesion_mask(mask), levels=levels)
    first, second, third = result["lesions"]
    assert (first["level"], first["level2"]) == ("T12", "T11")
    assert (first["level_fraction"], first["level2_fraction"]) == (0.6, 0.2)
    assert (second["level"], second["level_fraction"], second.get("level2")) == ("L1", 1.0, None)
    assert (third["level"], third.get("level_fraction")) == ("none", None)
    assert (first["compartment"], second["compartment"], third["compartment"]) == ("body", "posterior", None)
    assert first["involved_body_fraction"] == pytest.approx(600 / (12 * 30 * 36))
    table = rows(result)
    assert [table[name]["n_lesions"] for name in ("T11", "T12", "L1", "none")] == [0, 1, 1, 1]
    assert table["T12"]["lesion_load_mm3"] == 600
    assert table["T11"]["lesion_load_mm3"] == 200
    assert table["none"]["lesion_load_mm3"] == 200 + 18
    assert table["T12"]["burden"] == pytest.approx(600 / (12 * (30 * 36 + 14 * 28)))
    assert table["L1"]["posterior_involvement"] == "unilateral"
    assert table["T12"]["posterior_involvement"] == "none"
    assert table["T12"]["body_involved_fraction"] == first["involved_body_fraction"]
    assert result["n_levels_assessed"] == 3


def test_what_was_not_looked_at_is_null() -> None:
    grid, levels = spine(("T11", "T12", "L2"), from_z=0)
    result = tally(bone(levels), grid, lesions=lesion_mask(np.zeros(grid.shape, np.uint16)), levels=levels)
    table = rows(result)
    assert {name: table[name]["assessed"] for name in ("T10", "T11", "L1", "L2", "L3", "SACRUM")} == {
        "T10": "absent",
        "T11": "full",
        "L1": "unknown",
        "L2": "partial",
        "L3": "absent",
        "SACRUM": "absent",
    }
    assert table["T11"]["n_lesions"] == 0
    assert table["L3"].get("n_lesions") is None
    assert table["L1"].get("lesion_load_mm3") is None
    assert "L6" not in table
    assert "T13" not in table
    assert result["n_lesions"] == 0
    assert result["lesion_volume_mm3"] == 0
    assert next(iter(table)) == "C1"
    assert list(table)[-1] == "none"


def test_lesions_that_were_not_looked_for() -> None:
    grid, levels = spine(("T11", "T12"))
    result = tally(bone(levels), grid, levels=levels)
    assert result["n_lesions"] is None
    assert result["lesions"] is None
    assert result["candidates"] is None
    assert result["lesion_volume_mm3"] is None
    assert all(row.get("n_lesions") is None for row in result["vertebrae"])
    assert rows(result)["T12"]["vertebra_volume_mm3"] > 0
    assert result["n_levels_assessed"] == 2
    assert result["trabecular_hu"] == pytest.approx(150, abs=2)


def test_levels_that_were_not_looked_for() -> None:
    grid, mask = grid_of((9, 9, 9)), np.zeros((9, 9, 9), np.uint16)
    mask[2:5, 2:5, 2:5] = 1
    result = tally(np.zeros((9, 9, 9), np.int16), grid, lesions=lesion_mask(mask))
    assert result["lesions"][0].get("level") is None
    assert result["vertebrae"] is None
    assert result["n_levels_assessed"] is None


def test_unnumbered_vertebrae_say_nothing_of_others() -> None:
    grid, levels = spine(("V1", "V2", "V3"), from_z=0)
    table = rows(tally(bone(levels), grid, lesions=lesion_mask(np.zeros(grid.shape, np.uint16)), levels=levels))
    assert {name: row["assessed"] for name, row in table.items()} == {
        "V1": "full",
        "V2": "full",
        "V3": "partial",
        "none": "unknown",
    }


@pytest.mark.parametrize(
    ("names", "neighbours_unknown"),
    [
        (("T12", "T13", "L1"), set()),
        (("L4", "L5", "L6", "SACRUM"), set()),
        (("L3", "L4", "SACRUM"), {"L5"}),
    ],
)
def test_variants_of_the_spine(names: tuple[str, ...], neighbours_unknown: set[str]) -> None:
    grid, levels = spine(names)
    table = rows(tally(bone(levels), grid, lesions=lesion_mask(np.zeros(grid.shape, np.uint16)), levels=levels))
    assert all(table[name]["assessed"] == "full" for name in names)
    assert {name for name, row in table.items() if row["assessed"] == "unknown"} == neighbours_unknown | {"none"}


def test_levels_in_the_wrong_order_make_no_level_absent() -> None:
    grid, levels = spine(("L1", "T12", "T11"))
    result = tally(bone(levels), grid, lesions=lesion_mask(np.zeros(grid.shape, np.uint16)), levels=levels)
    table = rows(result)
    assert table["T12"]["assessed"] == "full"
    assert {row["assessed"] for row in table.values()} == {"full", "unknown"}


def test_levels_of_which_none_was_found() -> None:
    grid = grid_of((9, 9, 9))
    empty = LevelMask(np.zeros((9, 9, 9), np.uint16))
    mask = np.zeros((9, 9, 9), np.uint16)
    mask[2, 2, 2] = 1
    result = tally(np.zeros((9, 9, 9), np.int16), grid, lesions=lesion_mask(mask), levels=empty)
    table = rows(result)
    assert {row["assessed"] for row in table.values()} == {"unknown"}
    assert [name for name, row in table.items() if row.get("n_lesions") is not None] == ["none"]
    assert table["none"]["n_lesions"] == 1
    assert result["n_levels_assessed"] == 0
    assert result["lesions"][0]["level"] == "none"


def test_both_sides_and_the_midline() -> None:
    grid, levels = spine(("T11", "T12", "L1"))
    mask = np.zeros(grid.shape, np.uint16)
    mask[6:8, 42:46, 20:23], mask[6:8, 42:46, 38:41] = 1, 2  # L1, both sides
    mask[20:22, 50:53, 29:31] = 3  # T12, on the midline
    table = rows(tally(bone(levels), grid, lesions=lesion_mask(mask), levels=levels))
    assert table["L1"]["posterior_involvement"] == "bilateral"
    assert table["T12"]["posterior_involvement"] == "none"
    whole = LevelMask(levels.levels, None)
    table = rows(tally(bone(levels), grid, lesions=lesion_mask(mask), levels=whole))
    assert table["L1"].get("posterior_involvement") is None
    assert table["L1"].get("body_volume_mm3") is None


def test_a_collapsed_body_is_lower_than_its_neighbours() -> None:
    grid, levels = spine(("T11", "T12", "L1"))
    numbers, parts = levels.levels.copy(), levels.parts.copy()
    wedge = np.zeros(grid.shape, bool)
    wedge[24:30, 10:22, :] = True  # the front half of T12 loses its upper half
    gone = wedge & (numbers == level_number("T12")) & (parts == BODY)
    numbers[gone], parts[gone] = 0, 0
    table = rows(tally(bone(levels), grid, levels=LevelMask(numbers, parts, "mask")))
    assert table["T12"]["height_ratio"] == pytest.approx(0.5)
    assert table["T11"]["height_ratio"] == pytest.approx(1.0)  # against T12, whose hind part stands
    assert table["L1"]["height_ratio"] == pytest.approx(1.0)


def test_dominant_type() -> None:
    grid, levels = spine(("T11", "T12", "L1"))
    voxels, mask = bone(levels), np.zeros(grid.shape, np.uint16)
    mask[6:9, 20:26, 20:26], mask[12:14, 20:22, 20:22] = 1, 2
    voxels[mask == 1], voxels[mask == 2] = -80, 900
    table = rows(tally(voxels, grid, lesions=lesion_mask(mask), levels=levels))
    assert table["L1"]["dominant_type"] == "lytic"
    assert table["T12"]["dominant_type"] is None
    assert table["T11"]["trabecular_hu"] == pytest.approx(150, abs=3)
