from __future__ import annotations

import numpy as np
import pytest

from pipeline.masks import LevelMask
from pipeline.tally.intensity import PEAK_ML
from tests.pipeline.tally.shapes import (
    ORIENTATIONS,
    bone,
    ellipsoid,
    grid_of,
    lesion_mask,
    spine,
    tally,
    tilted,
)

RADII = (7.0, 11.0, 9.0)


def only(result: dict) -> dict:
    assert result["n_lesions"] == len(result["lesions"]) == 1
    return result["lesions"][0]


@pytest.mark.parametrize("direction", ORIENTATIONS)
def test_ellipsoid_comes_back_in_every_orientation(direction: tuple[float, ...]) -> None:
    """Spacing is anisotropic and differs along all three voxel axes, which lie along any axis of the patient."""
    shape, spacing = (44, 50, 56), (1.25, 0.8, 0.6)
    probe = grid_of(shape, spacing, direction, (20.0, -30.0, 1000.0))
    centre = probe.to_lps(np.array(shape) / 2 + (0.2, 0.3, -0.1))
    row = only(tally(np.zeros(shape, np.int16), probe, lesions=lesion_mask(ellipsoid(probe, centre, RADII))))
    assert row["volume_mm3"] == pytest.approx(4 / 3 * np.pi * np.prod(RADII), rel=0.01)
    assert row["centroid_mm"] == pytest.approx(list(centre), abs=0.06)
    assert row["diameter_plane"] == "axial"
    assert row["long_axis_mm"] == pytest.approx(22, abs=1.3)  # along P
    assert row["short_axis_mm"] == pytest.approx(14, abs=1.3)  # along L
    assert row["axial_long_axis_mm"] == row["long_axis_mm"]
    assert row["feret_3d_mm"] == pytest.approx(22, abs=1.3)
    assert row["sphere_diameter_mm"] == pytest.approx(2 * np.prod(RADII) ** (1 / 3), rel=0.01)
    ends = np.reshape(row["long_axis_ends_mm"], (2, 3))
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(row["long_axis_mm"])
    assert abs(ends[1] - ends[0])[1] == pytest.approx(row["long_axis_mm"], rel=0.05)
    short = np.reshape(row["short_axis_ends_mm"], (2, 3))
    assert np.linalg.norm(short[1] - short[0]) == pytest.approx(row["short_axis_mm"])
    assert np.dot(short[1] - short[0], ends[1] - ends[0]) == pytest.approx(0, abs=1e-9)
    assert np.linalg.norm(short.mean(axis=0) - ends.mean(axis=0)) < 5  # half the long axis is 11
    across = 2 - int(np.argmax(np.abs(np.reshape(direction, (3, 3))[2])))
    assert probe.to_index(ends)[:, across] == pytest.approx([row["diameter_slice"]] * 2)
    assert probe.to_index(short)[:, across] == pytest.approx([row["diameter_slice"]] * 2)


def test_cube() -> None:
    grid = grid_of((30, 40, 50), (3.0, 0.5, 0.75), origin_mm=(1.0, 2.0, 3.0))
    mask = np.zeros(grid.shape, np.uint16)
    mask[10:14, 8:32, 20:36] = 1  # 12 mm each way
    row = only(tally(np.zeros(grid.shape, np.int16), grid, lesions=lesion_mask(mask)))
    assert row["volume_mm3"] == pytest.approx(1728)
    assert row["bbox"] == [10, 8, 20, 14, 32, 36]
    assert row["centroid_mm"] == pytest.approx([1 + 27.5 * 0.75, 2 + 19.5 * 0.5, 3 + 11.5 * 3])
    assert row["area_mm2"] == pytest.approx(144)
    corner_to_corner, centre_to_centre = 12 * np.sqrt(2), np.hypot(11.5, 11.25)
    assert centre_to_centre < row["long_axis_mm"] < corner_to_corner
    assert row["short_axis_mm"] == pytest.approx(row["long_axis_mm"], rel=0.05)
    assert row["n_voxels"] == 4 * 24 * 16
    assert not row["touches_edge"]
    assert not row["partial_volume"]


