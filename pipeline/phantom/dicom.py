"""Volumes written as DICOM CT series, one file a slice, with the attributes that an archive's files have.

CT Image Storage (PS3.3 A.3), explicit VR little endian, 16 bit with a rescale to HU. Same arguments, same bytes: UIDs
are derived from what names them, and no clock is read.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from pipeline.grid import Grid, Volume

HU_RANGE = (-1024, 3071)
"""What twelve bits above -1024 hold: the range of most scanners."""


@dataclass(frozen=True)
class DicomStudy:
    """Whose examination, and when; all of it invented."""

    patient_id: str
    """PatientID."""
    patient_name: str = "PHANTOM^NOBODY"
    """PatientName."""
    patient_sex: str = "O"
    """PatientSex: M, F or O."""
    patient_age: int = 60
    """Years at the examination."""
    patient_weight_kg: float = 75.0
    """PatientWeight."""
    patient_height_m: float = 1.7
    """PatientSize."""
    date: str = "20200101"
    """StudyDate, YYYYMMDD."""
    time: str = "093000"
    """StudyTime, HHMMSS."""
    number: int = 1
    """Which study of the patient; part of every UID."""
    body_part: str = "SPINE"
    """BodyPartExamined."""

    @property
    def uid(self) -> str:
        """StudyInstanceUID."""
        return derived_uid(self, "study")


@dataclass(frozen=True)
class Acquisition:
    """Scanner, technique and reconstruction."""

    institution: str = "Phantom Hospital"
    """InstitutionName."""
    manufacturer: str = "PHANTOM WORKS"
    """Manufacturer."""
    model: str = "Helix 1"
    """ManufacturerModelName."""
    station: str = "CT1"
    """StationName."""
    kernel: str = "STANDARD"
    """ConvolutionKernel."""
    kvp: float = 120.0
    """Peak voltage, kV."""
    current_ma: int = 220
    """XRayTubeCurrent, mA."""
    exposure_time_ms: int = 600
    """ExposureTime, ms."""
    slice_thickness_mm: float | None = None
    """SliceThickness; the distance of slices where None."""
    contrast_agent: str | None = None
    """ContrastBolusAgent; None: no such attribute."""
    intercept: int = -1024
    """RescaleIntercept; the pixels are HU less this."""
    signed: bool = True
    """PixelRepresentation."""
    last_slice_first: bool = False
    """Whether InstanceNumber runs against the position."""


def derived_uid(study: DicomStudy, *names: object) -> str:
    """A UID that follows from the patient, the study's number and names."""
    return str(generate_uid(entropy_srcs=["spinetally phantom", study.patient_id, str(study.number), *map(str, names)]))


