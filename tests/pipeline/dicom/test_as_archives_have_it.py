"""Files as archives really hold them: written otherwise than they say, with foreign objects among the slices."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    generate_uid,
)

from pipeline.dicom import nm
from pipeline.store.volumes import read_volume


def body(dataset: Dataset, *, implicit: bool, little: bool = True) -> bytes:
    """A data set as bytes, without preamble and meta information."""
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, little
    plain = Dataset()
    plain.update({tag: dataset[tag] for tag in dataset.keys()})  # noqa: SIM118 - a data set iterates over elements
    write_dataset(stream, plain)
    return bytes(stream.getvalue())


def rewrite(maker: Any, make: Any) -> None:
    """Replace every file by what `make` gives for it."""
    for path in sorted(maker.folder.iterdir()):
        path.write_bytes(make(dcmread(path), path.read_bytes()))


def head(data: bytes, syntax: UID) -> bytes:
    """Preamble and meta information of a file, the transfer syntax replaced by one of equal length."""
    end = 144 + struct.unpack("<L", data[140:144])[0]
    old, new = (str(uid).encode() for uid in (ExplicitVRLittleEndian, syntax))
    return data[:end].replace(old + b"\0", new.ljust(len(old) + 1, b"\0"))


WRITTEN: dict[str, Any] = {
    "implicit, says explicit": lambda d, data: head(data, ExplicitVRLittleEndian) + body(d, implicit=True),
    "explicit, says implicit": lambda d, data: head(data, ImplicitVRLittleEndian) + body(d, implicit=False),
    "implicit, no preamble": lambda d, _: body(d, implicit=True),
    "explicit, no preamble": lambda d, _: body(d, implicit=False),
    "meta information, no preamble": lambda _, data: data[132:],
    "preamble, no meta information": lambda d, _: bytes(128) + b"DICM" + body(d, implicit=True),
    "something behind the pixels": lambda _, data: data + bytes(1000),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_however_it_is_written_it_is_the_same_volume(maker: Any, way: str) -> None:
    maker.write()
    [row] = maker.ingest()
    rewrite(maker, WRITTEN[way])
    [other] = maker.ingest()
    assert (other["status"], other["voxels_sha256"]) == ("ok", row["voxels_sha256"])


def test_big_endian_without_preamble(maker: Any) -> None:
    maker.write()
    [row] = maker.ingest()

    def swapped(dataset: Dataset, _: bytes) -> bytes:
        dataset.PixelData = dataset.pixel_array.byteswap().tobytes()
        return body(dataset, implicit=False, little=False)

    rewrite(maker, swapped)
    [other] = maker.ingest()
    assert (other["status"], other["voxels_sha256"]) == ("ok", row["voxels_sha256"])


def screen_shot(maker: Any, series: str, *, colour: bool) -> None:
    """A secondary capture in the series of a scan, as GE and others file dose reports and pictures."""

    def change(dataset: Dataset, _: int) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        dataset.ImageType = ["DERIVED", "SECONDARY", "SCREEN SAVE"]
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            delattr(dataset, keyword)
        if colour:
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
            dataset.PixelData = bytes(dataset.Rows * dataset.Columns * 3)

    maker.write(count=1, series=series, change=change)


@pytest.mark.parametrize(("colour", "reason"), [(False, "single_slice"), (True, "colour")])
def test_a_screen_shot_in_a_series_is_a_row_of_its_own(maker: Any, colour: bool, reason: str) -> None:
    series = maker.write()
    [alone] = maker.ingest()
    screen_shot(maker, series, colour=colour)
    scan, shot = maker.ingest()
    assert (scan["status"], scan["voxels_sha256"]) == ("ok", alone["voxels_sha256"])
    assert (shot["status"], shot["reason_code"], shot["part_reason"]) == ("quarantined", reason, "sop_class")


@pytest.mark.parametrize("value", [None, "missing"])
def test_a_slice_without_the_rescaling_of_the_others_is_not_guessed_at(maker: Any, value: str | None) -> None:
    def lose(dataset: Dataset, number: int) -> None:
        for keyword in ("RescaleSlope", "RescaleIntercept") if number == 2 else ():
            if value is None:
                setattr(dataset, keyword, None)
            else:
                delattr(dataset, keyword)

    maker.write(change=lose)
    [row] = maker.ingest()
    assert (row["status"], row["reason_code"]) == ("quarantined", "mixed_units")
    assert "1 of 5 slices" in row["reason"]


def test_values_without_any_rescaling_are_not_called_hu(maker: Any) -> None:
    def empty(dataset: Dataset, _: int) -> None:
        dataset.RescaleSlope = dataset.RescaleIntercept = None

    maker.write(change=empty)
    [row] = maker.ingest()
    assert (row["status"], row["intensity_unit"]) == ("ok", None)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize(("said", "modality"), [("", "CT"), ("ct", "CT"), ("OT", "OT")])
def test_a_missing_modality_is_that_of_the_kind_of_object(maker: Any, said: str, modality: str) -> None:
    maker.write(change=lambda d, _: setattr(d, "Modality", said))
    assert [row["modality"] for row in maker.ingest()] == [modality]


def mr(dataset: Dataset, group: int, creator: str, elements: dict[int, tuple[str, Any]]) -> None:
    dataset.Modality, dataset.SOPClassUID = "MR", MRImageStorage
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    block = dataset.private_block(group, creator, create=True)
    for element, (vr, value) in elements.items():
        block.add_new(element, vr, value)


def test_components_of_ge_are_volumes_of_their_own(maker: Any) -> None:
    series = generate_uid()
    for seed in range(4):
        maker.write(
            count=3,
            series=series,
            seed=seed,
            change=lambda d, _, n=seed: mr(d, 0x43, "GEMS_PARM_01", {0x2F: ("SS", n)}),
        )
    assert [(row["status"], row["part_reason"]) for row in maker.ingest()] == [("ok", "component")] * 4


def test_a_grid_of_uih_is_a_mosaic(maker: Any) -> None:
    def grid(dataset: Dataset, _: int) -> None:
        mr(dataset, 0x65, "Image Private Header", {0x50: ("DS", "9")})
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER", "NONE", "VFRAME"]

    maker.write(change=grid)
    assert [row["reason_code"] for row in maker.ingest()] == ["mosaic"]


def pet(dataset: Dataset, **values: Any) -> None:
    dataset.Modality, dataset.Units = "PT", "BQML"
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = PositronEmissionTomographyImageStorage
    dataset.RescaleIntercept = "0"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)


def test_time_frames_of_pet_are_volumes_of_their_own(maker: Any) -> None:
    series = generate_uid()
    for seed in range(3):
        maker.write(series=series, seed=seed, change=lambda d, _, s=seed: pet(d, FrameReferenceTime=30000.0 * s))
    assert [row["part_reason"] for row in maker.ingest()] == ["frame_reference_time"] * 3


def test_times_that_differ_from_bed_to_bed_do_not_cut_a_body_in_pieces(maker: Any) -> None:
    series = generate_uid()
    for seed in range(2):  # two passes over three beds of two slices
        maker.write(
            count=6,
            series=series,
            seed=seed,
            change=lambda d, n, s=seed: pet(d, FrameReferenceTime=90000.0 * s + 30000.0 * (n // 2)),
        )
    rows = maker.ingest()
    assert [(row["part_reason"], row["shape"][0]) for row in rows] == [("frame_reference_time", 6)] * 2


def test_slices_in_two_units_are_no_volume(maker: Any) -> None:
    maker.write(change=lambda d, number: pet(d, Units="CNTS" if number == 1 else "BQML"))
    assert [row["reason_code"] for row in maker.ingest()] == ["mixed_units"]


def test_pictures_of_a_moving_heart_stay_one_row(maker: Any) -> None:
    series = generate_uid()
    for seed in range(8):  # the heart beats a little slower at each place
        maker.write(
            count=3,
            series=series,
            seed=seed,
            change=lambda d, n, s=seed: setattr(d, "TriggerTime", str(round(s * 100 * (1 + 0.1 * n)))),
        )
    assert [row["reason_code"] for row in maker.ingest()] == ["duplicate_slices"]


def test_names_that_are_no_utf_8(maker: Any) -> None:
    maker.write()
    for number, path in enumerate(sorted(maker.folder.iterdir())):
        os.rename(path, os.fsencode(maker.folder) + b"/M\xfcller \xff%d" % number)
    [row] = maker.ingest()
    assert row["status"] == "ok"
    assert read_volume(maker.store, row["volume_uri"]).voxels.shape == (5, 6, 8)


@pytest.mark.parametrize(
    ("keyword", "said"), [("SOPClassUID", "SOPClassUID is missing"), ("SeriesInstanceUID", "SeriesInstanceUID is")]
)
def test_what_a_header_lacks_is_said(maker: Any, keyword: str, said: str) -> None:
    maker.write(count=1)
    rewrite(maker, lambda d, data: head(data, ExplicitVRLittleEndian) + without(d, keyword))
    [row] = maker.ingest()
    assert row["reason_code"] == "unreadable"
    assert said in row["reason"]


def without(dataset: Dataset, keyword: str) -> bytes:
    delattr(dataset, keyword)
    return body(dataset, implicit=False)


def test_files_that_only_have_the_name_are_told_apart(maker: Any) -> None:
    maker.write()
    (maker.folder / "empty.dcm").touch()
    Path(maker.folder / "page.dcm").write_text("<html>404</html>")
    said = sorted(str(row["reason"]) for row in maker.ingest() if row["status"] != "ok")
    assert ["other content" in said[0], "is empty" in said[1]] == [True, True]


def test_old_objects_of_nuclear_medicine_without_a_step_have_no_geometry() -> None:
    dataset = Dataset()
    dataset.NumberOfFrames, dataset.PixelSpacing = 3, [4, 4]
    dataset.EnergyWindowVector, dataset.SliceVector = [1, 1, 1], [1, 2, 3]
    detector = Dataset()
    detector.ImagePositionPatient, detector.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    dataset.DetectorInformationSequence = [detector]
    assert [frame.position is None for frame in nm.frames_of(dataset)] == [False, True, True]