@pytest.mark.parametrize(
    ("modality", "spacing", "degrees", "plane"),
    [
        ("CT", (5.0, 1.0, 1.0), 0.0, "axial"),
        ("CT", (1.0, 5.0, 1.0), 0.0, "axial"),  # reformatted: still across superior-inferior
        ("CT", (5.0, 1.0, 1.0), 25.0, "axial"),
        ("CT", (5.0, 1.0, 1.0), 35.0, "oblique 35"),
        ("MR", (1.0, 1.0, 4.0), 0.0, "sagittal"),
        ("MR", (1.0, 4.0, 1.0), 0.0, "coronal"),
        ("MR", (4.0, 1.0, 1.0), 0.0, "axial"),
        ("MR", (1.0, 1.0, 1.0), 0.0, "axial"),
        ("MR", (4.0, 1.0, 1.0), 40.0, "oblique 40"),
        ("NM", (4.0, 4.0, 4.0), 0.0, "axial"),
        ("PT", (4.0, 5.0, 4.0), 0.0, "axial"),
    ],
)
def test_plane(modality: str, spacing: tuple[float, float, float], degrees: float, plane: str) -> None:
    grid = grid_of((20, 20, 20), spacing, tilted(degrees))
    mask = np.zeros(grid.shape, np.uint16)
    mask[8:12, 8:12, 8:12] = 1
    row = only(tally(np.zeros(grid.shape, np.int16), grid, lesions=lesion_mask(mask), modality=modality))
    assert row["diameter_plane"] == plane
    assert row["axial_long_axis_mm"] == (row["long_axis_mm"] if plane == "axial" else None)


def test_hu_statistics_only_in_hu() -> None:
    grid, mask = grid_of((6, 6, 6)), np.zeros((6, 6, 6), np.uint16)
    mask[2:4, 2:4, 2:4] = 1
    voxels = np.arange(216, dtype=np.int16).reshape(6, 6, 6)
    inside = voxels[mask > 0]
    row = only(tally(voxels, grid, lesions=lesion_mask(mask)))
    assert row["intensity_unit"] == "HU"
    assert row["hu_mean"] == pytest.approx(inside.mean())
    assert row["hu_sd"] == pytest.approx(inside.std())
    assert [row["hu_min"], row["hu_max"]] == [inside.min(), inside.max()]
    for p in (10, 25, 50, 75, 90):
        assert row[f"hu_p{p}"] == pytest.approx(np.percentile(inside, p))
    for modality, unit in (("CT", None), ("CT", "arbitrary"), ("MR", None), ("PT", "HU"), (None, "HU")):
        other = only(tally(voxels, grid, lesions=lesion_mask(mask), modality=modality, intensity_unit=unit))
        assert other["intensity_unit"] == "arbitrary"
        assert all(other.get(name) is None for name in row if name.startswith("hu_"))
        assert other.get("in_metal") is None
        assert other.get("lesion_type") is None


def test_values_that_are_no_numbers_are_left_out() -> None:
    grid, mask = grid_of((6, 6, 6)), np.zeros((6, 6, 6), np.uint16)
    mask[2:4, 2:4, 2:4] = 1
    voxels = np.full((6, 6, 6), 50, np.float32)
    voxels[2, 2, 2] = np.nan
    assert only(tally(voxels, grid, lesions=lesion_mask(mask)))["hu_mean"] == 50
    voxels[mask > 0] = np.nan
    row = only(tally(voxels, grid, lesions=lesion_mask(mask)))
    assert row.get("hu_mean") is None
    assert row["volume_mm3"] == 8


