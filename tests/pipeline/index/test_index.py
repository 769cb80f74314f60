from __future__ import annotations

import errno
import gzip
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pyarrow.compute as pc
import pytest
from pydicom import dcmread

from pipeline.errors import SourceError
from pipeline.identity import Identity
from pipeline.index.entries import _date
from pipeline.index.source_index import SourceIndex, index_source
from schemas.catalog import INDEX
from schemas.config import CohortConfig

IDENTITY = Identity(b"s" * 32)
CT = "ct_body_spine_dicom_crlm1004/image"


def index(source: Path, **options: Any) -> SourceIndex:
    previous = options.pop("previous", None)
    progress = options.pop("progress", None)
    config = CohortConfig(source=str(source), store="unused", **options)
    return index_source(config, identity=IDENTITY, previous=previous, progress=progress)


@pytest.fixture
def scans(tmp_path: Path, shared_data: Path) -> Path:
    """A small source: a CT of six slices, a mask, a report, a text."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, path in enumerate(sorted((shared_data / CT).iterdir())[:6]):
        shutil.copy(path, folder / f"image{number}")
    shutil.copy(shared_data / "seg_liver_spine_dcmqi/sr_example/sr.dcm", folder / "report")
    shutil.copy(shared_data / "spine_ct_vertebra_tptbox/sub-ct_label-22_ct.nii.gz", folder)
    (folder / "notes.txt").write_text("notes")
    return folder


def test_every_file_is_counted_and_images_become_series(scans: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = index(scans, progress=lambda done, total: seen.append((done, total)))
    assert found.counts == {"files": 9, "opened": 9, "dicom": 6, "nifti": 1, "not_image": 1, "not_dicom": 1}
    assert seen[-1] == (9, 9)
    assert sorted((s.kind, s.modality, len(s.files)) for s in found.series) == [("dicom", "CT", 6), ("nifti", "CT", 1)]
    assert found.files.schema == INDEX
    ct = next(s for s in found.series if s.kind == "dicom")
    assert ct.n_voxels == 6 * 512 * 512
    assert ct.columns["kvp"] == 120
    assert (
        ct.columns["x_ray_tube_current_min"] <= ct.columns["x_ray_tube_current"] <= ct.columns["x_ray_tube_current_max"]
    )
    assert ct.columns["computed_spacing_mm"] == pytest.approx(5.0)


def test_unchanged_files_are_not_opened_again(scans: Path) -> None:
    first = index(scans)
    again = index(scans, previous=first.files)
    assert again.counts["opened"] == 0
    assert again.series == first.series
    (scans / "image3").touch()
    assert index(scans, previous=first.files).counts["opened"] == 1


def test_headers_that_an_older_version_read_are_read_again(scans: Path) -> None:
    first = index(scans)
    older = first.files.replace_schema_metadata({b"headers": b"1"})
    assert index(scans, previous=older).counts["opened"] == first.counts["files"]


def test_order_and_place_of_files_mean_nothing(scans: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    for number, path in enumerate(sorted(scans.glob("image*"), reverse=True)):
        target = moved / f"folder{number}" / "x"
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
    [one] = [s for s in index(scans).series if s.kind == "dicom"]
    [other] = index(moved).series
    assert (one.series_key, one.version) == (other.series_key, other.version)
    assert [f.size for f in one.files] == [f.size for f in other.files]


def test_one_more_slice_is_a_new_version(scans: Path) -> None:
    before = {s.series_key: s.version for s in index(scans).series}
    (scans / "image5").unlink()
    after = {s.series_key: s.version for s in index(scans).series}
    assert set(before) == set(after)
    assert sum(before[key] != after[key] for key in before) == 1


def test_files_shared_among_helpers_give_the_same(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = index(scans)
    monkeypatch.setattr("pipeline.index.inspection.ALONE_SECONDS", -1.0)
    monkeypatch.setattr("pipeline.index.inspection.BATCH", 4)
    shared = index(scans)
    assert shared.series == alone.series
    assert shared.files == alone.files


def test_damaged_dicom_is_a_row(scans: Path) -> None:
    (scans / "broken.dcm").write_bytes(b"\0" * 500)
    (scans / "cut").write_bytes((scans / "image0").read_bytes()[:400])
    found = index(scans)
    assert found.counts["unreadable"] == 2
    problems = [s.problem[0].value for s in found.series if s.problem]
    assert problems == ["unreadable", "unreadable"]
    assert len({s.patient_key for s in found.series}) == 4


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    with pytest.raises(SourceError, match="none of the 1 files"):
        index(tmp_path)


def test_no_identity_in_what_leaves_private(scans: Path) -> None:
    planted = {"PatientName": "Qxzname^Planted", "PatientID": "QXZID7", "InstitutionName": "Qxz Clinic"}
    for path in scans.glob("image*"):
        dataset = dcmread(path)
        for keyword, value in planted.items():
            setattr(dataset, keyword, value)
        dataset.PatientBirthDate = "19410203"
        dataset.SeriesDescription = "Qxz series"
        dataset.save_as(path)
    found = index(scans)
    for entry in found.series:
        shown = repr({**vars(entry), "files": None, "columns": dict(entry.columns)})
        shown = shown.replace("'series_description': 'Qxz series'", "")  # for selection; ingest leaves it out
        assert "qxz" not in shown.lower()
        assert "19410203" not in shown
    assert "QXZID7" in found.crosswalk["patient_id"].to_pylist()
    assert {s.site for s in found.series if s.kind == "dicom"} == {IDENTITY.site_pseudonym("qxz clinic")}


def test_a_series_that_names_no_hospital_is_of_that_of_its_study(scans: Path) -> None:
    for number in range(6):
        dataset = dcmread(scans / f"image{number}")
        dataset.PatientID, dataset.InstitutionName = "1", "North" if number < 3 else ""
        dataset.SeriesInstanceUID = f"1.2.{number // 3}"
        dataset.save_as(scans / f"image{number}")
    found = [s for s in index(scans).series if s.kind == "dicom"]
    assert len(found) == 2
    assert len({s.patient_key for s in found}) == len({s.study_key for s in found}) == len({s.site for s in found}) == 1
    assert found[0].site is not None


def test_patient_1_of_two_hospitals_is_two_patients(scans: Path) -> None:
    for number, path in enumerate(sorted(scans.glob("image*"))):
        dataset = dcmread(path)
        dataset.PatientID, dataset.InstitutionName = "1", "North" if number < 3 else "South"
        dataset.StudyInstanceUID = f"1.2.{number // 3}"
        dataset.SeriesInstanceUID = f"1.3.{number // 3}"
        dataset.save_as(path)
    series = [s for s in index(scans).series if s.kind == "dicom"]
    assert len({s.patient_key for s in series}) == len({s.site for s in series}) == 2


def test_strangers_are_not_one_patient(scans: Path) -> None:
    for number, path in enumerate(sorted(scans.glob("image*"))):
        dataset = dcmread(path)
        dataset.PatientID = ""
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.{number // 2}", f"1.3.{number // 2}"
        dataset.save_as(path)
    assert len({s.patient_key for s in index(scans).series if s.kind == "dicom"}) == 3


def test_character_sets_are_read(scans: Path) -> None:
    keys = set()
    for charset in ("ISO_IR 192", "ISO_IR 100"):
        for path in scans.glob("image*"):
            dataset = dcmread(path)
            dataset.SpecificCharacterSet, dataset.PatientID = charset, "Müller-7"
            dataset.save_as(path)
        found = index(scans)
        assert "Müller-7" in found.crosswalk["patient_id"].to_pylist()
        keys |= {s.patient_key for s in found.series if s.kind == "dicom"}
    assert len(keys) == 1


def nifti(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.full((3, 4, 5), value, np.int16), np.eye(4))
    nib.save(image, path)
    return path


def test_bids_names_say_modality_patient_and_session(tmp_path: Path) -> None:
    nifti(tmp_path / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_T2w.nii.gz")
    nifti(tmp_path / "sub-01" / "ses-b" / "anat" / "sub-01_ses-b_T2w.nii.gz")
    nifti(tmp_path / "sub-01" / "ses-b" / "pet" / "sub-01_ses-b_pet.nii.gz")
    nifti(tmp_path / "sub-02" / "sub-02_seg-vert_msk.nii")
    series = index(tmp_path).series
    assert sorted(str(s.modality) for s in series) == ["MR", "MR", "None", "PT"]
    assert len({s.patient_key for s in series}) == 2
    assert len({s.study_key for s in series}) == 3


def test_another_content_of_the_same_size_is_a_new_version(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz")
    raw = gzip.decompress(path.read_bytes())
    versions = set()
    for last in (b"\1", b"\2"):
        path.write_bytes(gzip.compress(raw[:-1] + last, compresslevel=0, mtime=0))
        versions.add(index(tmp_path).series[0].version)
    assert len(versions) == 2


def test_a_manifest_says_who_where_and_what(tmp_path: Path) -> None:
    nifti(tmp_path / "one.nii")
    nifti(tmp_path / "two.nii")
    manifest = tmp_path / "m.csv"
    manifest.write_text(
        "uri,patient_id,study_date,site,modality,tumour,secret\n"
        "one.nii,p,2020-01-10,north,CT,breast,x\n"
        "two.nii,p,2020-02-10,north,MRI,breast,x\n"
        "gone.nii,q,,south,CT,lung,x\n"
    )
    found = index(manifest, clinical=["tumour"])
    by_modality = {(s.modality, s.problem is None): s for s in found.series}
    ct, mr = by_modality["CT", True], by_modality["MR", True]
    assert ct.patient_key == mr.patient_key
    assert ct.site == "north"
    assert ct.study_date_shifted is not None
    assert mr.study_date_shifted is not None
    assert (mr.study_date_shifted - ct.study_date_shifted).days == 31
    gone = by_modality["CT", False]
    assert gone.problem is not None
    assert "row 3" in gone.problem[1]
    assert sorted(found.clinical["tumour"].to_pylist()) == ["breast", "breast", "lung"]
    assert "secret" not in found.clinical.column_names


def test_copies_of_one_series_of_which_rows_say_different_things_are_refused(tmp_path: Path, shared_data: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(shared_data / "seg_liver_spine_dcmqi/ct_image", tmp_path / name)
    manifest = tmp_path / "m.csv"
    manifest.write_text("uri,lesions_uri\none,x.nii\ntwo,y.nii\n")
    with pytest.raises(SourceError, match=r"rows 1 and 2 .* one series"):
        index(manifest)
    manifest.write_text("uri,lesions_uri\none,x.nii\ntwo,x.nii\n")
    [series] = index(manifest).series
    assert len(series.files) == 6


def test_a_file_that_cannot_be_read_on_is_a_row(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error", str(scans))

    monkeypatch.setattr("pipeline.index.inspection._inspect", broken)
    found = index(scans)
    assert found.counts["unreadable"] == 9
    assert all(str(scans) not in str(s.problem) for s in found.series)


@pytest.mark.parametrize("text", ["20200131", "2020.01.31", "2020-01-31"])
def test_a_date_is_read_however_it_is_written(text: str) -> None:
    assert _date(text) == date(2020, 1, 31)
    assert _date(f"{text}?") is None


def test_an_archive_that_has_not_changed_is_not_opened(scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = shutil.make_archive(str(scans.parent / "source" / "all"), "gztar", scans)
    first = index(Path(archive).parent)
    assert first.counts["files"] == 9
    opened = []
    monkeypatch.setattr("pipeline.sources.archives._opened", lambda *uris: opened.append(uris))
    again = index(Path(archive).parent, previous=first.files)
    assert (again.counts["opened"], opened) == (0, [])
    assert again.series == first.series
    assert again.files.equals(first.files)
    monkeypatch.undo()
    without = first.files.filter(pc.not_equal(first.files["kind"], "not_dicom"))
    assert index(Path(archive).parent, previous=without).counts["files"] == 9, "of which a row was removed"
    (scans / "notes.txt").unlink()
    shutil.make_archive(str(scans.parent / "source" / "all"), "gztar", scans)
    assert index(Path(archive).parent, previous=first.files).counts["files"] == 8, "which has changed"


def test_a_manifest_of_which_nothing_is_there_is_all_rows(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("uri\ngone/1\ngone/2\n")
    found = index(tmp_path / "m.csv")
    assert [s.is_absent for s in found.series] == [True, True]
    assert found.files.num_rows == 0
