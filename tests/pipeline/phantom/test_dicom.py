from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from pipeline.grid import Grid, Volume
from pipeline.phantom.dicom import Acquisition, DicomStudy, write_series
from pipeline.phantom.shapes import rotation_xyz

STUDY = DicomStudy("PH900", "PHANTOM^900", date="20210304")


def volume(direction: np.ndarray, spacing: tuple[float, float, float] = (2.5, 0.75, 0.9)) -> Volume:
    rng = np.random.default_rng(0)
    voxels = rng.normal(100, 400, (7, 12, 10)).astype(np.float32)
    voxels[0, 0, :2] = (-5000, 5000)
    grid = Grid((7, 12, 10), spacing, (-12.25, 33.5, -410.75), tuple(float(c) for c in direction.ravel()))
    return Volume(voxels, grid)


def read(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
    return reader.Execute()


@pytest.mark.parametrize(
    "direction",
    [
        np.eye(3),
        np.diag([-1.0, -1.0, 1.0]),
        np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]),
        rotation_xyz(0, 0, 12.5),
        rotation_xyz(17.0, -8.0, 30.0),
    ],
    ids=["axial", "prone", "sagittal", "turned", "oblique"],
)
@pytest.mark.parametrize("signed", [True, False])
def test_simpleitk_reads_back_voxels_and_geometry(tmp_path, direction, signed):
    written = volume(direction)
    acquisition = Acquisition(signed=signed, last_slice_first=not signed)
    uid = write_series(tmp_path, written, STUDY, acquisition=acquisition)
    image = read(tmp_path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), np.clip(np.rint(written.voxels), -1024, 3071))
    assert image.GetSpacing() == pytest.approx(written.grid.spacing_mm[::-1], abs=1e-9)
    assert image.GetOrigin() == pytest.approx(written.grid.origin_mm, abs=1e-9)
    assert image.GetDirection() == pytest.approx(written.grid.direction, abs=1e-9)
    header = pydicom.dcmread(tmp_path / "0001.dcm")
    assert header.SeriesInstanceUID == uid
    assert header.StudyInstanceUID == STUDY.uid


def test_a_header_has_what_an_archives_has(tmp_path):
    write_series(tmp_path, volume(np.eye(3)), STUDY, acquisition=Acquisition(contrast_agent="IODINE"))
    header = pydicom.dcmread(tmp_path / "0003.dcm")
    header.walk(lambda _, element: element.value)
    assert header.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert header.SOPClassUID == pydicom.uid.CTImageStorage
    assert (header.PatientID, str(header.PatientName), header.PatientAge) == ("PH900", "PHANTOM^900", "060Y")
    assert (header.Modality, header.PatientPosition, header.StudyDate) == ("CT", "HFS", "20210304")
    assert list(header.ImageType) == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert header.ReconstructionDiameter == 9.0
    assert header.ContrastBolusAgent == "IODINE"
    needed = """Manufacturer ManufacturerModelName KVP ConvolutionKernel SliceThickness XRayTubeCurrent Exposure
        InstitutionName FrameOfReferenceUID PatientSex AccessionNumber"""
    for keyword in needed.split():
        assert header.get(keyword), keyword


def test_same_arguments_same_bytes_and_other_series_other_uids(tmp_path):
    for name in ("a", "b"):
        write_series(tmp_path / name, volume(np.eye(3)), STUDY)
    write_series(tmp_path / "c", volume(np.eye(3)), STUDY, number=2)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    one, two = (pydicom.dcmread(tmp_path / name / "0001.dcm") for name in ("a", "c"))
    assert one.SeriesInstanceUID != two.SeriesInstanceUID
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID


def test_missing_slices_are_not_there_and_cut_files_lack_pixels(tmp_path):
    write_series(tmp_path, volume(np.eye(3)), STUDY, missing=(2,), cut=(4,))
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{i:04d}.dcm" for i in (1, 2, 4, 5, 6, 7)]
    with pytest.raises((ValueError, AttributeError, EOFError)):
        _ = pydicom.dcmread(tmp_path / "0005.dcm").pixel_array
