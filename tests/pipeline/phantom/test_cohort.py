from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from pipeline.phantom.cohort import write_cohort
from pipeline.phantom.protocols import SITES
from pipeline.phantom.truth import CohortTruth
from schemas.spine import level_number

COARSE = (replace(SITES[0], spacing_mm=(4.0, 3.0, 3.0)), replace(SITES[1], spacing_mm=(5.0, 3.0, 3.0)))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> CohortTruth:
    return write_cohort(tmp_path_factory.mktemp("cohort"), n_patients=3, seed=1, sites=COARSE)


def digests(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def read(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
    return reader.Execute()


def test_same_seed_same_bytes(cohort, tmp_path):
    calls: list[tuple[int, int]] = []
    write_cohort(tmp_path, n_patients=3, seed=1, sites=COARSE, progress=lambda done, total: calls.append((done, total)))
    assert digests(tmp_path) == digests(cohort.folder)
    assert calls == [(i, 7) for i in range(1, 8)]


def test_the_files_hold_what_the_truth_says(cohort):
    with cohort.manifest.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with (cohort.folder / "truth.csv").open(encoding="utf-8") as file:
        lesions = list(csv.DictReader(file))
    assert [row["uri"] for row in rows] == [s.uri for s in cohort.series]
    assert len(lesions) == len(cohort.lesions) > 0
    assert {
        "uri",
        "patient_id",
        "study_date",
        "site",
        "modality",
        "lesions_uri",
        "levels_uri",
        "primary_tumour",
    } <= set(rows[0])


def test_masks_lie_on_the_grid_of_their_series(cohort):
    usable = [s for s in cohort.series if s.lesions_uri]
    assert len(usable) == 4
    for series in usable:
        image = read(cohort.folder / series.uri)
        for uri in (series.lesions_uri, series.levels_uri):
            mask = sitk.ReadImage(str(cohort.folder / uri))
            assert mask.GetSize() == image.GetSize()
            assert mask.GetSpacing() == pytest.approx(image.GetSpacing(), abs=1e-5)
            assert mask.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-3)
            assert mask.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)


def test_truth_has_a_row_for_each_instance_with_its_volume_centre_and_level(cohort):
    for series in (s for s in cohort.series if s.lesions_uri):
        rows = [row for row in cohort.lesions if row.uri == series.uri]
        mask = sitk.ReadImage(str(cohort.folder / series.lesions_uri))
        lesions = sitk.GetArrayFromImage(mask)
        levels = sitk.GetArrayFromImage(sitk.ReadImage(str(cohort.folder / series.levels_uri)))
        assert sorted(np.unique(lesions)) == [0, *(row.instance for row in rows)]
        for row in rows:
            voxels = np.argwhere(lesions == row.instance)
            assert len(voxels) * np.prod(mask.GetSpacing()) == pytest.approx(row.volume_mm3, abs=0.1)
            centre = mask.TransformContinuousIndexToPhysicalPoint(voxels.mean(axis=0)[::-1].tolist())
            assert centre == pytest.approx((row.x_mm, row.y_mm, row.z_mm), abs=0.02)
            assert set(levels[lesions == row.instance]) == {level_number(row.level)}


def test_a_follow_up_has_the_patient_of_before_and_lesions_that_changed(cohort):
    first, second = (s for s in cohort.series if s.patient_id == "PH001" and s.lesions_uri)
    assert first.study_date < second.study_date
    before, after = ({row.track: row for row in cohort.lesions if row.uri == s.uri} for s in (first, second))
    assert {row.change for row in before.values()} == {"first"}
    assert "new" in {after[track].change for track in after.keys() - before.keys()}
    assert before.keys() - after.keys()
    grown = [track for track, row in after.items() if row.change == "grown"]
    assert grown
    for track in grown:
        assert after[track].volume_mm3 > 1.2 * before[track].volume_mm3
        assert after[track].level == before[track].level


def test_one_patient_has_no_lesion_and_an_empty_mask(cohort):
    (series,) = (s for s in cohort.series if s.patient_id == "PH003")
    assert not [row for row in cohort.lesions if row.patient_id == "PH003"]
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(cohort.folder / series.lesions_uri)))
    assert not mask.any()


def test_there_is_a_localizer_a_cut_file_and_a_gap(cohort):
    by_name = {Path(s.uri).name: cohort.folder / s.uri for s in cohort.series if not s.lesions_uri}
    assert set(by_name) == {"2_localizer", "3_cut", "4_gap"}
    (scout,) = by_name["2_localizer"].iterdir()
    assert "LOCALIZER" in pydicom.dcmread(scout).ImageType
    assert not (by_name["4_gap"] / "0009.dcm").exists()
    sizes = {p.stat().st_size for p in by_name["3_cut"].iterdir()}
    assert len(sizes) == 2


def test_sites_differ_in_scanner_kernel_and_slices(cohort):
    headers = {
        s.site: pydicom.dcmread(cohort.folder / s.uri / "0001.dcm", stop_before_pixels=True)
        for s in cohort.series if s.lesions_uri
    }  # fmt: skip
    assert set(headers) == {"north", "south"}
    for keyword in (
        "InstitutionName",
        "Manufacturer",
        "ManufacturerModelName",
        "ConvolutionKernel",
        "KVP",
        "SliceThickness",
    ):
        assert headers["north"].get(keyword) != headers["south"].get(keyword)


def test_a_cohort_of_nobody_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1"):
        write_cohort(tmp_path, n_patients=0)
    assert not list(tmp_path.iterdir())
