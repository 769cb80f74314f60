"""The files of one entry to a volume whose geometry has been checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

from pipeline.dicom.decode import is_lossy, rescale_of, stored_frames
from pipeline.dicom.frames import Frame, frames_of
from pipeline.dicom.geometry import Stack, are_parallel, axes, stack
from pipeline.dicom.values import Voxels, rescale
from pipeline.errors import ScanError
from pipeline.grid import Grid, Volume
from pipeline.series import SeriesEntry, SeriesFile
from pipeline.sources.opening import read_file
from schemas.config import CohortConfig
from schemas.reasons import Reason


@dataclass(frozen=True)
class SourceVolume:
    """What reading a series gives."""

    volume: Volume
    """Rescaled voxels and where they lie."""
    columns: dict[str, Any] = field(default_factory=dict)
    """Columns of the catalog that only reading can tell."""


@dataclass(frozen=True)
class _Picture:
    """One slice with its pixels."""

    frame: Frame
    stored: Voxels
    slope: float
    intercept: float
    uid: str


def read_dicom(entry: SeriesEntry, config: CohortConfig) -> SourceVolume:
    """The volume of a DICOM entry.

    Raises:
        ScanError: why it is no clean volume.
        ServiceError: the source does not answer.
    """
    pictures: list[_Picture] = []
    columns: dict[str, Any] = {"lossy": False}
    for file in entry.files:
        dataset = _read(file, config)
        columns["transfer_syntax"] = str(dataset.file_meta.get("TransferSyntaxUID", "")) or None
        columns["lossy"] = columns["lossy"] or is_lossy(dataset)
        pictures += _pictures(dataset, file)
    unique, copies = _without_copies(pictures)
    grid, place = _grid(unique)
    columns |= {"n_instances": len(entry.files), "n_duplicates": copies}
    columns |= {"computed_spacing_mm": place.step_mm, "slice_spacing_max_error_mm": place.max_error_mm}
    voxels = np.stack([unique[i].stored for i in place.order])
    slopes = np.array([unique[i].slope for i in place.order])
    intercepts = np.array([unique[i].intercept for i in place.order])
    return SourceVolume(Volume(rescale(voxels, slopes, intercepts), grid), columns)


def _read(file: SeriesFile, config: CohortConfig) -> Dataset:
    data = read_file(file.uri, storage_options=config.storage_options)
    try:
        dataset = dcmread(BytesIO(data), force=True)
    except Exception:
        raise ScanError(Reason.UNREADABLE, "a file of the series is damaged: fetch it again") from None
    if not hasattr(dataset, "file_meta"):
        raise ScanError(Reason.UNREADABLE, "a file of the series has no file meta information")
    return dataset


def _pictures(dataset: Dataset, file: SeriesFile) -> Iterator[_Picture]:
    frames = frames_of(dataset)
    stored = stored_frames(dataset)
    slopes, intercepts = rescale_of(dataset, len(stored))
    if len(frames) != len(stored):
        raise ScanError(
            Reason.NO_GEOMETRY, f"a file holds {len(stored)} frames and says where {len(frames)} of them lie"
        )
    uid = str(dataset.get("SOPInstanceUID", ""))
    for number in file.frames if file.frames is not None else range(len(stored)):
        yield _Picture(frames[number], stored[number], slopes[number], intercepts[number], uid)


def _without_copies(pictures: list[_Picture]) -> tuple[list[_Picture], int]:
    """Leave out copies: the same place and the same pixels."""
    kept: dict[Any, list[_Picture]] = {}
    copies = 0
    for picture in pictures:
        same = kept.setdefault(picture.frame.position, [])
        if any(_equal(picture, other) for other in same):
            copies += 1
        else:
            same.append(picture)
    return [picture for same in kept.values() for picture in same], copies


def _equal(one: _Picture, other: _Picture) -> bool:
    return (one.slope, one.intercept) == (other.slope, other.intercept) and np.array_equal(one.stored, other.stored)


def _grid(pictures: list[_Picture]) -> tuple[Grid, Stack]:
    first = pictures[0].frame
    frames = [p.frame for p in pictures]
    if any(f.position is None or f.orientation is None or f.spacing is None for f in frames):
        raise ScanError(Reason.NO_GEOMETRY, "position, orientation or pixel spacing is missing")
    shapes = {(p.stored.shape, p.frame.spacing) for p in pictures}
    if len({s for s, _ in shapes}) > 1:
        raise ScanError(Reason.MIXED_SHAPES, f"slices come in {len(shapes)} sizes or pixel spacings")
    orientation = np.array(first.orientation)
    if not all(are_parallel(orientation, np.array(f.orientation)) for f in frames):
        raise ScanError(Reason.MIXED_ORIENTATIONS, "slices point in different directions")
    if len(pictures) == 1:
        raise ScanError(Reason.SINGLE_SLICE, "the series has one slice")
    place = stack(np.array([f.position for f in frames]), orientation)
    if place.is_tilted:
        raise ScanError(Reason.GANTRY_TILT, "the gantry was tilted")
    lowest = frames[place.order[0]]
    rows, columns = pictures[0].stored.shape
    grid = Grid(
        shape=(len(frames), rows, columns),
        spacing_mm=(place.step_mm, first.spacing[0], first.spacing[1]),  # type: ignore[index]
        origin_mm=lowest.position,  # type: ignore[arg-type]
        direction=tuple(axes(orientation).ravel().tolist()),
    )
    return grid, place