def test_suv() -> None:
    grid = grid_of((40, 40, 40), (2.0, 2.0, 2.0))
    mask = ellipsoid(grid, (40, 40, 40), (15, 15, 15))
    voxels = np.where(mask, 3000.0, 500.0).astype(np.float32)
    voxels[20, 20, 20] = 9000.0
    row = only(tally(voxels, grid, lesions=lesion_mask(mask), modality="PT", intensity_unit="BQML", suv_factor=0.001))
    assert row["intensity_unit"] == "SUVbw"
    assert row["suv_max"] == pytest.approx(9)
    assert row["suv_mean"] == pytest.approx(3 + 6 / mask.sum())
    assert row["mtv_ml"] == pytest.approx(row["volume_mm3"] / 1000)
    assert row["tlg_g"] == pytest.approx(row["suv_mean"] * row["mtv_ml"])
    in_sphere = int(ellipsoid(grid, (40, 40, 40), [(3000 * PEAK_ML / 4 / np.pi) ** (1 / 3)] * 3).sum())
    assert row["suv_peak"] == pytest.approx(3 + 6 / in_sphere)


def test_the_peak_leaves_out_voxels_that_are_no_numbers() -> None:
    """Some PET files hold NaN outside the patient: no zeros, which would halve the peak of a lesion at the skin."""
    grid = grid_of((20, 20, 20), (3.0, 3.0, 3.0))
    mask = np.zeros(grid.shape, bool)
    mask[8:12, 8:12, 8:10] = True
    voxels = np.full(grid.shape, 4000.0, np.float32)
    voxels[:, :, 10:] = np.nan
    row = only(tally(voxels, grid, lesions=lesion_mask(mask), modality="PT", intensity_unit="BQML", suv_factor=0.001))
    assert row["suv_peak"] == pytest.approx(4)


def test_no_suv_without_a_factor() -> None:
    grid, mask = grid_of((9, 9, 9)), np.zeros((9, 9, 9), np.uint16)
    mask[2:4, 2:4, 2:4] = 1
    row = only(tally(np.ones((9, 9, 9), np.float32), grid, lesions=lesion_mask(mask), modality="PT"))
    assert all(row.get(name) is None for name in ("suv_max", "suv_mean", "suv_peak", "mtv_ml", "tlg_g"))


def test_z_scores_against_normal_vertebrae() -> None:
    grid, levels = spine(("T11", "T12", "L1"))
    voxels = bone(levels)
    mask = np.zeros(grid.shape, np.uint16)
    mask[20:24, 20:24, 20:24] = 1
    voxels[mask > 0] = 150 + 5 * 20
    row = only(tally(voxels, grid, lesions=lesion_mask(mask), levels=levels, modality="MR", intensity_unit=None))
    assert row["intensity_unit"] == "z"
    assert row["z_mean"] == pytest.approx(5, abs=0.3)
    assert row["z_max"] >= row["z_mean"]
    without = only(tally(voxels, grid, lesions=lesion_mask(mask), modality="MR", intensity_unit=None))
    assert without.get("z_mean") is None


def test_planar_scintigraphy_has_areas() -> None:
    grid = grid_of((1, 40, 30), (1.0, 2.0, 3.0))
    mask = np.zeros(grid.shape, np.uint16)
    mask[0, 10:14, 5:8] = 1
    result = tally(np.ones(grid.shape, np.int16), grid, lesions=lesion_mask(mask), modality="NM")
    row = only(result)
    assert row["area_mm2"] == pytest.approx(12 * 6)
    assert not row["touches_edge"]
    for name in ("volume_mm3", "sphere_diameter_mm", "feret_3d_mm", "axial_long_axis_mm"):
        assert row[name] is None
    assert result["lesion_volume_mm3"] is None
    assert row["long_axis_mm"] > 8


def test_one_voxel_at_the_corner() -> None:
    grid, mask = grid_of((4, 4, 4), (2.0, 1.0, 0.5)), np.zeros((4, 4, 4), np.uint16)
    mask[3, 3, 3] = 1
    row = only(tally(np.full((4, 4, 4), 7, np.int16), grid, lesions=lesion_mask(mask)))
    assert row["volume_mm3"] == 1.0
    assert row["long_axis_mm"] == pytest.approx(1.0)
    assert row["feret_3d_mm"] == pytest.approx(2.0)
    assert row["hu_sd"] == 0
    assert row["touches_edge"]
    assert row["partial_volume"]


