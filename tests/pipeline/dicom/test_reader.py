"""Series as they come: each ends as a correct volume or with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from pipeline.store.volumes import read_volume

SAGITTAL = (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
TILTED = (1.0, 0.0, 0.0, 0.0, 0.95105652, -0.30901699)  # 18 degrees
TILTED_SLICE = (0.0, 0.0, 2.0)


def only(rows: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(rows) == 1, [(row["part_reason"], row["reason_code"]) for row in rows]
    return rows[0]


def reason(rows: list[dict[str, Any]]) -> str:
    row = only(rows)
    assert row["status"] == "quarantined"
    assert row.get("volume_uri") is None
    return str(row["reason_code"])


def voxels(maker: Any, row: dict[str, Any]) -> np.ndarray:
    assert row["status"] == "ok", row["reason"]
    return read_volume(maker.store, row["volume_uri"]).voxels


def itk(folder: Path) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def test_a_clean_series_equals_simple_itk(maker: Any) -> None:
    maker.write(count=7, step=(0.0, 0.0, -2.0))
    row = only(maker.ingest())
    image = itk(maker.folder)
    np.testing.assert_array_equal(voxels(maker, row), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(row["spacing_mm"][::-1], image.GetSpacing(), atol=1e-9)
    np.testing.assert_allclose(row["origin_mm"], image.GetOrigin())
    np.testing.assert_allclose(row["direction"], image.GetDirection(), atol=1e-9)
    assert (row["intensity_unit"], row["n_instances"], row["n_duplicates"], row["derived"]) == ("HU", 7, 0, None)


def test_instance_numbers_and_slice_thickness_mean_nothing(maker: Any) -> None:
    def lie(dataset: Dataset, number: int) -> None:
        dataset.InstanceNumber = (number * 3) % 5
        dataset.SliceThickness, dataset.SpacingBetweenSlices, dataset.GantryDetectorTilt = "9", "7", "20"

    maker.write(change=lie)
    row = only(maker.ingest())
    np.testing.assert_array_equal(voxels(maker, row), sitk.GetArrayFromImage(itk(maker.folder)))
    assert row["spacing_mm"][0] == pytest.approx(2.0)
    assert (row["slice_thickness"], row["spacing_between_slices"], row["gantry_detector_tilt"]) == (9.0, 7.0, 20.0)


def test_a_missing_slice_is_a_gap_and_may_be_interpolated(maker: Any) -> None:
    maker.write(count=6)
    whole = voxels(maker, only(maker.ingest()))
    sorted(maker.folder.iterdir())[2].unlink()
    assert reason(maker.ingest()) == "gap"
    row = only(maker.ingest(ingest={"on_gap": "interpolate"}))
    filled = voxels(maker, row)
    assert row["derived"] == "interpolated"
    assert row["shape"] == [6, 6, 8]
    np.testing.assert_array_equal(filled[[0, 1, 3, 4, 5]], whole[[0, 1, 3, 4, 5]])
    np.testing.assert_array_equal(filled[2], np.rint((whole[1].astype(float) + whole[3]) / 2))


def test_no_more_slices_are_made_up_than_there_are(maker: Any) -> None:
    series = maker.write(count=3)
    maker.write(count=3, series=series, origin=(-10.0, 20.0, 60.0), seed=1)
    row = only(maker.ingest(ingest={"on_gap": "interpolate"}))
    assert row["reason_code"] == "gap"
    assert "made up" in row["reason"]


def test_options_that_change_voxels_change_the_version(maker: Any) -> None:
    maker.write()
    one, other = only(maker.ingest()), only(maker.ingest(ingest={"on_gap": "interpolate"}))
    assert one["series_key"] == other["series_key"]
    assert one["version"] != other["version"]
    assert one["ingest_id"] != other["ingest_id"]


def test_an_irregular_step_is_quarantined(maker: Any) -> None:
    def shift(dataset: Dataset, number: int) -> None:
        if number == 3:
            dataset.ImagePositionPatient[2] += 0.7

    maker.write(count=6, change=shift)
    assert reason(maker.ingest()) == "irregular_spacing"


def test_copies_are_left_out_and_counted(maker: Any) -> None:
    maker.write(count=4)
    first = sorted(maker.folder.iterdir())[1]
    (maker.folder / "copy").write_bytes(first.read_bytes())
    row = only(maker.ingest())
    assert voxels(maker, row).shape == (4, 6, 8)
    assert (row["n_duplicates"], row["n_instances"]) == (1, 4)


def test_another_picture_at_the_same_place_is_quarantined(maker: Any) -> None:
    series = maker.write(count=4)
    maker.write(count=1, origin=(-10.0, 20.0, -28.0), series=series, seed=9)
    assert reason(maker.ingest()) == "duplicate_slices"


def test_mixed_orientations_are_quarantined(maker: Any) -> None:
    series = maker.write(count=3)
    maker.write(count=3, orientation=SAGITTAL, step=(2.0, 0.0, 0.0), series=series)
    assert reason(maker.ingest()) == "mixed_orientations"


def test_a_localizer_inside_a_series_is_a_row_of_its_own(maker: Any) -> None:
    def scout(dataset: Dataset, _: int) -> None:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]

    series = maker.write(count=4)
    maker.write(count=1, orientation=SAGITTAL, series=series, change=scout)
    body, localizer = maker.ingest()
    assert voxels(maker, body).shape == (4, 6, 8)
    assert (localizer["reason_code"], localizer["part"], localizer["part_reason"]) == ("localizer", 1, "localizer")
    assert body["series_key"] != localizer["series_key"]
    assert body["series_uid_key"] == localizer["series_uid_key"]


def test_a_stray_slice_that_does_not_say_localizer_does_not_spoil_the_rest(maker: Any) -> None:
    series = maker.write(count=4)
    maker.write(count=1, orientation=SAGITTAL, series=series)
    body, stray = maker.ingest()
    assert body["status"] == "ok"
    assert (stray["reason_code"], stray["part_reason"]) == ("single_slice", "orientation")


@pytest.mark.parametrize(
    ("keyword", "values", "name"),
    [
        ("EchoTime", ("10", "80"), "echo_time"),
        ("TemporalPositionIdentifier", (1, 2), "temporal_position"),
        ("DiffusionBValue", (0.0, 800.0), "b_value"),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"]), "image_type"),
        ("AcquisitionNumber", (1, 2), "acquisition_number"),
        ("ConvolutionKernel", ("B30f", "B60f"), "kernel"),
    ],
)
def test_volumes_of_one_series_are_rows_of_their_own(
    maker: Any, keyword: str, values: tuple[Any, Any], name: str
) -> None:
    series = generate_uid()
    for seed, value in enumerate(values):
        maker.write(count=4, series=series, seed=seed, change=lambda d, _, v=value: setattr(d, keyword, v))
    rows = maker.ingest()
    assert [(row["part"], row["part_reason"], row["status"]) for row in rows] == [(0, name, "ok"), (1, name, "ok")]
    assert len({row["series_key"] for row in rows}) == 2
    assert not np.array_equal(voxels(maker, rows[0]), voxels(maker, rows[1]))


def test_rounds_in_time_are_parts(maker: Any) -> None:
    series = generate_uid()
    for seed in range(3):

        def stamp(dataset: Dataset, number: int, round_: int = seed) -> None:
            dataset.AcquisitionTime = f"10{round_:02}{number:02}"

        maker.write(count=4, series=series, seed=seed, change=stamp)
    assert [row["part_reason"] for row in maker.ingest()] == ["acquisition_time"] * 3


def test_a_trait_that_changes_within_one_volume_splits_nothing(maker: Any) -> None:
    def count_up(dataset: Dataset, number: int) -> None:
        dataset.AcquisitionNumber = number // 2
        dataset.AcquisitionTime = f"1000{number:02}"

    maker.write(change=count_up)
    assert only(maker.ingest())["part_reason"] is None


def test_a_tilted_gantry_is_straightened_or_quarantined(maker: Any) -> None:
    maker.write(count=6, orientation=TILTED, step=TILTED_SLICE)
    row = only(maker.ingest())
    assert row["derived"] == "gantry_tilt"
    assert row["spacing_mm"][0] == pytest.approx(2.0 * 0.95105652)
    assert row["shape"][1] > 6
    assert reason(maker.ingest(ingest={"on_tilt": "quarantine"})) == "gantry_tilt"


def test_slices_displaced_in_mr_are_sheared(maker: Any) -> None:
    def as_mr(dataset: Dataset, _: int) -> None:
        dataset.Modality = "MR"

    maker.write(count=6, orientation=TILTED, step=TILTED_SLICE, change=as_mr)
    assert reason(maker.ingest()) == "sheared"


def test_one_slice_is_no_volume(maker: Any) -> None:
    maker.write(count=1)
    assert reason(maker.ingest()) == "single_slice"


def test_shapes_that_differ_are_quarantined(maker: Any) -> None:
    def crop(dataset: Dataset, number: int) -> None:
        if number == 2:
            dataset.Rows = 3
            dataset.PixelData = dataset.PixelData[: 3 * 8 * 2]

    maker.write(change=crop)
    assert reason(maker.ingest()) == "mixed_shapes"


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_is_a_reason(maker: Any, keyword: str) -> None:
    maker.write(change=lambda dataset, number: delattr(dataset, keyword) if number == 1 else None)
    assert reason(maker.ingest()) == "no_geometry"


def test_slopes_are_those_of_each_slice(maker: Any) -> None:
    def scale(dataset: Dataset, number: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = f"{0.5 + number}", f"{-number}"

    maker.write(change=scale)
    stored = voxels(maker, only(maker.ingest()))
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, sitk.GetArrayFromImage(itk(maker.folder)).astype(np.float32))


def test_unsigned_values_beyond_int16_stay_exact(maker: Any) -> None:
    def unsigned(dataset: Dataset, number: int) -> None:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 0, "0"
        dataset.PixelData = np.full((6, 8), 40000 + number, np.uint16).tobytes()

    maker.write(change=unsigned)
    stored = voxels(maker, only(maker.ingest()))
    assert stored.dtype == np.uint16
    assert stored.max() == 40004


def test_padding_keeps_its_value_as_simple_itk_has_it(maker: Any) -> None:
    def pad(dataset: Dataset, _: int) -> None:
        dataset.PixelPaddingValue = -2000
        pixels = np.frombuffer(dataset.PixelData, np.int16).copy()
        pixels[:5] = -2000
        dataset.PixelData = pixels.tobytes()

    maker.write(change=pad)
    stored = voxels(maker, only(maker.ingest()))
    assert stored.min() == -3024
    np.testing.assert_array_equal(stored, sitk.GetArrayFromImage(itk(maker.folder)))


def test_monochrome1_is_a_matter_of_display(maker: Any) -> None:
    maker.write(seed=5)
    plain = voxels(maker, only(maker.ingest()))
    for path in maker.folder.iterdir():
        dataset = dcmread(path)
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.save_as(path)
    np.testing.assert_array_equal(voxels(maker, only(maker.ingest())), plain)


def test_bits_that_are_not_of_the_value_are_left_out(maker: Any) -> None:
    def overlay(dataset: Dataset, _: int) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        pixels = np.frombuffer(dataset.PixelData, np.uint16).copy()
        pixels[::2] |= 0x8000
        dataset.PixelData = pixels.tobytes()

    maker.write(change=overlay)
    stored = voxels(maker, only(maker.ingest()))
    assert stored.max() < 4096 - 1024
    np.testing.assert_array_equal(stored, sitk.GetArrayFromImage(itk(maker.folder)))


def test_negative_values_of_12_bits_keep_their_sign(maker: Any) -> None:
    def signed(dataset: Dataset, _: int) -> None:
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
        pixels = np.arange(-24, 24, dtype=np.int16) & 0x0FFF
        dataset.PixelData = pixels.astype(np.uint16).tobytes()

    maker.write(change=signed)
    assert voxels(maker, only(maker.ingest())).min() == -24 - 1024


def test_a_truncated_file_is_truncated(maker: Any) -> None:
    maker.write()
    path = sorted(maker.folder.iterdir())[3]
    path.write_bytes(path.read_bytes()[:-20])
    assert reason(maker.ingest()) == "truncated"


def test_an_impossible_size_is_refused_before_anything_is_read(maker: Any) -> None:
    def claim(dataset: Dataset, _: int) -> None:
        dataset.Rows = dataset.Columns = 65535

    maker.write(count=2, change=claim)
    assert reason(maker.ingest()) == "too_large"


def test_an_unknown_encoding_is_named(maker: Any) -> None:
    def encode(dataset: Dataset, _: int) -> None:
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.110"  # JPEG XL

    maker.write(count=2)
    for path in maker.folder.iterdir():
        data = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
        path.write_bytes(data)
    row = only(maker.ingest())
    assert row["reason_code"] == "codec_unsupported"
    assert "1.2.840.10008.1.2.9" in row["reason"]


REAL = {
    "ct_broken_dicom2nifti/missing_slice_ge": "gap",
    "ct_tilt_irregular_ge": "irregular_spacing",
    "mr_dicom_variants_dicom2nifti/mixed_orientation_philips": "mixed_orientations",
    "mr_dicom_variants_dicom2nifti/rgb_secondary_capture": "colour",
    "mr_dicom_variants_dicom2nifti/single_slice_ge": "single_slice",
    "transfer_syntax_mosaic_dcm_qa_ts": "mosaic",
    "codec_zoo_pydicom/MR_truncated.dcm": "truncated",
    "codec_zoo_pydicom/CT_small.dcm": "single_slice",
    "enhanced_multiframe_pydicom_data/emri_small.dcm": "no_geometry",
}


@pytest.mark.parametrize("name", REAL)
def test_real_series_that_are_no_volume(maker: Any, shared_data: Path, name: str) -> None:
    maker.folder = shared_data / name
    assert reason(maker.ingest()) == REAL[name]


@pytest.mark.parametrize(
    ("name", "part_reasons", "shape"),
    [
        ("enhanced_multiframe_pydicom_data/eCT_Supplemental.dcm", [None], [2, 512, 512]),
        ("enhanced_siemens_xa10", ["temporal_position"] * 4, [6, 64, 64]),
        ("mr_dicom_variants_dicom2nifti/philips_enhanced_multiframe", [None], [8, 256, 256]),
        ("seg_liver_spine_dcmqi/tiny_24x38x3/mf.dcm", [None], [3, 38, 24]),
        ("ct_broken_dicom2nifti/gantry_tilt_siemens", [None], [4, 521, 512]),
    ],
)
def test_real_objects_of_many_frames(
    maker: Any, shared_data: Path, name: str, part_reasons: list[Any], shape: list[int]
) -> None:
    maker.folder = shared_data / name
    rows = maker.ingest()
    assert [row["part_reason"] for row in rows] == part_reasons
    assert all((row["status"], row["shape"]) == ("ok", shape) for row in rows), rows


def test_a_converted_series_equals_what_it_was_made_of(maker: Any, shared_data: Path) -> None:
    maker.folder = shared_data / "seg_liver_spine_dcmqi" / "tiny_24x38x3" / "singleframe"
    single = only(maker.ingest())
    maker.folder = shared_data / "seg_liver_spine_dcmqi" / "tiny_24x38x3" / "mf.dcm"
    enhanced = only(maker.ingest())
    assert single["voxels_sha256"] == enhanced["voxels_sha256"]
    for column in ("spacing_mm", "origin_mm", "direction"):
        np.testing.assert_allclose(single[column], enhanced[column], atol=1e-9)


def test_planar_views_are_pictures_of_one_slice(maker: Any, shared_data: Path) -> None:
    maker.folder = shared_data / "codec_zoo_pydicom" / "JPEG2000.dcm"
    row = only(maker.ingest())
    assert (row["status"], row["modality"], row["lossy"]) == ("ok", "NM", True)
    assert row["shape"] == [1, 1024, 256]
    assert row["spacing_mm"][1:] == [2.26, 2.26]


def test_twelve_bit_jpeg_is_read_by_the_second_decoder(maker: Any, shared_data: Path) -> None:
    maker.folder = path = shared_data / "codec_zoo_pydicom" / "JPEG-lossy.dcm"
    row = only(maker.ingest())
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(voxels(maker, row), expected)
