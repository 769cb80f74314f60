from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.identity import Identity
from pipeline.index import SourceIndex, index_source
from pipeline.ingest import ingest_series
from pipeline.plan import make_plan
from pipeline.store import Store
from pipeline.volumes import read_volume
from schemas.catalog import CATALOG
from schemas.columns import table
from schemas.config import CohortConfig


class Cohort:
    """A source that was indexed, planned and ingested."""

    def __init__(self, source: Path, folder: Path, **options: Any) -> None:
        self.config = CohortConfig(source=str(source), store=str(folder / "store"), **options)
        self.store = Store.create(self.config.store, cohort="cohort")
        self.index: SourceIndex = index_source(self.config, identity=Identity.of(self.store))
        self.plan = make_plan(self.index.series, None)
        entries = {entry.series_key: entry for entry in self.index.series}
        self.rows: list[dict[str, Any]] = [
            ingest_series(
                entries[row["series_key"]], store=self.store, shard=row["shard"], attempt="a1", config=self.config
            )
            for row in self.plan.to_pylist()
        ]
        table(self.rows, CATALOG)


def read_by_simple_itk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def assert_equal_to_simple_itk(cohort: Cohort, row: dict[str, Any], image: sitk.Image) -> None:
    assert row["status"] == "ok", row["reason"]
    volume = read_volume(cohort.store, row["volume_uri"])
    expected = sitk.GetArrayFromImage(image)
    if np.issubdtype(volume.voxels.dtype, np.integer):
        np.testing.assert_array_equal(volume.voxels, expected)
    else:
        np.testing.assert_array_equal(volume.voxels, expected.astype(np.float32))
    np.testing.assert_allclose(volume.grid.spacing_mm[::-1], image.GetSpacing(), atol=1e-6)
    np.testing.assert_allclose(volume.grid.origin_mm, image.GetOrigin(), atol=1e-6)
    np.testing.assert_allclose(volume.grid.direction, image.GetDirection(), atol=1e-6)


@pytest.mark.parametrize(
    "folder",
    [
        "ct_body_spine_dicom_crlm1004/image",
        "sarcoma_sts001_ct_pet_mr_rtstruct/CT/image",
        "sarcoma_sts001_ct_pet_mr_rtstruct/PET/image",
        "sarcoma_sts001_ct_pet_mr_rtstruct/MR_T1/image",
        "seg_liver_spine_dcmqi/ct_image",
        "mr_dicom_variants_dicom2nifti/hitachi_double_oblique",
        "mr_dicom_variants_dicom2nifti/pmod_non_square_pixels",
        "mr_dicom_variants_dicom2nifti/uncompressed_same_image",
        "mr_dicom_variants_dicom2nifti/j2k_lossless",
        "mr_dicom_variants_dicom2nifti/jpegls",
        "mr_dicom_variants_dicom2nifti/rle",
    ],
)
def test_voxels_and_geometry_equal_simple_itk(shared_data: Path, tmp_path: Path, folder: str) -> None:
    cohort = Cohort(shared_data / folder, tmp_path)
    assert len(cohort.rows) == 1
    assert_equal_to_simple_itk(cohort, cohort.rows[0], read_by_simple_itk(shared_data / folder))


@pytest.mark.parametrize(
    "file",
    ["torso_ct_totalsegmentator/example_ct.nii.gz", "spine_ct_vertebra_tptbox/sub-ct_label-22_ct.nii.gz"],
)
def test_nifti_equals_simple_itk(shared_data: Path, tmp_path: Path, file: str) -> None:
    cohort = Cohort(shared_data / file, tmp_path)
    assert cohort.rows[0]["modality"] == "CT"
    assert_equal_to_simple_itk(cohort, cohort.rows[0], sitk.ReadImage(str(shared_data / file)))


def test_ct_is_stored_as_int16(shared_data: Path, tmp_path: Path) -> None:
    cohort = Cohort(shared_data / "ct_body_spine_dicom_crlm1004", tmp_path)
    assert read_volume(cohort.store, cohort.rows[0]["volume_uri"]).voxels.dtype == np.int16
