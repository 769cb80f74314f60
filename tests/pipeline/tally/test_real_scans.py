"""Real masks in real orientations, against ITK's own shape statistics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.grid import Grid
from pipeline.masks import BODY, POSTERIOR, LesionMask, LevelMask
from tests.pipeline.tally.shapes import tally

SARCOMA = "sarcoma_sts001_ct_pet_mr_rtstruct/nifti_masks"
MASKS = [
    f"{SARCOMA}/STS_001_CT_mask.nii.gz",
    f"{SARCOMA}/STS_001_PET_mask.nii.gz",
    f"{SARCOMA}/STS_001_MR_T1_mask.nii.gz",
    "mr_brain_tumour_pyradiomics/brain1_label.nrrd",
    "spine_ct_vertebra_tptbox/sub-ct_seg-vert_label-22_msk.nii.gz",
]
BODY_PART = 49
"""Vertebral body (corpus border 49, corpus 50) in the subregion masks of that set; the rest is posterior."""


def read(path: Path) -> tuple[np.ndarray, Grid, sitk.Image]:
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    spacing = image.GetSpacing()[::-1]
    return array, Grid(array.shape, spacing, image.GetOrigin(), image.GetDirection()), image


@pytest.mark.parametrize("name", MASKS)
def test_volume_centroid_and_box_are_those_of_itk(shared_data: Path, name: str) -> None:
    array, grid, image = read(shared_data / name)
    labels = np.unique(array[array > 0])
    instances = np.searchsorted(labels, array) + 1
    instances[array == 0] = 0
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(sitk.Cast(image, sitk.sitkUInt16))
    rows = tally(np.zeros(array.shape, np.int16), grid, lesions=LesionMask(instances.astype(np.uint16)))["lesions"]
    assert len(rows) == len(labels)
    for row, label in zip(rows, labels.tolist(), strict=True):
        assert row["volume_mm3"] == pytest.approx(shape.GetPhysicalSize(label), rel=1e-6)
        assert row["centroid_mm"] == pytest.approx(list(shape.GetCentroid(label)), abs=1e-3)
        x, y, z, nx, ny, nz = shape.GetBoundingBox(label)
        assert row["bbox"] == [z, y, x, z + nz, y + ny, x + nx]


def test_the_tumour_is_as_large_as_its_source_says(shared_data: Path) -> None:
    array, grid, _ = read(shared_data / MASKS[0])
    (row,) = tally(np.zeros(array.shape, np.int16), grid, lesions=LesionMask(array.astype(np.uint16)))["lesions"]
    assert row["volume_mm3"] / 1000 == pytest.approx(365, abs=4)
    assert row["diameter_plane"] == "axial"
    assert row["short_axis_mm"] < row["long_axis_mm"] <= row["feret_3d_mm"]


def test_a_vertebra_of_a_real_ct(shared_data: Path) -> None:
    folder = shared_data / "spine_ct_vertebra_tptbox"
    voxels, grid, _ = read(folder / "sub-ct_label-22_ct.nii.gz")
    levels, _, _ = read(folder / "sub-ct_seg-vert_label-22_msk.nii.gz")
    parts, _, _ = read(folder / "sub-ct_seg-subreg_label-22_msk.nii.gz")
    two = np.where(parts >= BODY_PART, BODY, np.where(parts > 0, POSTERIOR, 0)).astype(np.uint8)
    result = tally(voxels, grid, levels=LevelMask(levels.astype(np.uint16), two, "mask"))
    table = {row["level"]: row for row in result["vertebrae"]}
    assert {name: table[name]["assessed"] for name in ("L2", "L3", "L4", "L5")} == {
        "L2": "partial",
        "L3": "full",
        "L4": "partial",
        "L5": "absent",
    }
    whole = table["L3"]
    assert 30_000 < whole["vertebra_volume_mm3"] < 90_000
    assert 0.4 < whole["body_volume_mm3"] / whole["vertebra_volume_mm3"] < 0.9
    assert 0 < whole["trabecular_hu"] < 400
