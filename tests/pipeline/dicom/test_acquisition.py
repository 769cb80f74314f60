from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset

from pipeline.dicom.acquisition import clock
from pipeline.dicom.headers import Header, read_header
from pipeline.dicom.parts import Slice
from pipeline.dicom.series_columns import series_columns
from pipeline.identity import Identity
from schemas.acquisition import ATTRIBUTES, CLOCK, snake_case
from schemas.catalog import CATALOG

IDENTITY = Identity(b"0" * 32)

LISTED = {
    "CT": "KVP XRayTubeCurrent ExposureTime Exposure CTDIvol ExposureModulationType ConvolutionKernel FilterType "
    "IterativeReconstructionMethod ReconstructionDiameter DataCollectionDiameter SpiralPitchFactor "
    "TotalCollimationWidth GantryDetectorTilt RevolutionTime MultienergyCTAcquisition ContrastBolusAgent "
    "ContrastBolusRoute ContrastBolusStartTime RescaleSlope RescaleIntercept RescaleType",
    "MR": "MagneticFieldStrength ImagingFrequency ScanningSequence SequenceVariant SequenceName PulseSequenceName "
    "ScanOptions MRAcquisitionType RepetitionTime EchoTime InversionTime FlipAngle EchoTrainLength NumberOfAverages "
    "PixelBandwidth AcquisitionMatrix InPlanePhaseEncodingDirection ReceiveCoilName ParallelReductionFactorInPlane "
    "DiffusionBValue ContrastBolusAgent",
    "PT": "Radiopharmaceutical RadionuclideTotalDose RadionuclideHalfLife RadiopharmaceuticalStartTime Units SUVType "
    "DecayCorrection CorrectedImage AttenuationCorrectionMethod ScatterCorrectionMethod RandomsCorrectionMethod "
    "ReconstructionMethod ConvolutionKernel SeriesType ActualFrameDuration AcquisitionTime SeriesTime PatientWeight "
    "PatientSize RadiopharmaceuticalCodeMeaning RadionuclideCodeMeaning",
    "NM": "EnergyWindowLowerLimit EnergyWindowUpperLimit CollimatorGridName CollimatorType FieldOfViewDimensions "
    "RadialPosition NumberOfDetectors NumberOfFramesInRotation AngularStep ScanArc RotationDirection "
    "ActualFrameDuration TypeOfDetectorMotion WholeBodyTechnique ScanVelocity ScanLength CountsAccumulated "
    "ViewCodeMeaning PatientOrientationCodeMeaning CorrectedImage ZoomFactor Radiopharmaceutical",
    "": "Manufacturer ManufacturerModelName SoftwareVersions SeriesDescription ProtocolName BodyPartExamined ImageType "
    "PatientAge PatientSex PixelSpacing SliceThickness SpacingBetweenSlices Rows Columns ImageOrientationPatient "
    "PatientPosition DeidentificationMethod ClinicalTrialSiteID",
}
"""What a review asks of each modality."""

ELSEWHERE = {"SeriesDescription", "ProtocolName", "DeidentificationMethod", "ClinicalTrialSiteID"}


@pytest.mark.parametrize("modality", LISTED)
def test_what_is_listed_is_a_column(modality: str) -> None:
    asked = {a.keyword for a in ATTRIBUTES if not a.modalities or not modality or modality in a.modalities}
    keywords = LISTED[modality].split()
    assert {snake_case(keyword) for keyword in keywords} <= set(CATALOG.names)
    assert set(keywords) - ELSEWHERE <= asked


def columns_of(path: Path) -> tuple[dict[str, Any], Dataset]:
    data = path.read_bytes()
    header = Header.from_json(read_header(BytesIO(data), start=data[:65536], size=len(data))[1])
    slices = [Slice(0, header.uid, frame, (1, 1)) for frame in header.frames]
    return series_columns(header.common, [header], slices, identity=IDENTITY), pydicom.dcmread(path)


REAL = [
    "ct_body_spine_dicom_crlm1004/image/1-14.dcm",
    "sarcoma_sts001_ct_pet_mr_rtstruct/PET/image/000022.dcm",
    "sarcoma_sts001_ct_pet_mr_rtstruct/CT/image/000022.dcm",
    "ct_tilt_irregular_ge/05.dcm",
    "codec_zoo_pydicom/MR_small.dcm",
    "codec_zoo_pydicom/JPEG2000.dcm",
    "codec_zoo_pydicom/examples_overlay.dcm",
]


@pytest.mark.parametrize("name", REAL)
def test_numbers_and_text_of_classic_headers(shared_data: Path, name: str) -> None:
    columns, dataset = columns_of(shared_data / name)
    compared = 0
    for attribute in ATTRIBUTES:
        asked = not attribute.modalities or dataset.Modality in attribute.modalities
        if not asked or attribute.unit in ("years", CLOCK):
            continue
        value, found = dataset.get(attribute.keyword), columns.get(snake_case(attribute.keyword))
        if value in (None, "", 0) or isinstance(value, pydicom.Sequence):
            continue
        compared += 1
        expected = list(value) if isinstance(found, list) and not isinstance(value, str) else value
        if isinstance(found, list):
            many = expected if isinstance(expected, list) else [expected]
            assert [str(type(f)(e)) for f, e in zip(found, many, strict=True)] == [str(f) for f in found]
        else:
            assert found == (float(value) if isinstance(found, float) else type(found)(value)), attribute.keyword
    assert compared > 10


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "mr_dicom_variants_dicom2nifti/philips_enhanced_multiframe/IM-0001-0170-0001.dcm",
            {"repetition_time": 6.7701997756958, "echo_time": 3.133, "flip_angle": 9.0, "pixel_spacing": [1.0, 1.0],
             "echo_train_length": 240, "mr_acquisition_type": "3D", "receive_coil_name": "SENSE-Head-8"},
        ),
        (
            "enhanced_siemens_xa10/6_1.dcm",
            {"repetition_time": 500.0, "echo_time": 30.0, "flip_angle": 52.0, "pixel_bandwidth": 2298.0,
             "magnetic_field_strength": 3.0, "sequence_class": "T2*", "spacing_between_slices": 2.4},
        ),
        (
            "enhanced_multiframe_pydicom_data/eCT_Supplemental.dcm",
            {"rescale_type": "US", "rescale_intercept": -1024.0, "slice_thickness": 10.0, "patient_age": 52.0},
        ),
    ],
)  # fmt: skip
def test_functional_groups_are_read_too(shared_data: Path, name: str, expected: dict[str, Any]) -> None:
    columns, _ = columns_of(shared_data / name)
    assert {key: columns.get(key) for key in expected} == expected


def test_times_come_without_their_dates(shared_data: Path) -> None:
    columns, _ = columns_of(shared_data / "sarcoma_sts001_ct_pet_mr_rtstruct/PET/image/000022.dcm")
    times = ("radiopharmaceutical_start_time", "series_time", "acquisition_time")
    assert [columns[name] for name in times] == ["10:35:00", "11:20:11", "11:20:11"]
    assert clock("20200131093005.125+0100") == "09:30:05"
    assert [clock(value) for value in ("0930", "20200131", "9", "", "noon", "256060")] == ["09:30:00"] + [None] * 5


def test_a_weight_of_zero_is_missing(shared_data: Path) -> None:
    columns, dataset = columns_of(shared_data / "codec_zoo_pydicom/JPEG2000.dcm")
    assert dataset.PatientWeight == 0
    assert "patient_weight" not in columns
