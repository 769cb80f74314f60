"""Real masks on the grids of their real scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from pipeline.errors import ScanError
from pipeline.grid import Grid
from pipeline.mask_sources import ScanIdentity, read_as_drawn, read_mask
from pipeline.mask_sources.image_file import grid_of
from schemas.reasons import Reason
from tests.pipeline.mask_sources.conftest import series_grid

MODALITIES = ("CT", "MR_T1", "PET")
ORIENTATIONS = ("LPS", "RAS", "PIR", "SLP", "AIL")


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_tumour_keeps_its_voxels_in_whatever_orientation_its_mask_is_stored(
    sarcoma: Path, tmp_path: Path, modality: str, orientation: str
) -> None:
    drawn = sitk.ReadImage(str(sarcoma / f"nifti_masks/STS_001_{modality}_mask.nii.gz"))
    stored = tmp_path / "mask.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(drawn, orientation), str(stored))
    grid = series_grid(sarcoma / modality / "image")

    mask = read_mask(str(stored), grid=grid)

    assert mask.instances.max() == 1
    assert mask.volume_change is None
    np.testing.assert_array_equal(mask.instances, sitk.GetArrayViewFromImage(drawn))
    volume = np.count_nonzero(mask.instances) * grid.voxel_mm3
    true_volume = np.count_nonzero(sitk.GetArrayViewFromImage(drawn)) * np.prod(drawn.GetSpacing())
    assert volume == pytest.approx(true_volume, rel=0.005)
    centroid = grid.to_lps(np.argwhere(mask.instances).mean(axis=0))
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(sitk.Cast(drawn, sitk.sitkUInt8))
    assert np.abs(centroid - statistics.GetCentroid(1)).max() < min(grid.spacing_mm) / 2


@pytest.mark.parametrize("modality", MODALITIES)
def test_outlines_fill_the_very_voxels_of_the_mask_another_program_made_of_them(sarcoma: Path, modality: str) -> None:
    grid = series_grid(sarcoma / modality / "image")
    outlined = read_mask(str(sarcoma / modality / "rtstruct" / "RS.dcm"), grid=grid).instances
    painted = read_mask(str(sarcoma / f"nifti_masks/STS_001_{modality}_mask.nii.gz"), grid=grid).instances
    assert outlined.max() == 1
    np.testing.assert_array_equal(outlined, painted)


def test_outlines_of_the_ct_drawn_on_the_pet_keep_their_volume_and_say_how_much_changed(sarcoma: Path) -> None:
    ct, pet = (series_grid(sarcoma / modality / "image") for modality in ("CT", "PET"))
    outlines = str(sarcoma / "CT" / "rtstruct" / "RS.dcm")
    on_ct, on_pet = read_mask(outlines, grid=ct), read_mask(outlines, grid=pet)
    volumes = [np.count_nonzero(m.instances) * g.voxel_mm3 for m, g in ((on_ct, ct), (on_pet, pet))]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.03)
    assert on_pet.instances.max() == 1


def test_a_mask_of_the_ct_is_resampled_onto_the_pet_and_flagged(sarcoma: Path) -> None:
    pet = series_grid(sarcoma / "PET" / "image")
    mask = read_mask(str(sarcoma / "nifti_masks/STS_001_CT_mask.nii.gz"), grid=pet)
    assert mask.instances.shape == pet.shape
    assert mask.volume_change is not None
    assert 0 < abs(mask.volume_change[0]) < 0.05


def test_a_seg_equals_the_image_that_it_was_made_from(liver: Path, liver_grid: Grid) -> None:
    seg = read_mask(str(liver / "dicom_seg" / "liver.dcm"), grid=liver_grid, labels="instances").instances
    nrrd = sitk.GetArrayFromImage(sitk.ReadImage(str(liver / "nrrd_masks" / "liver_seg.nrrd")))
    np.testing.assert_array_equal(seg, nrrd)


@pytest.mark.parametrize(
    ("name", "kind", "voxels"),
    [
        ("liver_seg", "auto", [107094, 1, 1, 2]),
        ("liver_seg", "instances", [107098]),
        ("liver_spine_seg", "auto", [107098, 12439]),
        ("liver_spine_gapped_seg", "auto", [107098, 12439]),
        ("spine_seg_label5", "auto", [12439]),
        ("liver_spine_seg", "binary", [107094, 1, 1, 12439, 2]),
    ],
)
def test_one_value_is_split_and_several_are_instances(
    liver: Path, liver_grid: Grid, name: str, kind: str, voxels: list[int]
) -> None:
    mask = read_mask(str(liver / "nrrd_masks" / f"{name}.nrrd"), grid=liver_grid, labels=kind)  # type: ignore[call-overload]
    assert np.bincount(mask.instances.ravel())[1:].tolist() == voxels


def test_segments_that_share_voxels_are_refused_unless_they_are_merged_or_chosen(liver: Path, liver_grid: Grid) -> None:
    overlapping = str(liver / "dicom_seg" / "partial_overlaps.dcm")
    with pytest.raises(ScanError, match=r"shares 3017 voxels") as caught:
        read_mask(overlapping, grid=liver_grid)
    assert caught.value.reason is Reason.MASK_VALUES
    assert "GREEN" not in caught.value.sentence
    merged = read_mask(overlapping, grid=liver_grid, labels="binary").instances
    one = read_mask(overlapping, grid=liver_grid, segments="^green$", labels="instances").instances
    assert one.max() == 1
    assert merged[one == 1].all()


def test_a_seg_of_another_scan_does_not_meet_this_one(liver: Path, liver_grid: Grid) -> None:
    with pytest.raises(ScanError, match="centres are 209 mm apart") as caught:
        read_mask(str(liver / "sr_example" / "seg.dcm"), grid=liver_grid)
    assert caught.value.reason is Reason.MASK_GRID


@pytest.fixture(scope="module")
def liver_identity(liver: Path) -> ScanIdentity:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted((liver / "ct_image").iterdir())]
    return ScanIdentity(
        series=headers[0].SeriesInstanceUID,
        frame_of_reference=headers[0].FrameOfReferenceUID,
        instances=frozenset(header.SOPInstanceUID for header in headers),
    )


def test_a_seg_is_held_against_the_images_of_its_scan(
    liver: Path, liver_grid: Grid, liver_identity: ScanIdentity, tmp_path: Path
) -> None:
    seg = liver / "dicom_seg" / "liver.dcm"
    assert read_mask(str(seg), grid=liver_grid, scan=liver_identity).instances.any()
    stranger = pydicom.dcmread(seg)
    stranger.FrameOfReferenceUID = "1.2.3"
    for group in stranger.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3.4"
    stranger.save_as(tmp_path / "seg.dcm")
    with pytest.raises(ScanError, match="refers to 1 images") as caught:
        read_mask(str(tmp_path / "seg.dcm"), grid=liver_grid, scan=liver_identity)
    assert caught.value.reason is Reason.MASK_REFERENCE
    assert read_mask(str(tmp_path / "seg.dcm"), grid=liver_grid).instances.any()  # nothing is known of the scan


def test_outlines_on_images_that_are_not_there_are_taken_in_one_frame_of_reference_only(sarcoma: Path) -> None:
    folder = sarcoma / "CT" / "image"
    header = pydicom.dcmread(next(folder.iterdir()), stop_before_pixels=True)
    outlines = str(sarcoma / "CT" / "rtstruct" / "RS.dcm")
    same = ScanIdentity(
        frame_of_reference=header.FrameOfReferenceUID, instances=frozenset({str(header.SOPInstanceUID)})
    )
    assert read_mask(outlines, grid=series_grid(folder), scan=same).instances.any()
    other = ScanIdentity(series="1.2", frame_of_reference="1.3", instances=frozenset({"1.4"}))
    with pytest.raises(ScanError) as caught:
        read_mask(outlines, grid=series_grid(folder), scan=other)
    assert caught.value.reason is Reason.MASK_REFERENCE


def test_a_mask_is_read_as_drawn_where_its_scan_has_no_volume(sarcoma: Path, liver: Path) -> None:
    painted, grid = read_as_drawn(str(sarcoma / "nifti_masks/STS_001_CT_mask.nii.gz"))
    outlined, own = read_as_drawn(str(sarcoma / "CT/rtstruct/RS.dcm"))
    assert painted.max() == outlined.max() == 1
    volumes = [np.count_nonzero(m) * g.voxel_mm3 for m, g in ((painted, grid), (outlined, own))]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.005)
    segment, _ = read_as_drawn(str(liver / "dicom_seg/liver.dcm"), labels="instances")
    assert np.count_nonzero(segment) == 107098


def test_levels_of_verse(shared_data: Path) -> None:
    path = shared_data / "labels_verse004" / "sub-verse004_seg-vert_msk.nii.gz"
    image = sitk.ReadImage(str(path))
    levels = read_mask(str(path), grid=grid_of(image), kind="levels")
    np.testing.assert_array_equal(levels.levels, sitk.GetArrayViewFromImage(image))
    assert levels.anchor == "mask"


def test_levels_of_other_programs_by_their_tables(shared_data: Path) -> None:
    path = shared_data / "torso_ct_totalsegmentator" / "spine_report" / "totalseg.nii.gz"
    grid = grid_of(sitk.ReadImage(str(path)))
    levels = read_mask(str(path), grid=grid, kind="levels", label_table="totalsegmentator").levels
    assert np.unique(levels).tolist() == [0, 18, 19, 20, 21, 22, 23, 24, 26]  # T11 ... L5, sacrum
    spine = shared_data / "labels_spine_mr_panoptica" / "matched_instance" / "ref.nii.gz"
    grid = grid_of(sitk.ReadImage(str(spine)))
    levels = read_mask(str(spine), grid=grid, kind="levels", label_table="spineps").levels
    assert np.unique(levels).tolist() == [0, 2, 3, 4, 5, 6, 7, 8, 26]  # discs and endplates left out
    with pytest.raises(ScanError, match="202") as caught:
        read_mask(str(spine), grid=grid, kind="levels")
    assert caught.value.reason is Reason.MASK_VALUES
