"""Masks as images: NIfTI, NRRD, MetaImage."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError

from pipeline.errors import ScanError
from pipeline.grid import Grid
from pipeline.mask_sources.source import Labels, SourceMask
from schemas.reasons import Reason

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")
"""What is read here; anything else is tried as DICOM."""

_AFFINES_AGREE_MM = 0.05
"""sform and qform are stored as float32, one as a quaternion: they differ by rounding, hardly by more."""

_LARGEST = np.iinfo(np.uint16).max


def read_image(path: Path, *, max_voxels: int) -> SourceMask:
    """A mask from an image file, in the order and geometry of `SimpleITK.ReadImage`.

    Raises:
        ScanError: UNREADABLE, TOO_LARGE, MASK_GRID (not in three dimensions, no geometry), GEOMETRY_CONFLICT (sform
            and qform disagree), MASK_VALUES (no whole numbers of 0 and more).
    """
    try:
        reader = _open(path, max_voxels)
        grid = grid_of(reader)
        if path.name.lower().endswith((".nii", ".nii.gz")):
            values = _nifti_values(path, grid.shape)
        else:
            values = sitk.GetArrayFromImage(reader.Execute())
    except (RuntimeError, OSError, ValueError, EOFError, ImageFileError) as error:
        # the libraries' own words hold the path, and a path may hold a name
        raise ScanError(
            Reason.UNREADABLE, f"the mask cannot be read ({type(error).__name__}): fetch or write the file again"
        ) from None
    return SourceMask(whole_numbers(values), grid)


def grid_of(image: sitk.Image | sitk.ImageFileReader) -> Grid:
    """The grid of an image's first three axes."""
    n_axes = image.GetDimension()
    direction = np.reshape(image.GetDirection(), (n_axes, n_axes))[:3, :3]
    return Grid(
        shape=image.GetSize()[:3][::-1],
        spacing_mm=image.GetSpacing()[:3][::-1],
        origin_mm=image.GetOrigin()[:3],
        direction=tuple(float(cosine) for cosine in direction.ravel()),
    )


def whole_numbers(values: npt.NDArray[np.generic]) -> Labels:
    """Values as labels.

    Raises:
        ScanError: MASK_VALUES, something is negative, fractional, not finite, or above 65535.
    """
    if values.dtype.kind not in "biuf":
        raise ScanError(Reason.MASK_VALUES, "the mask holds colours or vectors: a mask has one whole number per voxel")
    lowest, highest = values.min(), values.max()
    if not np.isfinite(lowest) or not np.isfinite(highest):
        raise ScanError(Reason.MASK_VALUES, "the mask holds values that are no numbers: 0, 1, 2, ... are allowed")
    if lowest < 0 or highest > _LARGEST:
        raise ScanError(
            Reason.MASK_VALUES, f"the mask holds values from {lowest:g} to {highest:g}: 0 to {_LARGEST} are allowed"
        )
    labels = values.astype(np.uint16)
    if values.dtype.kind == "f" and (fractional := int(np.count_nonzero(values != labels))):
        raise ScanError(
            Reason.MASK_VALUES,
            f"the mask has fractions in {fractional} voxels: threshold it, a mask has whole numbers (0 is background)",
        )
    return labels


def _open(path: Path, max_voxels: int) -> sitk.ImageFileReader:
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings go to stderr with the path in them
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size = [*reader.GetSize()]
    if reader.GetNumberOfComponents() != 1:
        raise ScanError(Reason.MASK_VALUES, "the mask holds colours or vectors: a mask has one whole number per voxel")
    if len(size) < 3 or any(extent != 1 for extent in size[3:]):
        raise ScanError(
            Reason.MASK_GRID, f"the mask has the size {' x '.join(map(str, size))}: a mask has three dimensions"
        )
    if np.prod(size, dtype=float) > max_voxels:
        raise ScanError(
            Reason.TOO_LARGE,
            f"the mask asks for {np.prod(size, dtype=float):.3g} voxels, {max_voxels} are allowed",
        )
    if len(size) > 3:
        reader.SetExtractSize([*size[:3], *(0 for _ in size[3:])])
    return reader


def _nifti_values(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.generic]:
    """The voxels as nibabel reads them: ITK fills up a truncated or damaged NIfTI with zeros and turns NaN into 0."""
    image = nib.load(path)
    _check_nifti(image.header)
    return np.asanyarray(image.dataobj).reshape(shape[::-1], order="F").transpose()


def _check_nifti(header: nib.nifti1.Nifti1Header) -> None:
    if not isinstance(header, nib.Nifti1Header):
        raise ScanError(Reason.MASK_GRID, "the mask is an ANALYZE image, which has no geometry: write it as NIfTI")
    sform, qform = header.get_sform(coded=True)[0], header.get_qform(coded=True)[0]
    if sform is None and qform is None:
        raise ScanError(
            Reason.MASK_GRID,
            "the mask has neither sform nor qform, so nothing says where it lies: copy the geometry of its scan",
        )
    if sform is not None and qform is not None:
        corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [*_extent(header), 1]
        apart = float(np.abs(corners @ (sform - qform).T).max())
        if apart > _AFFINES_AGREE_MM:
            raise ScanError(
                Reason.GEOMETRY_CONFLICT,
                f"sform and qform of the mask put a corner {apart:.2f} mm apart: drop the one that is wrong",
            )


def _extent(header: nib.Nifti1Header) -> list[int]:
    return [max(extent - 1, 0) for extent in (*header.get_data_shape(), 1, 1)[:3]]
