"""The files of one entry to a volume whose geometry has been checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from pipeline.dicom import nm, repair
from pipeline.dicom.decode import frame_shape, is_lossy, is_native, native_frames
from pipeline.dicom.frames import PLACE_KEYWORDS, Frame, frames_of, positions_of
from pipeline.dicom.geometry import Stack, are_parallel, axes, places, stack
from pipeline.dicom.part10 import Part10, open_part10
from pipeline.dicom.suv import SUV_TAGS
from pipeline.dicom.units import UNIT_KEYWORDS, check_scales, units_of
from pipeline.dicom.values import Voxels, check_values, rescale, slopes_of
from pipeline.errors import ScanError
from pipeline.grid import Floats, Grid, Volume
from pipeline.sandbox import run_sandboxed
from pipeline.series import SeriesEntry, SeriesFile
from pipeline.sources.opening import Content, read_files
from schemas.config import CohortConfig
from schemas.reasons import Reason

PLANAR_STEP_MM = 1.0
"""A planar view has no extent along z; its grid needs one."""

_PIXEL_KEYWORDS = (
    "SpecificCharacterSet",
    "SOPInstanceUID",
    "SOPClassUID",
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "LossyImageCompression",
)
_REFUSED_KEYWORDS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "EnergyWindowVector")


def _tags(*keywords: str) -> frozenset[int]:
    return frozenset(tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None)


_WANTED = _tags(*_PIXEL_KEYWORDS, *PLACE_KEYWORDS, *UNIT_KEYWORDS) | SUV_TAGS
_REFUSED = _tags(*_REFUSED_KEYWORDS)


@dataclass(frozen=True)
class SourceVolume:
    """What reading a series gives."""

    volume: Volume
    """Rescaled voxels and where they lie."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Columns of the catalog that only reading can tell."""


@dataclass(frozen=True)
class Picture:
    """One slice with its pixels."""

    uid: str
    """SOP Instance UID of its object."""
    frame: Frame
    """Where it lies."""
    stored: Voxels
    """[y, x] stored values."""
    slope: float
    intercept: float


@dataclass
class _Reading:
    """The slices of a series, and what their files say together."""

    pictures: list[Picture] = field(default_factory=list)
    headers: list[Dataset] = field(default_factory=list)
    lossy: bool = False
    transfer_syntax: str | None = None


def read_dicom(entry: SeriesEntry, config: CohortConfig) -> SourceVolume:
    """The volume of a DICOM entry.

    Raises:
        ScanError: why it is no clean volume.
        ServiceError: the source does not answer.
    """
    reading = _read(entry, config)
    pictures, copies = without_copies(reading.pictures)
    reading.pictures.clear()  # who holds a picture holds its file
    check_scales(reading.headers)
    instances = {picture.uid for picture in pictures}
    if entry.part_reason == "view" or _is_planar(reading.headers[0]):
        source = _planar(pictures)
    else:
        source = _stacked(pictures, entry, config)
    columns = {
        **units_of(reading.headers, entry.modality),
        **source.columns,
        "lossy": reading.lossy,
        "transfer_syntax": reading.transfer_syntax,
        "n_instances": len(instances),
        "n_duplicates": copies,
    }
    return SourceVolume(source.volume, columns)


def without_copies(pictures: list[Picture]) -> tuple[list[Picture], int]:
    """Leave out pictures that lie at the place of another and equal it, and count them.

    Raises:
        ScanError: duplicate_slices where different pictures of one object are there.
    """
    at: dict[Any, list[Picture]] = {}
    copies = 0
    for picture in pictures:
        same = at.setdefault(picture.frame.position or (picture.uid, picture.frame.number), [])
        if any(_equal(picture, other) for other in same):
            copies += 1
        else:
            same.append(picture)
    return [picture for same in at.values() for picture in same], copies


def _read(entry: SeriesEntry, config: CohortConfig) -> _Reading:
    reading = _Reading()
    voxels = 0
    for file, data in zip(entry.files, read_files(entry.files, config.storage_options), strict=True):
        part = open_part10(data, wanted=_WANTED, refused=_REFUSED)
        voxels += int(np.prod(frame_shape(part.dataset)))
        if voxels > config.limits.max_voxels:
            raise ScanError(
                Reason.TOO_LARGE, f"{voxels} voxels and more; limits.max_voxels allows {config.limits.max_voxels}"
            )
        stored = _stored(part, data, config)
        reading.pictures += _pictures(part, file, stored)
        reading.headers.append(part.dataset)
        reading.lossy = reading.lossy or is_lossy(part.dataset, part.transfer_syntax)
        reading.transfer_syntax = reading.transfer_syntax or part.transfer_syntax or None
    return reading


def _stored(part: Part10, data: Content, config: CohortConfig) -> Voxels:
    if is_native(part):
        return native_frames(part, data)
    limits = config.limits
    head, pixels = run_sandboxed("pixels", {}, data, seconds=limits.decode_seconds, memory_mb=limits.decode_memory_mb)
    return np.frombuffer(pixels, np.dtype(head["dtype"])).reshape(head["shape"])


def _pictures(part: Part10, file: SeriesFile, stored: Voxels) -> Iterator[Picture]:
    dataset = part.dataset
    frames = nm.frames_of(dataset) or frames_of(dataset, traits=False)
    if len(frames) != len(stored):
        said = "not where they lie" if len(frames) == 1 else f"where {len(frames)} of them lie"
        raise ScanError(Reason.NO_GEOMETRY, f"a file holds {len(stored)} frames and says {said}")
    slopes, intercepts = slopes_of(dataset, len(stored))
    uid = str(dataset.get("SOPInstanceUID", ""))
    for number in file.frames if file.frames is not None else range(len(stored)):
        yield Picture(uid, frames[number], stored[number], float(slopes[number]), float(intercepts[number]))


