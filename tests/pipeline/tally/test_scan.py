from __future__ import annotations

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from pipeline.errors import ScanError
from pipeline.masks import LesionMask, LevelMask
from pipeline.tally import type_rule_id
from schemas.config import TypeRule
from schemas.reasons import Reason
from schemas.results import RESULTS
from tests.pipeline.tally.shapes import grid_of, lesion_mask, tally

NUMBERS = [0, 0, 0, 7, 18, 19, 20, 24, 25, 26, 28, 101, 102]
SHAPES = st.tuples(*[st.integers(1, 7)] * 3)


@st.composite
def scans(draw: st.DrawFn) -> dict[str, object]:
    shape = draw(SHAPES)
    levels = LevelMask(
        draw(hnp.arrays(np.uint16, shape, elements=st.sampled_from(NUMBERS))),
        draw(st.none() | hnp.arrays(np.uint8, shape, elements=st.integers(0, 2))),
    )
    return {
        "voxels": draw(hnp.arrays(np.int16, shape, elements=st.integers(-1000, 3100))),
        "grid": grid_of(shape, draw(st.tuples(*[st.floats(0.2, 6.0)] * 3))),
        "lesions": lesion_mask(draw(hnp.arrays(np.uint16, shape, elements=st.integers(0, 4)))),
        "levels": levels,
        "modality": draw(st.sampled_from(["CT", "MR", "PT", "NM", None])),
        "suv_factor": draw(st.none() | st.just(0.01)),
    }


@settings(max_examples=200, deadline=None)
@given(scan=scans())
def test_identities_hold_for_any_masks(scan: dict) -> None:
    result = tally(**scan)
    lesions, vertebrae = result["lesions"], result["vertebrae"]
    assert result["n_lesions"] == len(lesions) == sum(row.get("n_lesions") or 0 for row in vertebrae)
    assert result["n_levels_assessed"] == sum(row["assessed"] == "full" for row in vertebrae)
    looked_at = [row for row in vertebrae if row.get("n_lesions") is not None]
    assert {row["level"] for row in looked_at} >= {row["level"] for row in lesions}
    if result["lesion_volume_mm3"] is not None:
        total = result["lesion_volume_mm3"]
        assert sum(row["volume_mm3"] for row in lesions) == pytest.approx(total)
        assert sum(row["lesion_load_mm3"] for row in looked_at) == pytest.approx(total)
        assert all(0 <= row["burden"] <= 1 for row in looked_at if "burden" in row)
    for row in lesions:
        assert (row.get("level_fraction") or 0) >= (row.get("level2_fraction") or 0)
        assert row["short_axis_mm"] <= row["long_axis_mm"] * (1 + 1e-9)
        assert row["feret_3d_mm"] is None or row["feret_3d_mm"] >= row["long_axis_mm"]


@settings(max_examples=60, deadline=None)
@given(scan=scans())
def test_every_row_fits_the_schema(scan: dict) -> None:
    result = tally(**scan)
    assert set(result) <= set(RESULTS.names)
    for name in ("lesions", "candidates", "vertebrae"):
        kind = RESULTS.field(name).type
        known = {field.name for field in kind.value_type}
        assert all(set(row) <= known for row in result[name])
        pa.array([result[name]], type=kind)


@settings(max_examples=60, deadline=None)
@given(scan=scans(), axes=st.permutations(range(3)), flips=st.tuples(*[st.booleans()] * 3))
def test_the_order_of_voxels_changes_no_measure(scan: dict, axes: list[int], flips: tuple[bool, ...]) -> None:
    """The same scan stored along other axes, with its geometry said accordingly."""
    grid = scan["grid"]
    columns = np.reshape(grid.direction, (3, 3))[:, ::-1][:, axes] * np.where(flips, -1.0, 1.0)
    first = [grid.shape[axis] - 1 if flipped else 0 for axis, flipped in zip(axes, flips, strict=True)]
    corner = np.zeros(3)
    corner[list(axes)] = first
    turned = grid_of(
        tuple(grid.shape[a] for a in axes),
        tuple(grid.spacing_mm[a] for a in axes),
        tuple(columns[:, ::-1].ravel()),
        tuple(grid.to_lps(corner)),
    )

    def turn(mask: np.ndarray) -> np.ndarray:
        return np.transpose(mask, axes)[tuple(slice(None, None, -1 if f else 1) for f in flips)]

    levels = LevelMask(turn(scan["levels"].levels), None)
    before = tally(scan["voxels"], grid, lesions=scan["lesions"], levels=LevelMask(scan["levels"].levels, None))
    after = tally(turn(scan["voxels"]), turned, lesions=lesion_mask(turn(scan["lesions"].instances)), levels=levels)
    for one, other in zip(before["lesions"], after["lesions"], strict=True):
        for name in ("volume_mm3", "long_axis_mm", "feret_3d_mm", "centroid_mm", "hu_mean", "hu_p90"):
            assert other[name] == pytest.approx(one[name], abs=1e-6)
        assert (one["level"], one["in_metal"]) == (other["level"], other["in_metal"])


