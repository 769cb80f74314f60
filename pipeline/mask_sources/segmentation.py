"""Masks as DICOM segmentations (SEG): binary, fractional with nothing between, and label maps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels

from pipeline.errors import ScanError
from pipeline.grid import Floats, Grid
from pipeline.mask_sources.planes import axis_along, claim, stack_grid, step_between
from pipeline.mask_sources.source import References, SourceMask, level_by_code, level_by_name
from schemas.reasons import Reason

SOP_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""Segmentation Storage, Label Map Segmentation Storage."""


@dataclass(frozen=True)
class _Frame:
    """One plane of one segment."""

    index: int
    segment: int | None
    """Its number; None in a label map, whose values are the numbers."""
    position_mm: Floats
    """Centre of its first voxel, x, y, z."""
    along_mm: float
    """Where it lies along the normal."""
    sources: tuple[str, ...]
    """SOPInstanceUIDs of the images it was drawn on."""


def read_segmentation(
    dataset: Dataset, *, scan_grid: Grid | None, merge: bool, segments: str | None
) -> tuple[SourceMask, References]:
    """A mask from a SEG; each chosen segment becomes a value, numbered in the file's order from 1.

    Args:
        dataset: the whole SEG.
        scan_grid: grid of the scan, if any: tells how far apart planes are where the SEG leaves some out.
        merge: whether segments may share voxels, because they are joined anyway.
        segments: regular expression that a segment's label must hold; None takes all.

    Raises:
        ScanError: MASK_GRID, MASK_VALUES, CODEC_UNSUPPORTED, UNREADABLE.
    """
    chosen = _chosen_segments(dataset, segments)
    row_axis, column_axis, spacing_mm, stated_mm = _plane_geometry(dataset)
    normal = np.cross(row_axis, column_axis)
    frames = [frame for frame in _frames(dataset, normal) if frame.segment is None or frame.segment in chosen]
    if not frames:
        raise ScanError(Reason.MASK_VALUES, "the segmentation holds no frame of the segments asked for")
    along = np.array([frame.along_mm for frame in frames])
    step_mm = step_between(along, stated_mm=stated_mm, scan_mm=_scan_step(scan_grid, normal))
    first = frames[int(along.argmin())]
    n_planes = int(np.rint((along.max() - along.min()) / step_mm)) + 1
    in_plane = np.stack([column_axis, row_axis]) * spacing_mm[:, None]
    shifts = _shifts(frames, first, in_plane)
    low, high = shifts.min(axis=0), shifts.max(axis=0)
    grid = stack_grid(
        corner_mm=first.position_mm + low @ in_plane,
        row_axis=row_axis,
        column_axis=column_axis,
        shape=(n_planes, int(dataset.Rows + high[0] - low[0]), int(dataset.Columns + high[1] - low[1])),
        spacing_mm=np.array([step_mm, *spacing_mm]),
    )
    values = np.zeros(grid.shape, dtype=np.uint16)
    places = [int(np.rint((frame.along_mm - first.along_mm) / step_mm)) for frame in frames]
    drawn = _draw(
        dataset, frames, [values[place, y:, x:] for place, (y, x) in zip(places, shifts - low, strict=True)], chosen,
        merge=merge,
    )  # fmt: skip
    levels = {value: level for number, value in chosen.items() if (level := _level(_segment(dataset, number)))}
    return SourceMask(values, grid, levels), _references(dataset, drawn)


def _shifts(frames: list[_Frame], first: _Frame, in_plane: Floats) -> npt.NDArray[np.int64]:
    """(n, 2) displacement of each frame against the first within the plane, in whole rows and columns.

    Frames on a scan of a tilted gantry are displaced, for they have the places of its own images.

    Args:
        frames: the frames.
        first: the one of them that the others are held against.
        in_plane: (2, 3) the step from row to row and from column to column, mm.
    """
    steps = in_plane / np.square(in_plane).sum(axis=1, keepdims=True)
    moved = np.array([frame.position_mm - first.position_mm for frame in frames])
    return np.rint(moved @ steps.T).astype(np.int64)


def _draw(
    dataset: Dataset,
    frames: list[_Frame],
    planes: list[npt.NDArray[np.uint16]],
    chosen: dict[int, int],
    *,
    merge: bool,
) -> list[_Frame]:
    """Write each frame into the first rows and columns of its plane; those that hold something."""
    largest = int(dataset.get("MaximumFractionalValue", 1)) if dataset.get("SegmentationType") == "FRACTIONAL" else 1
    drawn = []
    for frame, whole, pixels in zip(frames, planes, _pixels(dataset, [f.index for f in frames]), strict=True):
        if not pixels.any():
            continue
        drawn.append(frame)
        plane = whole[: pixels.shape[0], : pixels.shape[1]]
        if frame.segment is None:
            for number in np.unique(pixels[pixels != 0]):
                if int(number) in chosen:
                    claim(plane, pixels == number, chosen[int(number)], merge=merge)
        else:
            if not np.isin(pixels, (0, largest)).all():
                raise ScanError(
                    Reason.MASK_VALUES, "the segmentation is fractional: threshold it, a mask has whole numbers"
                )
            claim(plane, pixels != 0, chosen[frame.segment], merge=merge)
    return drawn


