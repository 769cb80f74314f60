"""Masks that are made up: what is refused, with which reason, and that geometry survives any orientation."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ScanError, ServiceError
from pipeline.grid import Grid
from pipeline.mask_sources import read_mask
from pipeline.mask_sources.image_file import grid_of
from schemas.reasons import Reason
from tests.servers import ObjectStorage

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
GRID = Grid(shape=(12, 16, 20), spacing_mm=(2.0, 1.0, 0.5), origin_mm=(-30.0, 40.0, 500.0), direction=AXIAL)


def image(values: np.ndarray, grid: Grid = GRID) -> sitk.Image:
    made = sitk.GetImageFromArray(values)
    made.SetSpacing(grid.spacing_mm[::-1])
    made.SetOrigin(grid.origin_mm)
    made.SetDirection(grid.direction)
    return made


def two_boxes() -> np.ndarray:
    values = np.zeros(GRID.shape, dtype=np.uint8)
    values[2:5, 3:8, 4:9] = 3
    values[5:9, 3:8, 9:15] = 7  # touches the first by an edge
    return values


def write(folder: Path, values: np.ndarray, name: str = "mask.nii.gz", grid: Grid = GRID) -> str:
    sitk.WriteImage(image(values, grid), str(folder / name))
    return str(folder / name)


def refused(uri: str, reason: Reason, **options: object) -> str:
    with pytest.raises(ScanError) as caught:
        read_mask(uri, grid=GRID, **options)  # type: ignore[call-overload]
    assert caught.value.reason is reason
    assert str(Path(uri).parent) not in caught.value.sentence
    return caught.value.sentence


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_touching_instances_stay_apart_in_every_format(tmp_path: Path, suffix: str) -> None:
    uri = write(tmp_path, two_boxes(), f"mask{suffix}")
    apart = read_mask(uri, grid=GRID)
    assert np.bincount(apart.instances.ravel())[1:].tolist() == [75, 120]
    assert read_mask(uri, grid=GRID, labels="binary").instances.max() == 1


def test_one_value_falls_into_its_components(tmp_path: Path) -> None:
    values = np.zeros(GRID.shape, dtype=np.uint8)
    values[0, 0, 0] = values[1, 1, 1] = values[5, 5, 5] = 200
    assert read_mask(write(tmp_path, values), grid=GRID).instances.max() == 2  # a shared corner joins
    assert read_mask(write(tmp_path, values), grid=GRID, labels="instances").instances.max() == 1


def test_an_empty_mask_says_that_there_is_no_lesion(tmp_path: Path) -> None:
    mask = read_mask(write(tmp_path, np.zeros(GRID.shape, np.uint8)), grid=GRID)
    assert mask.instances.shape == GRID.shape
    assert not mask.instances.any()


@pytest.mark.parametrize(
    ("value", "word"), [(-1.0, "from -1"), (0.5, "fractions in 1"), (np.nan, "no numbers"), (1e6, "65535")]
)
def test_values_that_are_no_labels_are_refused(tmp_path: Path, value: float, word: str) -> None:
    values = np.zeros(GRID.shape, dtype=np.float32)
    values[3, 3, 3] = value
    assert word in refused(write(tmp_path, values), Reason.MASK_VALUES)


def test_colours_are_refused(tmp_path: Path) -> None:
    refused(write(tmp_path, np.zeros((*GRID.shape, 3), np.uint8), "mask.nrrd"), Reason.MASK_VALUES)


def test_a_fourth_dimension_of_one_is_dropped_and_a_real_one_refused(tmp_path: Path) -> None:
    for depth in (1, 2):
        values = np.zeros((5, 6, 7, depth), dtype=np.uint8)
        values[1, 1, 1] = 1
        nib.save(nib.Nifti1Image(values, np.diag([-0.5, -1, 2, 1])), tmp_path / f"{depth}.nii.gz")
    grid = grid_of(sitk.ReadImage(str(tmp_path / "1.nii.gz")))
    assert read_mask(str(tmp_path / "1.nii.gz"), grid=grid).instances.sum() == 1
    assert "7 x 2" in refused(str(tmp_path / "2.nii.gz"), Reason.MASK_GRID)


def test_a_header_without_geometry_is_refused(tmp_path: Path) -> None:
    made = nib.Nifti1Image(np.zeros((5, 6, 7), np.uint8), None)
    made.header.set_sform(None, 0)
    made.header.set_qform(None, 0)
    nib.save(made, tmp_path / "mask.nii")
    assert "neither sform nor qform" in refused(str(tmp_path / "mask.nii"), Reason.MASK_GRID)


def test_sform_and_qform_that_disagree_are_refused(tmp_path: Path) -> None:
    made = nib.Nifti1Image(np.zeros((5, 6, 7), np.uint8), np.eye(4))
    made.set_sform(np.eye(4), 1)
    made.set_qform(np.diag([1, 1, 2, 1]), 1)
    nib.save(made, tmp_path / "mask.nii")
    assert "6.00 mm apart" in refused(str(tmp_path / "mask.nii"), Reason.GEOMETRY_CONFLICT)


def test_what_is_not_there_or_not_readable_says_so(tmp_path: Path) -> None:
    refused(str(tmp_path / "nothing.nii.gz"), Reason.MASK_MISSING)
    for name, data in {"text.nii": b"no image", "text.dcm": b"no image", "empty.nrrd": b""}.items():
        (tmp_path / name).write_bytes(data)
        refused(str(tmp_path / name), Reason.UNREADABLE)
    assert "are allowed" in refused(write(tmp_path, two_boxes()), Reason.TOO_LARGE, max_voxels=100)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_half_a_file_is_no_mask(tmp_path: Path, suffix: str) -> None:
    """ITK alone reads half a NIfTI without a word and fills up with zeros."""
    noise = np.random.default_rng(1).integers(0, 9, (40, 50, 60), dtype=np.uint8)
    whole = Path(write(tmp_path, noise, f"cut{suffix}"))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    refused(str(whole), Reason.UNREADABLE)


def test_a_picture_is_no_mask(shared_data: Path) -> None:
    assert "is no mask" in refused(str(shared_data / "codec_zoo_pydicom" / "CT_small.dcm"), Reason.UNREADABLE)


def test_a_folder_stands_for_its_only_file(tmp_path: Path) -> None:
    write(tmp_path, two_boxes())
    assert read_mask(str(tmp_path), grid=GRID).instances.max() == 2
    write(tmp_path, two_boxes(), "second.nrrd")
    assert "2 files" in refused(str(tmp_path), Reason.MASK_MISSING)


def test_a_mask_on_s3(object_storage: ObjectStorage, tmp_path: Path) -> None:
    local = write(tmp_path, two_boxes())
    bucket = object_storage.new_bucket()
    object_storage.filesystem().put_file(local, f"{bucket}/a/mask.nii.gz")
    options = object_storage.storage_options
    there = read_mask(f"s3://{bucket}/a/mask.nii.gz", grid=GRID, storage_options=options)
    np.testing.assert_array_equal(there.instances, read_mask(local, grid=GRID).instances)
    refused(f"s3://{bucket}/a/none.nii.gz", Reason.MASK_MISSING, storage_options=options)
    away = options | {
        "client_kwargs": {"endpoint_url": "http://127.0.0.1:9"},
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    with pytest.raises(ServiceError):
        read_mask(f"s3://{bucket}/a/mask.nii.gz", grid=GRID, storage_options=away)


def test_a_crop_of_the_scans_grid_is_used_as_it_is(tmp_path: Path) -> None:
    crop = Grid((8, 9, 14), GRID.spacing_mm, (-28.5, 42.0, 502.0), AXIAL)  # one plane, two rows, three columns cut off
    values = two_boxes()
    mask = read_mask(write(tmp_path, values[1:9, 2:11, 3:17], grid=crop), grid=GRID)
    assert mask.volume_change is None
    np.testing.assert_array_equal(mask.instances > 0, values > 0)


def test_a_mask_elsewhere_is_refused_and_one_partly_beyond_the_scan_says_what_it_lost(tmp_path: Path) -> None:
    far = Grid(GRID.shape, GRID.spacing_mm, (500.0, 0.0, 0.0), AXIAL)
    assert "do" in refused(write(tmp_path, two_boxes(), grid=far), Reason.MASK_GRID)
    shifted = Grid(GRID.shape, GRID.spacing_mm, (-34.0, 40.0, 500.0), AXIAL)  # eight columns to the left
    mask = read_mask(write(tmp_path, two_boxes(), grid=shifted), grid=GRID)
    assert mask.volume_change is not None
    assert mask.volume_change.tolist() == [pytest.approx(-0.8), 0.0]


def test_a_lesion_beyond_the_scan_is_a_candidate_and_one_between_its_voxels_is_kept(tmp_path: Path) -> None:
    fine = Grid((10, 10, 200), (0.2, 0.2, 0.5), (-30.0, 40.0, 500.0), AXIAL)
    values = np.zeros(fine.shape, dtype=np.uint8)
    values[4, 4, 10] = 1  # between voxels of the scan
    values[0, 0, 150] = 2  # beyond it
    values[2, 2, 15] = 3
    mask = read_mask(write(tmp_path, values, grid=fine), grid=GRID)
    assert np.bincount(mask.instances.ravel())[1:].tolist() == [1, 1]
    assert mask.volume_change is not None
    assert mask.volume_change.shape == (2,)
    assert [candidate["why_not"] for candidate in mask.candidates] == ["outside"]
    assert mask.candidates[0]["centroid_mm"] == pytest.approx([45.0, 40.0, 500.0])


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Any oblique grid of three unequal extents and spacings, left-handed ones too."""
    angles = [draw(st.integers(-3000, 3000)) / 1000 for _ in range(3)]  # no cosine that only ITK rounds to 0
    rotation = sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix()
    flip = np.diag([draw(st.sampled_from([1, -1])), 1, 1])
    direction = (np.reshape(rotation, (3, 3)) @ flip).ravel()
    spacing = [draw(st.floats(0.3, 7)) for _ in range(3)]
    return Grid((5, 7, 9), (spacing[0], spacing[1], spacing[2]), (12.5, -321.0, 1021.0), tuple(map(float, direction)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids(), order=st.permutations([0, 1, 2]), flips=st.lists(st.booleans(), min_size=3, max_size=3))
def test_any_order_of_axes_gives_back_the_very_voxels(
    tmp_path: Path, grid: Grid, order: list[int], flips: list[bool]
) -> None:
    values = np.arange(np.prod(grid.shape), dtype=np.uint16).reshape(grid.shape)
    stored = sitk.Flip(sitk.PermuteAxes(image(values, grid), order), flips, flipAboutOrigin=False)
    sitk.WriteImage(stored, str(tmp_path / "any.nrrd"))
    mask = read_mask(str(tmp_path / "any.nrrd"), grid=grid)
    assert mask.volume_change is None
    np.testing.assert_array_equal(mask.instances, values)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(grid=grids(), shift=st.floats(0.05, 0.45))
def test_a_shift_of_a_part_of_a_voxel_is_no_longer_the_same_grid(tmp_path: Path, grid: Grid, shift: float) -> None:
    values = np.zeros(grid.shape, dtype=np.uint8)
    values[1:4, 1:5, 1:6] = 1
    moved = grid.to_lps([0.0, 0.0, shift])
    elsewhere = Grid(grid.shape, grid.spacing_mm, (float(moved[0]), float(moved[1]), float(moved[2])), grid.direction)
    mask = read_mask(write(tmp_path, values, "moved.nrrd", elsewhere), grid=grid)
    assert mask.volume_change is not None
    np.testing.assert_array_equal(mask.instances, values)  # nearest
