from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pipeline.errors import ScanError
from pipeline.grid import Volume
from pipeline.nifti import bids_entities, bids_modality, header_record, read_nifti
from schemas.reasons import Reason

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def packed(voxels: np.ndarray = VOXELS, affine: np.ndarray | None = None, *, sform: int = 1, qform: int = 1) -> bytes:
    image = nib.Nifti1Image(voxels, np.diag([2.0, 3.0, 4.0, 1.0]) if affine is None else affine)
    image.header.set_sform(image.affine, sform)
    image.header.set_qform(image.affine, qform, strip_shears=True)
    return bytes(image.to_bytes())


def read(data: bytes, name: str = "scan.nii") -> Volume:
    return read_nifti(data, name=name, max_voxels=10**6)


SHEAR = np.eye(4)
SHEAR[0, 1] = 0.3


def reason(data: bytes, name: str = "scan.nii") -> Reason:
    with pytest.raises(ScanError) as caught:
        read(data, name)
    return caught.value.reason


@given(
    st.builds(
        lambda a, b, c: Rotation.from_euler("xyz", (a, b, c), degrees=True).as_matrix(), *[st.floats(-180, 180)] * 3
    ),
    st.tuples(*[st.floats(0.5, 5)] * 3),
    st.tuples(*[st.sampled_from([-1, 1])] * 3),
)
def test_any_orientation_spacing_and_flip_equals_simple_itk(rotation, spacing, flips) -> None:  # type: ignore[no-untyped-def]
    import tempfile

    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(spacing) @ np.diag(flips)
    affine[:3, 3] = (-10, 20, 5)
    data = packed(affine=affine)
    volume = read(data)
    with tempfile.NamedTemporaryFile(suffix=".nii") as file:
        file.write(data)
        file.flush()
        image = sitk.ReadImage(file.name)
    np.testing.assert_array_equal(volume.voxels, sitk.GetArrayFromImage(image))
    assert volume.grid.spacing_mm[::-1] == image.GetSpacing()
    assert volume.grid.origin_mm == image.GetOrigin()
    assert volume.grid.direction == image.GetDirection()
    # and both say where the voxels are as nibabel does: RAS there, LPS here
    index = np.array([2, 3, 1])  # i, j, k
    expected = (affine @ [*index, 1])[:3] * [-1, -1, 1]
    np.testing.assert_allclose(volume.grid.to_lps(index[::-1]), expected, atol=1e-3)


def test_compressed_is_the_same() -> None:
    joined = gzip.compress(packed()[:400]) + gzip.compress(packed()[400:])
    for data in (gzip.compress(packed()), joined, gzip.compress(packed()) + bytes(512)):
        np.testing.assert_array_equal(read(data, "scan.nii.gz").voxels, read(packed()).voxels)


def test_whole_floats_are_stored_small_and_scaling_is_applied() -> None:
    assert read(packed(VOXELS.astype(np.float64))).voxels.dtype == np.int16
    assert read(packed(VOXELS + np.float32(0.5))).voxels.dtype == np.float32
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.header.set_slope_inter(2.0, -7.0)
    scaled = bytearray(image.to_bytes())
    scaled[112:120] = struct.pack("<ff", 2.0, -7.0)
    np.testing.assert_array_equal(read(bytes(scaled)).voxels, VOXELS.T * 2 - 7)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (packed(np.zeros((3, 4, 5, 2), np.int16)), Reason.NOT_A_VOLUME),
        (packed(np.zeros((3, 4), np.int16)), Reason.NOT_A_VOLUME),
        (packed(VOXELS.astype(np.complex64)), Reason.NOT_A_VOLUME),
        (packed(np.zeros((3, 4, 5), [("R", "u1"), ("G", "u1"), ("B", "u1")])), Reason.COLOUR),
        (packed()[:252] + bytes(4) + packed()[256:], Reason.NO_GEOMETRY),  # qform_code and sform_code are 0
        (packed(np.ones((3, 4, 5), np.int16)), Reason.NO_VALUES),
        (packed(np.full((3, 4, 5), np.nan, np.float32)), Reason.NO_VALUES),
        (packed(affine=SHEAR, qform=0), Reason.SHEARED),
        (packed(qform=0)[:280] + bytes(16) + packed(qform=0)[296:], Reason.NO_GEOMETRY),  # srow_x is 0
        (packed()[:-20], Reason.TRUNCATED),
        (b"nothing", Reason.UNREADABLE),
        (b"", Reason.UNREADABLE),
    ],
)
def test_what_is_no_volume(data: bytes, expected: Reason) -> None:
    assert reason(data) is expected


def test_two_geometries_that_disagree() -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.header.set_sform(np.eye(4), 1)
    moved = np.eye(4)
    moved[0, 3] = 4
    image.header.set_qform(moved, 1)
    assert reason(bytes(image.to_bytes())) is Reason.GEOMETRY_CONFLICT


def test_one_that_is_enough() -> None:
    without_sform = packed()[:254] + bytes(2) + packed()[256:]
    without_qform = packed()[:252] + bytes(2) + packed()[254:]
    assert read(without_sform).grid == read(without_qform).grid


def test_a_fourth_axis_of_one_is_no_axis() -> None:
    np.testing.assert_array_equal(read(packed(VOXELS[..., None])).voxels, VOXELS.T)


def test_too_many_voxels_are_refused_by_the_header() -> None:
    data = bytearray(packed())
    data[42:48] = struct.pack("<3h", 30000, 30000, 30000)
    assert reason(bytes(data)) is Reason.TOO_LARGE


def test_damage_in_what_is_compressed() -> None:
    assert reason(b"not gzip at all", "scan.nii.gz") is Reason.UNREADABLE
    assert reason(gzip.compress(packed())[:-30], "scan.nii.gz") is Reason.TRUNCATED
    damaged = bytearray(gzip.compress(packed()))
    damaged[-40] ^= 0xFF
    assert reason(bytes(damaged), "scan.nii.gz") in {Reason.UNREADABLE, Reason.TRUNCATED}


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("sub-1/anat/sub-1_T2w.nii.gz", "MR"),
        ("a_ct.nii", "CT"),
        ("sub-1_pet.nii.gz", "PT"),
        ("sub-1_seg-vert_msk.nii.gz", None),
        ("ct.nii", None),
        ("scan.nii.gz", None),
    ],
)
def test_a_name_may_say_the_modality(name: str, modality: str | None) -> None:
    assert bids_modality(name) == modality


def test_a_name_may_say_subject_and_session() -> None:
    assert bids_entities("rawdata/sub-07/ses-b/sub-07_ses-b_ct.nii.gz") == ("07", "b")
    assert bids_entities("subject/1.nii") == (None, None)


def test_a_record_changes_with_the_content(tmp_path: Path) -> None:
    one, other = (gzip.compress(packed(VOXELS + n), mtime=0) for n in (0, 1))
    records = [header_record(data[:4096], data[-8:], "a.nii.gz") for data in (one, other)]
    assert records[0]["shape"] == records[1]["shape"] == [3, 4, 5]
    assert records[0]["checksum"] != records[1]["checksum"]