def _pixels(dataset: Dataset, indices: list[int]) -> Iterator[npt.NDArray[Any]]:
    try:
        yield from iter_pixels(dataset, indices=indices)
    except (RuntimeError, NotImplementedError) as error:
        syntax = dataset.file_meta.TransferSyntaxUID
        raise ScanError(
            Reason.CODEC_UNSUPPORTED, f"the segmentation is encoded as {syntax.name}, which cannot be decoded here"
        ) from error


def _chosen_segments(dataset: Dataset, pattern: str | None) -> dict[int, int]:
    """Segment number to its value: 1 ... n in the file's order."""
    items = [
        item
        for item in dataset.get("SegmentSequence") or []
        if pattern is None or re.search(pattern, str(item.get("SegmentLabel", "")), re.IGNORECASE)
    ]
    numbers = [int(item.SegmentNumber) for item in items if int(item.SegmentNumber) > 0]
    if not numbers:
        raise ScanError(
            Reason.MASK_VALUES,
            f"none of the {len(dataset.get('SegmentSequence') or [])} segments is asked for: check `segments`",
        )
    return {number: value for value, number in enumerate(numbers, 1)}


def _segment(dataset: Dataset, number: int) -> Dataset:
    return next(item for item in dataset.SegmentSequence if int(item.SegmentNumber) == number)


def _level(segment: Dataset) -> int | None:
    for sequence in ("AnatomicRegionSequence", "SegmentedPropertyTypeCodeSequence"):
        for code in segment.get(sequence) or []:
            level = level_by_code(str(code.get("CodeValue", "")), str(code.get("CodingSchemeDesignator", "")))
            if level:
                return level
    return level_by_name(str(segment.get("SegmentLabel", "")))


def _plane_geometry(dataset: Dataset) -> tuple[Floats, Floats, Floats, float | None]:
    """Row axis, column axis, spacing of rows and columns, and the stated distance of planes."""
    shared = _item(dataset, "SharedFunctionalGroupsSequence")
    frame = _item(dataset, "PerFrameFunctionalGroupsSequence")
    orientation, measures = (
        _item(shared, name) or _item(frame, name) for name in ("PlaneOrientationSequence", "PixelMeasuresSequence")
    )
    cosines = orientation.get("ImageOrientationPatient") if orientation else None
    spacing = measures.get("PixelSpacing") if measures else None
    if not measures or not cosines or not spacing:
        raise ScanError(Reason.MASK_GRID, "the segmentation does not say how its planes lie (orientation or spacing)")
    stated = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    axes = np.array(cosines, dtype=np.float64).reshape(2, 3)
    return axes[0], axes[1], np.array(spacing, dtype=np.float64), float(stated) if stated else None


def _frames(dataset: Dataset, normal: Floats) -> list[_Frame]:
    shared = _item(dataset, "SharedFunctionalGroupsSequence") or Dataset()
    is_label_map = dataset.get("SegmentationType") == "LABELMAP"
    frames = []
    for index, group in enumerate(dataset.get("PerFrameFunctionalGroupsSequence") or []):
        position = (_item(group, "PlanePositionSequence") or _item(shared, "PlanePositionSequence") or Dataset()).get(
            "ImagePositionPatient"
        )
        named = _item(group, "SegmentIdentificationSequence") or _item(shared, "SegmentIdentificationSequence")
        if position is None or (named is None and not is_label_map):
            raise ScanError(Reason.MASK_GRID, f"frame {index + 1} of the segmentation has no position or no segment")
        point = np.array(position, dtype=np.float64)
        sources = tuple(
            str(source.ReferencedSOPInstanceUID)
            for derivation in group.get("DerivationImageSequence") or []
            for source in derivation.get("SourceImageSequence") or []
        )
        segment = None if is_label_map or named is None else int(named.ReferencedSegmentNumber)
        frames.append(_Frame(index, segment, point, float(point @ normal), sources))
    return frames


def _item(dataset: Dataset | None, name: str) -> Dataset | None:
    sequence = (dataset or Dataset()).get(name)
    return sequence[0] if sequence else None


def _scan_step(scan_grid: Grid | None, normal: Floats) -> float | None:
    axis = axis_along(scan_grid, normal) if scan_grid else None
    return None if axis is None or scan_grid is None else scan_grid.spacing_mm[axis]


def _references(dataset: Dataset, drawn: list[_Frame]) -> References:
    series = dataset.get("ReferencedSeriesSequence") or []
    images = {source for frame in drawn for source in frame.sources} or {
        str(image.ReferencedSOPInstanceUID) for item in series for image in item.get("ReferencedInstanceSequence") or []
    }
    frame_of_reference = dataset.get("FrameOfReferenceUID")
    return References(
        series={str(item.SeriesInstanceUID) for item in series},
        instances=images,
        frames_of_reference={str(frame_of_reference)} if frame_of_reference else set(),
    )