def test_metal_beside_a_lesion() -> None:
    grid, mask, voxels = grid_of((9, 9, 9)), np.zeros((9, 9, 9), np.uint16), np.zeros((9, 9, 9), np.int16)
    mask[4, 4, 4] = 1
    voxels[4, 4, 6] = 3071
    assert only(tally(voxels, grid, lesions=lesion_mask(mask)))["in_metal"] is False
    voxels[4, 4, 5] = 3071
    assert only(tally(voxels, grid, lesions=lesion_mask(mask)))["in_metal"] is True


def test_scores_classes_and_labels_that_are_missing() -> None:
    grid, mask = grid_of((6, 6, 6)), np.zeros((6, 6, 6), np.uint16)
    mask[1, 1, 1], mask[4, 4, 4] = 1, 3
    found = lesion_mask(
        mask,
        score_max=np.array([0.9, 0.8, 0.7]),
        score_mean=np.array([0.6, 0.5, 0.4]),
        volume_change=np.array([0.1, 0.2, -0.3]),
        model_class=[{"lytic": 0.7, "blastic": 0.3}, {}, {}],
    )
    first, last = tally(np.zeros((6, 6, 6), np.int16), grid, lesions=found)["lesions"]
    assert (first["lesion_id"], last["lesion_id"]) == (1, 3)
    assert (last["score_max"], last["score_mean"], last["mask_volume_change"]) == (0.7, 0.4, -0.3)
    assert (first["model_class"], last["model_class"]) == ("lytic", None)
    assert (first["threshold"], first["model"]) == (0.5, "test/1")


def test_candidates_get_their_level() -> None:
    grid, levels = spine(("T12", "L1"))
    rows = [
        {"centroid_mm": [30.0, 20.0, 10.0], "bbox": [8, 18, 28, 12, 22, 32]},
        {"centroid_mm": [2.0, 2.0, 2.0], "bbox": [0, 0, 0, 4, 4, 4]},
        {"centroid_mm": [30.0, 8.0, 22.0], "bbox": [20, 4, 28, 24, 13, 32]},
        {"centroid_mm": [900.0, 8.0, 22.0], "bbox": [0, 0, 0, 1, 1, 1]},
    ]
    found = lesion_mask(np.zeros(grid.shape, np.uint16), candidates=rows)
    result = tally(bone(levels), grid, lesions=found, levels=levels)
    assert [row["level"] for row in result["candidates"]] == ["L1", "none", "T12", "none"]
    assert "level" not in tally(bone(levels), grid, lesions=found)["candidates"][0]


def test_type_follows_the_reference_of_unaffected_vertebrae() -> None:
    grid, levels = spine(("T10", "T11", "T12", "L1", "L2"))
    voxels, mask = bone(levels), np.zeros(grid.shape, np.uint16)
    for label, (value, z) in enumerate([(800, 8), (-50, 22), (150, 36)], start=1):
        mask[z : z + 4, 20:26, 20:26] = label
        voxels[mask == label] = value
    mask[50:54, 20:26, 20:26] = 4
    voxels[50:52, 20:26, 20:26], voxels[52:54, 20:26, 20:26] = 900, -60
    result = tally(voxels, grid, lesions=lesion_mask(mask), levels=levels)
    assert [row["lesion_type"] for row in result["lesions"]] == ["blastic", "lytic", "indeterminate", "mixed"]
    assert result["trabecular_hu"] == pytest.approx(150, abs=2)
    assert result["trabecular_mad_hu"] == pytest.approx(20 / 1.4826, abs=1)
    assert {row["type_rule_id"][:21] for row in result["lesions"]} == {"spinetally-density-1:"}
    assert not result["lesions"][0]["enostosis_flag_mean885"]


def test_no_type_where_no_vertebra_is_normal() -> None:
    grid, levels = spine(("L1",))
    mask = np.zeros(grid.shape, np.uint16)
    mask[8:10, 20:24, 20:24] = 1
    for given in (levels, None, LevelMask(np.zeros(grid.shape, np.uint16))):
        result = tally(bone(levels), grid, lesions=lesion_mask(mask), levels=given)
        assert result["lesions"][0].get("lesion_type") is None
        assert result["lesions"][0].get("type_rule_id") is None
        assert result["trabecular_hu"] is None
