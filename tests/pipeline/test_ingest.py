from __future__ import annotations

import shutil
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from pipeline.errors import ServiceError
from pipeline.identity import Identity
from pipeline.index.source_index import SourceIndex, index_source
from pipeline.ingest import ingest_series
from pipeline.plan import make_plan
from pipeline.series import SeriesFile
from pipeline.store import Store
from pipeline.store.volumes import read_volume
from schemas.catalog import CATALOG
from schemas.columns import table
from schemas.config import CohortConfig
from tests.servers import ObjectStorage


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


def test_a_prefix_and_archives_give_what_the_folder_gives(
    shared_data: Path, tmp_path: Path, object_storage: ObjectStorage
) -> None:
    folder = shared_data / "ct_body_spine_dicom_crlm1004" / "image"
    filesystem = object_storage.filesystem()
    filesystem.mkdir("ingest")
    filesystem.put(str(folder), "ingest/scans", recursive=True)
    for name in ("a.zip", "b.tar.gz"):
        (tmp_path / name).mkdir()
    with zipfile.ZipFile(tmp_path / "a.zip" / "series.zip", "w") as bundle:
        for path in folder.iterdir():
            bundle.write(path, path.name)
    with tarfile.open(tmp_path / "b.tar.gz" / "series.tar.gz", "w:gz", compresslevel=1) as tar:
        tar.add(folder, "series")
    filesystem.put(str(tmp_path / "a.zip" / "series.zip"), "ingest/packed/series.zip")
    options = {"storage_options": object_storage.storage_options}
    rows = [
        Cohort(source, tmp_path / name, **extra).rows[0]
        for name, source, extra in (
            ("1", folder, {}),
            ("2", tmp_path / "a.zip", {}),
            ("3", tmp_path / "b.tar.gz" / "series.tar.gz", {}),
        )
    ]
    store = Store.create(str(tmp_path / "s3"), cohort="cohort")
    for number, source in enumerate(("s3://ingest/scans", "s3://ingest/packed")):
        config = CohortConfig(source=source, store=store.uri, **options)
        [entry] = index_source(config, identity=Identity.of(store)).series
        rows.append(ingest_series(entry, store=store, shard=f"s{number}", attempt="a", config=config))
    assert [row["status"] for row in rows] == ["ok"] * 5
    assert len({row["voxels_sha256"] for row in rows}) == 1
    assert {row["n_instances"] for row in rows} == {16}


def test_a_service_that_is_away_is_no_row(tmp_path: Path, shared_data: Path) -> None:
    cohort = Cohort(shared_data / "seg_liver_spine_dcmqi" / "ct_image", tmp_path)
    nowhere = {"key": "k", "secret": "s", "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"}}
    config = cohort.config.model_copy(update={"storage_options": nowhere})
    entry = replace(cohort.index.series[0], files=(SeriesFile("s3://bucket/file", 1),))
    with pytest.raises(ServiceError):
        ingest_series(entry, store=cohort.store, shard="s", attempt="a", config=config)


def test_a_series_that_a_rule_leaves_out_is_not_read(tmp_path: Path, shared_data: Path) -> None:
    rules = [{"name": "only MR", "modality": ["MR"]}]
    cohort = Cohort(shared_data / "seg_liver_spine_dcmqi" / "ct_image", tmp_path, select=rules)
    [row] = cohort.rows
    assert (row["status"], row["excluded_by"], row["kvp"]) == ("excluded", "only MR", 120.0)
    assert cohort.store.list("volumes") == []


def test_an_error_of_ours_says_where_and_nothing_of_the_scan(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("Doe^Jane in /data/Doe^Jane/1.dcm")

    monkeypatch.setattr("pipeline.ingest.read_dicom", fail)
    [row] = Cohort(shared_data / "seg_liver_spine_dcmqi" / "ct_image", tmp_path).rows
    assert (row["status"], row["reason_code"]) == ("quarantined", "error")
    assert "ValueError" in row["reason"]
    assert "Doe" not in row["reason"]


def test_a_file_that_went_away_is_a_row(tmp_path: Path, shared_data: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(shared_data / "seg_liver_spine_dcmqi" / "ct_image", source)
    cohort = Cohort(source, tmp_path)
    shutil.rmtree(source)
    row = ingest_series(cohort.index.series[0], store=cohort.store, shard="s", attempt="b", config=cohort.config)
    assert (row["status"], row["reason_code"]) == ("quarantined", "unreadable")


def test_no_identity_in_rows_and_volumes(tmp_path: Path, shared_data: Path) -> None:
    source = tmp_path / "Qxzname"
    source.mkdir()
    for path in (shared_data / "seg_liver_spine_dcmqi" / "ct_image").iterdir():
        dataset = dcmread(path)
        dataset.PatientName, dataset.PatientID, dataset.InstitutionName = "Qxzname^A", "QXZID7", "Qxz Clinic"
        dataset.PatientBirthDate, dataset.SeriesDescription = "19410203", "Qxz spine"
        dataset.DeviceSerialNumber, dataset.OperatorsName = "QXZSERIAL", "Qxz"
        dataset.save_as(source / path.name)
    cohort = Cohort(source, tmp_path)
    shown = repr(cohort.rows).lower()
    for name in cohort.store.list(""):
        if not name.startswith("private/"):
            shown += name.lower() + cohort.store.read(name).decode("latin-1").lower()
    uids = (str(dataset.SOPInstanceUID), str(dataset.StudyInstanceUID))
    # whole words: compressed voxels hold any three letters by chance
    for planted in ("qxzname", "qxzid7", "qxz clinic", "qxz spine", "qxzserial", "19410203", *uids):
        assert planted not in shown
    assert cohort.rows[0]["device_key"]
    allowed = Cohort(source, tmp_path / "allowed", free_text=["SeriesDescription"])
    assert allowed.rows[0]["series_description"] == "Qxz spine"
