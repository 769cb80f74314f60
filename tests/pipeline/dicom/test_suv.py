"""SUV by hand-computed factors, for each kind of header that is met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from pipeline.dicom.suv import suv_of
from pipeline.store.volumes import read_volume

DOSE, HALF_LIFE, WEIGHT = 370e6, 6586.2, 70.0


def header(**changes: Any) -> Dataset:
    """A PET slice in Bq/mL, corrected to the start of the scan, injected an hour before it."""
    drug = Dataset()
    drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = DOSE, HALF_LIFE
    drug.RadiopharmaceuticalStartTime = "100000.00"
    dataset = Dataset()
    dataset.Units, dataset.DecayCorrection = "BQML", "START"
    dataset.CorrectedImage = ["ATTN", "DECY"]
    dataset.PatientWeight = WEIGHT
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.StudyDate = "20200102"
    dataset.SeriesTime = dataset.AcquisitionTime = "110000"
    dataset.RadiopharmaceuticalInformationSequence = Sequence([drug])
    for keyword, value in changes.items():
        target = drug if "Radio" in keyword else dataset
        if value is None:
            delattr(target, keyword)
        else:
            setattr(target, keyword, value)
    return dataset


def factor(*headers: Dataset) -> float:
    columns = suv_of(headers)
    assert columns["suv_reason"] is None
    return float(columns["suv_factor"])


def reason(*headers: Dataset) -> str:
    columns = suv_of(headers)
    assert columns["suv_factor"] is None
    return str(columns["suv_reason"])


DECAYED = WEIGHT * 1000 / (DOSE * 2 ** (-3600 / HALF_LIFE))
AT_INJECTION = WEIGHT * 1000 / DOSE


def test_becquerels_decayed_to_the_start_of_the_scan() -> None:
    assert factor(header()) == pytest.approx(DECAYED)
    assert suv_of([header()])["uptake_minutes"] == pytest.approx(60)
    assert suv_of([header()])["intensity_unit"] == "BQML"


def test_becquerels_corrected_to_the_injection() -> None:
    assert factor(header(DecayCorrection="ADMIN")) == pytest.approx(AT_INJECTION)


def test_slices_of_later_bed_positions_refer_to_the_same_start() -> None:
    assert factor(header(), header(AcquisitionTime="112000")) == pytest.approx(DECAYED)


def test_a_series_made_later_refers_to_the_first_acquisition() -> None:
    late = [header(SeriesTime="150000", AcquisitionTime=t) for t in ("110500", "110000")]
    assert factor(*late) == pytest.approx(DECAYED)


def test_the_scanner_s_own_start_where_the_series_was_made_later() -> None:
    dataset = header(SeriesTime="150000", AcquisitionTime="113000")
    block = dataset.private_block(0x0009, "GEMS_PETD_01", create=True)
    block.add_new(0x0D, "DT", "20200102110000.00")
    assert factor(dataset) == pytest.approx(DECAYED)


def test_injection_before_midnight() -> None:
    dataset = header(SeriesTime="003000", AcquisitionTime="003000", RadiopharmaceuticalStartTime="233000")
    assert factor(dataset) == pytest.approx(DECAYED)


def test_a_date_and_time_of_injection() -> None:
    dataset = header(RadiopharmaceuticalStartDateTime="20200102100000.000000", RadiopharmaceuticalStartTime=None)
    assert factor(dataset) == pytest.approx(DECAYED)


def test_dates_moved_apart_by_deidentification() -> None:
    dataset = header(RadiopharmaceuticalStartDateTime="19990101100000", RadiopharmaceuticalStartTime=None)
    assert factor(dataset) == pytest.approx(DECAYED)


@pytest.mark.parametrize(
    ("units", "kind", "unit", "expected"),
    [
        ("GML", "BW", "SUVbw", 1.0),
        ("GML", None, "SUVbw", 1.0),
        ("GML", "LBM", "SUVlbm", None),
        ("GML", "LBMJANMA", "SUVlbm", None),
        ("GML", "BSA", "SUVbsa", None),
        ("CM2ML", None, "SUVbsa", None),
        ("PROPCPS", None, "PROPCPS", None),
    ],
)
def test_other_units(units: str, kind: str | None, unit: str, expected: float | None) -> None:
    dataset = header(Units=units)
    if kind is not None:
        dataset.SUVType = kind
    columns = suv_of([dataset])
    assert columns["intensity_unit"] == unit
    assert columns["suv_factor"] == expected
    assert (columns["suv_reason"] is None) == (expected is not None)


def test_philips_counts() -> None:
    dataset = header(Units="CNTS")
    assert "no factor" in reason(dataset)
    block = dataset.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x09, "DS", "2.5")
    assert factor(dataset) == pytest.approx(2.5 * DECAYED)
    block.add_new(0x00, "DS", "0.0004")
    assert factor(dataset) == pytest.approx(0.0004)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"PatientWeight": None}, "weight"),
        ({"PatientWeight": 0.0}, "weight"),
        ({"PatientWeight": 70000.0}, "not in kg"),
        ({"RadionuclideTotalDose": None}, "dose is missing"),
        ({"RadionuclideTotalDose": 370.0}, "not in Bq"),
        ({"RadionuclideHalfLife": None}, "half-life"),
        ({"RadiopharmaceuticalStartTime": None}, "time from injection"),
        ({"DecayCorrection": "NONE"}, "not corrected"),
        ({"CorrectedImage": ["ATTN"]}, "not corrected"),
        ({"Units": None}, "unit of the values"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_guessed(changes: dict[str, Any], said: str) -> None:
    assert said in reason(header(**changes))


def test_an_enhanced_object_names_the_moment_of_correction() -> None:
    dataset = header(DecayCorrection=None, SeriesTime="120000", AcquisitionTime="120000")
    dataset.DecayCorrected, dataset.DecayCorrectionDateTime = "YES", "20200102110000"
    assert factor(dataset) == pytest.approx(DECAYED)


def test_the_sarcoma_pet_is_suv_already(maker: Any, shared_data: Path) -> None:
    maker.folder = shared_data / "sarcoma_sts001_ct_pet_mr_rtstruct" / "PET" / "image"
    [row] = maker.ingest()
    assert (row["intensity_unit"], row["suv_factor"], row["units"]) == ("SUVbw", 1.0, "GML")
    assert row["uptake_minutes"] == pytest.approx(45.18, abs=0.02)
    assert row["radionuclide_total_dose"] == pytest.approx(388777472)
    assert row["radionuclide_code_meaning"] == "18F"
    stored = read_volume(maker.store, row["volume_uri"]).voxels
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(maker.folder)))
    np.testing.assert_array_equal(stored, sitk.GetArrayFromImage(reader.Execute()).astype(np.float32))


def test_a_series_without_a_weight_is_ingested(maker: Any, shared_data: Path) -> None:
    source = shared_data / "sarcoma_sts001_ct_pet_mr_rtstruct" / "PET" / "image"
    for path in sorted(source.iterdir())[:5]:
        dataset = dcmread(path)
        dataset.Units, dataset.PatientWeight = "BQML", "0"
        maker.save(dataset)
    [row] = maker.ingest()
    assert (row["status"], row["intensity_unit"], row["suv_factor"]) == ("ok", "BQML", None)
    assert "weight" in row["suv_reason"]