@settings(max_examples=60, deadline=None)
@given(labels=hnp.arrays(np.uint16, SHAPES, elements=st.sampled_from([0, 0, 1, 2, 5])))
def test_boxes_volumes_and_centroids_are_those_of_scipy(labels: np.ndarray) -> None:
    grid = grid_of(labels.shape, (1.5, 0.5, 0.7))
    rows = tally(np.zeros(labels.shape, np.int16), grid, lesions=lesion_mask(labels))["lesions"]
    present = [label for label in (1, 2, 5) if (labels == label).any()]
    assert [row["lesion_id"] for row in rows] == present
    boxes = ndimage.find_objects(labels)
    for row in rows:
        box, label = boxes[row["lesion_id"] - 1], row["lesion_id"]
        assert row["bbox"] == [s.start for s in box] + [s.stop for s in box]
        assert row["n_voxels"] == ndimage.sum_labels(np.ones(labels.shape), labels, label)
        centre = ndimage.center_of_mass(np.ones(labels.shape), labels, label)
        assert row["centroid_mm"] == pytest.approx(grid.to_lps(centre).tolist())


def test_an_empty_mask_is_no_lesion() -> None:
    result = tally(np.zeros((4, 5, 6), np.int16), grid_of((4, 5, 6)), lesions=lesion_mask(np.zeros((4, 5, 6))))
    assert (result["lesions"], result["n_lesions"], result["lesion_volume_mm3"]) == ([], 0, 0)


@pytest.mark.parametrize(
    ("mask", "reason", "words"),
    [
        (np.full((3, 3, 3), -1, np.int16), Reason.MASK_VALUES, "-1"),
        (np.full((3, 3, 3), 0.5, np.float32), Reason.MASK_VALUES, "fractional"),
        (np.full((3, 3, 3), np.nan, np.float32), Reason.MASK_VALUES, "fractional"),
        (np.full((3, 3, 3), 70000, np.int32), Reason.MASK_VALUES, "70000"),
        (np.zeros((3, 3, 4), np.uint16), Reason.MASK_GRID, r"\[3, 3, 4\]"),
    ],
)
def test_masks_that_are_none(mask: np.ndarray, reason: Reason, words: str) -> None:
    with pytest.raises(ScanError, match=words) as caught:
        tally(np.zeros((3, 3, 3), np.int16), grid_of((3, 3, 3)), lesions=LesionMask(mask))
    assert caught.value.reason == reason
    with pytest.raises(ScanError, match=words):
        tally(np.zeros((3, 3, 3), np.int16), grid_of((3, 3, 3)), levels=LevelMask(mask))


def test_a_level_that_is_none() -> None:
    with pytest.raises(ScanError, match="77 is no level") as caught:
        tally(np.zeros((3, 3, 3), np.int16), grid_of((3, 3, 3)), levels=LevelMask(np.full((3, 3, 3), 77, np.uint16)))
    assert caught.value.reason == Reason.MASK_VALUES


def test_the_rule_is_named_by_its_constants() -> None:
    assert type_rule_id(TypeRule()) == type_rule_id(TypeRule(major=0.6))
    assert type_rule_id(TypeRule()) != type_rule_id(TypeRule(major=0.7))


@pytest.mark.parametrize("parts", [False, True], ids=["whole", "parts"])
def test_levels_everywhere_take_no_more_memory_than_few(parts: bool) -> None:
    """A network that gives noise marks every level in the whole scan; its 25 boxes are then the scan itself."""
    rng, shape = np.random.default_rng(0), (48, 96, 96)
    noise = rng.integers(1, 26, shape).astype(np.uint16)
    peaks = []
    for levels in (np.where(noise > 23, noise, 0).astype(np.uint16), noise):
        mask = LevelMask(levels, rng.integers(0, 3, shape).astype(np.uint8) if parts else None)
        tracemalloc.start()
        tally(voxels=np.zeros(shape, np.int16), grid=grid_of(shape, (1.0, 1.0, 1.0)), levels=mask)
        peaks.append(tracemalloc.get_traced_memory()[1] / noise.size)
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2, peaks
