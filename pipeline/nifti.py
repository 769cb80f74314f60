"""NIfTI: what index reads of a header, and a file to a volume, as SimpleITK reads it."""

from __future__ import annotations

import math
import re
import tempfile
import zlib
from dataclasses import asdict
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from nibabel.affines import apply_affine, voxel_sizes

from pipeline.dicom.values import check_values, smallest
from pipeline.errors import ScanError
from pipeline.grid import Floats, Grid, Volume
from schemas.reasons import Reason

SUFFIXES = (".nii", ".nii.gz")

_BIDS = {
    "ct": "CT",
    **dict.fromkeys(
        ("t1w", "t2w", "t2starw", "pdw", "flair", "stir", "t1map", "t2map", "dwi", "inplanet2", "mr", "mri"), "MR"
    ),
    "pet": "PT",
    "pt": "PT",
    "spect": "NM",
    "nm": "NM",
}
"""The suffix of a name after the last underscore, and the modality it says (Brain Imaging Data Structure 1.10)."""

_NIFTI2 = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")
_AGREE = 0.1  # voxels: the qform is stored as float32 quaternions
_RIGHT_ANGLE = 1e-3
_HEADER_BYTES = 540
_AFTER_VOXELS = 1024
"""What may stand behind the voxels; a bomb is not unpacked further."""


def is_nifti(name: str) -> bool:
    """Whether a file is called like a NIfTI."""
    return name.lower().endswith(SUFFIXES)


def bids_modality(name: str) -> str | None:
    """The modality that a file's name says by its BIDS suffix, such as `sub-01_T2w.nii.gz`; None where it says none."""
    stem = re.sub(r"\.nii(\.gz)?$", "", name.rsplit("/", 1)[-1], flags=re.IGNORECASE)
    return _BIDS.get(stem.rsplit("_", 1)[-1].lower()) if "_" in stem else None


def bids_entities(name: str) -> tuple[str | None, str | None]:
    """The `sub-` and `ses-` entities of a path; None where it has none."""
    subject, session = re.search(r"(?:^|[/_])sub-([^/_.]+)", name), re.search(r"(?:^|[/_])ses-([^/_.]+)", name)
    return subject[1] if subject else None, session[1] if session else None


def header_record(start: bytes, end: bytes, name: str) -> dict[str, Any]:
    """What index reads of a NIfTI: its dimensions, its spacing, and for .gz the checksum of its content.

    Args:
        start: its first bytes (4 KiB are enough).
        end: its last 8 bytes: a .gz ends with CRC-32 and length of the content (RFC 1952).
        name: what it is called.

    Raises:
        ScanError: unreadable.
    """
    header = _parse(_unpacked(start, _HEADER_BYTES) if name.lower().endswith(".gz") else start)
    shape = [int(n) for n in header.get_data_shape()]
    return {
        "shape": shape,
        "zooms": [float(z) for z in header.get_zooms()],
        "checksum": end.hex() if name.lower().endswith(".gz") else start[:_HEADER_BYTES].hex(),
    }


def read_nifti(data: bytes, *, name: str, max_voxels: int) -> Volume:
    """A NIfTI as SimpleITK reads it, once its geometry has been checked.

    Raises:
        ScanError: not_a_volume, colour, too_large, no_geometry, geometry_conflict, sheared, no_values, truncated,
            unreadable.
    """
    compressed = name.lower().endswith(".gz")
    header = _parse(_unpacked(data, _HEADER_BYTES) if compressed else data)
    _check_shape(header, max_voxels)
    _check_geometry(header)
    raw = _complete(data, header, compressed=compressed)
    check_values(_stored(raw, header))
    image = _simple_itk(raw)
    return Volume(smallest(sitk.GetArrayFromImage(image)), _grid(image))