def write_series(
    folder: Path,
    volume: Volume,
    study: DicomStudy,
    *,
    acquisition: Acquisition | None = None,
    number: int = 1,
    description: str = "Spine",
    image_type: tuple[str, ...] = ("ORIGINAL", "PRIMARY", "AXIAL"),
    missing: Collection[int] = (),
    cut: Collection[int] = (),
) -> str:
    """Write a volume as one series: `folder`/0001.dcm and so on, in ascending order of the slices.

    Any orientation: rows run along the grid's i, columns along j, slices along k. HU are rounded and clipped to
    `HU_RANGE`.

    Args:
        folder: made where it is missing.
        volume: HU on its grid.
        study: whose and when.
        acquisition: scanner and technique; a plain one where None.
        number: SeriesNumber; part of the series' UID.
        description: SeriesDescription.
        image_type: ImageType.
        missing: slices (from 0) that are not written, as where a transfer lost them.
        cut: slices whose file ends in the middle of its pixels.

    Returns:
        The SeriesInstanceUID.
    """
    acquisition = acquisition or Acquisition()
    folder.mkdir(parents=True, exist_ok=True)
    series_uid = derived_uid(study, "series", number)
    stored = stored_pixels(volume.voxels, acquisition)
    for index in range(volume.grid.shape[0]):
        if index in missing:
            continue
        image = _file(derived_uid(study, "image", number, index))
        _add_study(image, study)
        _add_series(image, acquisition, number, description, image_type, series_uid, study)
        _add_technique(image, acquisition, volume.grid)
        _add_slice(image, volume.grid, index, acquisition)
        _add_pixels(image, stored[index], acquisition)
        path = folder / f"{index + 1:04d}.dcm"
        image.save_as(path, enforce_file_format=True)
        if index in cut:
            content = path.read_bytes()
            path.write_bytes(content[: len(content) - stored[index].nbytes // 2])
    return series_uid


def stored_pixels(
    hu: npt.NDArray[np.generic], acquisition: Acquisition
) -> npt.NDArray[np.int16] | npt.NDArray[np.uint16]:
    """HU as they are stored: rounded, clipped, less the intercept."""
    values = np.clip(np.rint(hu), *HU_RANGE).astype(np.int32) - acquisition.intercept
    return values.astype(np.int16) if acquisition.signed else values.astype(np.uint16)


def _file(instance_uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = instance_uid
    image.SpecificCharacterSet = "ISO_IR 100"
    return image


def _add_study(image: Dataset, study: DicomStudy) -> None:
    image.PatientID = study.patient_id
    image.PatientName = study.patient_name
    image.PatientSex = study.patient_sex
    image.PatientBirthDate = f"{int(study.date[:4]) - study.patient_age}0101"
    image.PatientAge = f"{study.patient_age:03d}Y"
    image.PatientWeight = _ds(study.patient_weight_kg)
    image.PatientSize = _ds(study.patient_height_m)
    image.StudyInstanceUID = study.uid
    image.StudyID = str(study.number)
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = study.date
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = study.time
    image.AccessionNumber = f"{study.patient_id}-{study.number}"[:16]
    image.ReferringPhysicianName = ""
    image.StudyDescription = f"CT {study.body_part}"
    image.BodyPartExamined = study.body_part


def _add_series(
    image: Dataset, acquisition: Acquisition, number: int, description: str, image_type: tuple[str, ...], uid: str,
    study: DicomStudy,
) -> None:  # fmt: skip
    image.Modality = "CT"
    image.SeriesInstanceUID = uid
    image.SeriesNumber = number
    image.AcquisitionNumber = 1
    image.SeriesDescription = description
    image.ProtocolName = description
    image.ImageType = list(image_type)
    image.PatientPosition = "HFS"
    image.FrameOfReferenceUID = derived_uid(study, "frame of reference")
    image.PositionReferenceIndicator = ""
    image.InstitutionName = acquisition.institution
    image.Manufacturer = acquisition.manufacturer
    image.ManufacturerModelName = acquisition.model
    image.StationName = acquisition.station
    image.SoftwareVersions = "1.0"


def _add_technique(image: Dataset, acquisition: Acquisition, grid: Grid) -> None:
    width = grid.spacing_mm[2] * grid.shape[2]
    image.KVP = _ds(acquisition.kvp)
    image.XRayTubeCurrent = acquisition.current_ma
    image.ExposureTime = acquisition.exposure_time_ms
    image.Exposure = acquisition.current_ma * acquisition.exposure_time_ms // 1000
    image.ConvolutionKernel = acquisition.kernel
    image.SliceThickness = _ds(acquisition.slice_thickness_mm or grid.spacing_mm[0])
    image.SpacingBetweenSlices = _ds(grid.spacing_mm[0])
    image.DataCollectionDiameter = _ds(500.0)
    image.ReconstructionDiameter = _ds(width)
    image.GantryDetectorTilt = _ds(0.0)
    image.TableHeight = _ds(160.0)
    image.RotationDirection = "CW"
    image.ScanOptions = "HELICAL"
    image.FilterType = "BODY"
    if acquisition.contrast_agent:
        image.ContrastBolusAgent = acquisition.contrast_agent
        image.ContrastBolusRoute = "IV"


def _add_slice(image: Dataset, grid: Grid, index: int, acquisition: Acquisition) -> None:
    position = grid.to_lps((index, 0, 0))
    direction = np.reshape(grid.direction, (3, 3))
    image.InstanceNumber = grid.shape[0] - index if acquisition.last_slice_first else index + 1
    image.ImagePositionPatient = [_ds(float(p)) for p in position]
    image.ImageOrientationPatient = [_ds(float(c)) for c in (*direction[:, 0], *direction[:, 1])]
    image.SliceLocation = _ds(float(position @ direction[:, 2]))
    image.PixelSpacing = [_ds(grid.spacing_mm[1]), _ds(grid.spacing_mm[2])]


def _add_pixels(
    image: Dataset, stored: npt.NDArray[np.int16] | npt.NDArray[np.uint16], acquisition: Acquisition
) -> None:
    image.Rows, image.Columns = stored.shape
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit = 15
    image.PixelRepresentation = int(acquisition.signed)
    image.RescaleIntercept = _ds(float(acquisition.intercept))
    image.RescaleSlope = _ds(1.0)
    image.RescaleType = "HU"
    image.WindowCenter, image.WindowWidth = _ds(300.0), _ds(1500.0)
    image.PixelData = stored.astype(stored.dtype.newbyteorder("<")).tobytes()


def _ds(value: float) -> str:
    """A decimal string of at most 16 characters, as exact as these allow (PS3.5 6.2)."""
    return format_number_as_ds(value)