def _equal(one: Picture, other: Picture) -> bool:
    same_scale = (one.slope, one.intercept) == (other.slope, other.intercept)
    return same_scale and one.frame.orientation == other.frame.orientation and np.array_equal(one.stored, other.stored)


def _is_planar(header: Dataset) -> bool:
    image_type = header.get("ImageType")
    return str(header.get("Modality")) == "NM" and nm.picture_kind(image_type) in nm.PLANAR


def _planar(pictures: list[Picture]) -> SourceVolume:
    """One view as [1, y, x], on a grid of its own: a planar picture says nothing of the patient's space."""
    if len(pictures) != 1:
        raise ScanError(Reason.DUPLICATE_SLICES, f"{len(pictures)} different pictures say that they are the same view")
    picture = pictures[0]
    if picture.frame.spacing is None:
        raise ScanError(Reason.NO_GEOMETRY, "the pixel spacing of a planar view is missing")
    rows, columns = picture.stored.shape
    spacing = (PLANAR_STEP_MM, *picture.frame.spacing)
    grid = Grid((1, rows, columns), spacing, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    return SourceVolume(Volume(_rescaled([picture]), grid), {})


def _stacked(pictures: list[Picture], entry: SeriesEntry, config: CohortConfig) -> SourceVolume:
    if len(pictures) == 1:
        raise ScanError(Reason.SINGLE_SLICE, "the series has one slice, a volume takes two or more")
    orientation, spacing = _common_plane(pictures)
    placed = stack(
        positions_of([picture.frame for picture in pictures]),
        orientation,
        pixel_mm=min(spacing),
        allow_gaps=config.ingest.on_gap == "interpolate",
    )
    _check_tilt(placed, entry, config)
    ordered = [pictures[index] for index in placed.order]
    grid = Grid(
        shape=(len(ordered), *ordered[0].stored.shape),
        spacing_mm=(placed.step_mm, *spacing),
        origin_mm=ordered[0].frame.position or (0.0, 0.0, 0.0),
        direction=tuple(axes(orientation).ravel().tolist()),
    )
    pictures.clear()
    volume, derived = _repaired(_rescaled(ordered), grid, placed)
    columns = {"computed_spacing_mm": placed.step_mm, "slice_spacing_max_error_mm": placed.max_error_mm}
    return SourceVolume(volume, columns | {"derived": ", ".join(derived) or None})


def _common_plane(pictures: list[Picture]) -> tuple[Floats, tuple[float, float]]:
    """The orientation and the pixel spacing that all slices share.

    Raises:
        ScanError: no_geometry, mixed_shapes, mixed_orientations, duplicate_slices.
    """
    frames = [picture.frame for picture in pictures]
    lacking = sum(f.position is None or f.orientation is None or f.spacing is None for f in frames)
    if lacking or min(frames[0].spacing or (0,)) <= 0:
        raise ScanError(
            Reason.NO_GEOMETRY, f"position, orientation or pixel spacing of {lacking or len(frames)} slices is missing"
        )
    orientation = np.array(frames[0].orientation)
    if not all(are_parallel(orientation, f.orientation or ()) for f in frames):
        raise ScanError(Reason.MIXED_ORIENTATIONS, f"the {len(frames)} slices point in different directions")
    spacing = np.array([f.spacing for f in frames])
    sizes = {picture.stored.shape for picture in pictures}
    if len(sizes) > 1 or float(np.ptp(spacing, axis=0).max()) > 1e-3 * float(spacing.min()):
        raise ScanError(Reason.MIXED_SHAPES, f"slices differ in rows and columns ({len(sizes)} sizes) or pixel spacing")
    _, at = places(positions_of(frames), axes(orientation)[:, 2])
    double = sum(len(group) - 1 for group in at)
    if double:
        raise ScanError(
            Reason.DUPLICATE_SLICES, f"{double} of {len(frames)} slices lie where another, different one lies"
        )
    return orientation, (float(spacing[0, 0]), float(spacing[0, 1]))


def _check_tilt(placed: Stack, entry: SeriesEntry, config: CohortConfig) -> None:
    if not placed.is_tilted:
        return
    if entry.modality != "CT":
        raise ScanError(
            Reason.SHEARED,
            f"slices are displaced within their planes, by {placed.tilt_degrees:.1f} degrees, and no gantry was tilted",
        )
    if config.ingest.on_tilt == "quarantine":
        raise ScanError(Reason.GANTRY_TILT, f"the gantry was tilted by {placed.tilt_degrees:.1f} degrees")


def _repaired(voxels: Voxels, grid: Grid, placed: Stack) -> tuple[Volume, list[str]]:
    derived = []
    if placed.missing:
        voxels = repair.fill_gaps(voxels, placed.missing)
        grid = replace(grid, shape=voxels.shape)
        derived.append(repair.INTERPOLATED)
    volume = Volume(voxels, grid)
    if placed.is_tilted:
        volume = repair.straighten(volume, placed.shift_mm)
        derived.append(repair.GANTRY_TILT)
    return volume, derived


def _rescaled(pictures: list[Picture]) -> Voxels:
    """Rescaled voxels [z, y, x]; the pictures are let go one by one."""
    slopes = np.array([picture.slope for picture in pictures])
    intercepts = np.array([picture.intercept for picture in pictures])
    stored = [picture.stored for picture in pictures]
    pictures.clear()
    values = rescale(stored, slopes, intercepts)
    check_values(values)
    return values