def nifti_task(arguments: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    """Read a file inside a helper process: its voxels [z, y, x] and its grid."""
    volume = read_nifti(payload, name=arguments["name"], max_voxels=arguments["max_voxels"])
    voxels = volume.voxels.astype(volume.voxels.dtype.newbyteorder("<"), copy=False)
    return {"dtype": voxels.dtype.str, "grid": asdict(volume.grid)}, voxels.tobytes()


def _parse(start: bytes) -> nib.Nifti1Header:
    try:
        kind = nib.Nifti2Header if start[:4] in _NIFTI2 else nib.Nifti1Header
        header = kind(start[: kind.sizeof_hdr], check=False)
        if int(header["sizeof_hdr"]) != kind.sizeof_hdr:
            raise ValueError
        header.get_data_shape()
        header.get_data_dtype()
    except Exception:
        raise ScanError(Reason.UNREADABLE, "the file has the name of a NIfTI and not its header") from None
    return header


def _unpacked(data: bytes, most: int) -> bytes:
    """The first bytes of what a .gz holds, through all of its members (RFC 1952 allows several)."""
    parts: list[bytes] = []
    left = most
    try:
        while data and left > 0:
            member = zlib.decompressobj(wbits=31)
            parts.append(member.decompress(data, left))
            left -= len(parts[-1])
            data = member.unused_data.lstrip(b"\0")  # padding of a tape or a download
    except zlib.error:
        raise ScanError(Reason.UNREADABLE, "the file is called .gz and cannot be unpacked: fetch it again") from None
    return b"".join(parts)


def _complete(data: bytes, header: nib.Nifti1Header, *, compressed: bool) -> bytes:
    """The file without its compression and with all its voxels: ITK would read half a file and say nothing.

    Raises:
        ScanError: truncated; unreadable where the checksum is wrong.
    """
    expected = _offset(header) + _count(header) * header.get_data_dtype().itemsize
    raw = _unpacked(data, expected + _AFTER_VOXELS) if compressed else data
    if len(raw) < expected:
        raise ScanError(Reason.TRUNCATED, f"the file holds {len(raw)} bytes where {expected} are expected")
    return raw


def _stored(raw: bytes, header: nib.Nifti1Header) -> npt.NDArray[np.generic]:
    """The stored values of a complete file, in no order that means anything."""
    return np.frombuffer(raw, header.get_data_dtype(), _count(header), _offset(header))


def _offset(header: nib.Nifti1Header) -> int:
    offset = float(header["vox_offset"])
    return max(int(offset), int(header["sizeof_hdr"])) if math.isfinite(offset) and offset < 2**31 else 0


def _count(header: nib.Nifti1Header) -> int:
    return math.prod(int(n) for n in header.get_data_shape())


def _check_shape(header: nib.Nifti1Header, max_voxels: int) -> None:
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise ScanError(Reason.NOT_A_VOLUME, f"the image has the shape {shape}; three dimensions are allowed")
    if min(shape) < 1:
        raise ScanError(Reason.UNREADABLE, f"the header gives the shape {shape}")
    if math.prod(shape) > max_voxels:
        raise ScanError(Reason.TOO_LARGE, f"{math.prod(shape)} voxels; limits.max_voxels allows {max_voxels}")
    kind = header.get_data_dtype()
    if kind.fields is not None:
        raise ScanError(Reason.COLOUR, "the voxels are colours")
    if kind.kind == "c":
        raise ScanError(Reason.NOT_A_VOLUME, "the voxels are complex numbers; take their magnitude first")


def _check_geometry(header: nib.Nifti1Header) -> None:
    """A sform or a qform must be there; both must agree; the axes must be at right angles."""
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not sform and not qform:
        raise ScanError(Reason.NO_GEOMETRY, "neither sform nor qform is set: nothing says where the voxels lie")
    try:
        affines = [header.get_sform()] * sform + [header.get_qform()] * qform
    except Exception:
        raise ScanError(Reason.NO_GEOMETRY, "the qform is no rotation") from None
    for affine in affines:
        _check_affine(affine)
    if len(affines) == 2:
        shape = np.array([int(n) for n in header.get_data_shape()[:3]])
        corners = np.array([*np.ndindex(2, 2, 2)]) * (shape - 1)
        apart = [apply_affine(affine, corners) for affine in affines]
        distance = float(np.linalg.norm(apart[0] - apart[1], axis=1).max())
        if distance > _AGREE * float(voxel_sizes(affines[0]).min()):
            raise ScanError(
                Reason.GEOMETRY_CONFLICT, f"sform and qform place the corners of the volume {distance:.2f} mm apart"
            )


def _check_affine(affine: Floats) -> None:
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.all(np.isfinite(affine)) or float(lengths.min()) <= 0:
        raise ScanError(Reason.NO_GEOMETRY, "the affine has an axis without length")
    cosines = affine[:3, :3] / lengths
    off = float(np.abs(cosines.T @ cosines - np.eye(3)).max())
    if off > _RIGHT_ANGLE:
        raise ScanError(
            Reason.SHEARED, f"two axes are {math.degrees(math.asin(min(off, 1.0))):.2f} degrees off the right angle"
        )


def _simple_itk(data: bytes) -> sitk.Image:
    with tempfile.NamedTemporaryFile(prefix="scan-", suffix=".nii") as file:
        file.write(data)
        file.flush()
        try:
            image = sitk.ReadImage(file.name)
        except RuntimeError:
            raise ScanError(Reason.UNREADABLE, "the file cannot be read to its end: fetch it again") from None
    return image[:, :, :, 0] if image.GetDimension() == 4 else image


def _grid(image: sitk.Image) -> Grid:
    x, y, z = image.GetSpacing()
    columns, rows, slices = image.GetSize()
    return Grid((slices, rows, columns), (z, y, x), image.GetOrigin(), image.GetDirection())
