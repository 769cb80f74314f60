"""Masks as DICOM structure sets (RTSTRUCT): closed outlines on parallel planes, filled voxel by voxel."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from pipeline.errors import ScanError
from pipeline.grid import Floats, Grid
from pipeline.mask_sources.planes import ON_PLANE, axis_along, claim, stack_grid, step_between
from pipeline.mask_sources.rasterise import fill
from pipeline.mask_sources.source import References, SourceMask, level_by_name
from schemas.reasons import Reason

SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
"""RT Structure Set Storage."""

_CLOSED = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR"}
_NO_SCAN = Grid((1, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
"""Gives the resolution of 1 mm to outlines without a scan."""

_FLAT_MM = 0.1
"""How far corners of an outline may stray from their common plane."""


@dataclass(frozen=True)
class _Outline:
    """One closed outline of a region."""

    value: int
    points_mm: Floats
    """(n, 3), x, y, z in LPS."""


def read_contours(
    dataset: Dataset, *, scan_grid: Grid | None, merge: bool, segments: str | None
) -> tuple[SourceMask, References]:
    """A mask from an RTSTRUCT; each chosen region of interest becomes a value, numbered in the file's order from 1.

    Where the outlines lie on the slices of the scan they are filled on its own grid; else on planes of their own, with
    the scan's resolution (1 mm without a scan), to be resampled.

    Raises:
        ScanError: MASK_VALUES (no closed outline, regions that share voxels), MASK_GRID (outlines that are not flat,
            not parallel, or unevenly spaced).
    """
    regions = _chosen_regions(dataset, segments)
    outlines = _outlines(dataset, regions)
    normal = _common_normal(outlines)
    along = np.array([float(np.mean(outline.points_mm @ normal)) for outline in outlines])
    grid = _on_slices(scan_grid, normal, along) if scan_grid else None
    grid = grid or _own_planes(outlines, normal, along, scan_grid or _NO_SCAN)
    values = np.zeros(grid.shape, dtype=np.uint16)
    _draw(outlines, grid, normal, values, merge=merge)
    levels = {value: level for value, name in regions.values() if (level := level_by_name(name))}
    return SourceMask(values, grid, levels), _references(dataset, set(regions))


def _draw(outlines: list[_Outline], grid: Grid, normal: Floats, values: np.ndarray, *, merge: bool) -> None:
    axis = axis_along(grid, normal)
    axis = 0 if axis is None else axis
    planes: dict[tuple[int, int], list[Floats]] = {}
    for outline in outlines:
        index = grid.to_index(outline.points_mm)
        plane = int(np.rint(index[:, axis].mean()))
        if 0 <= plane < grid.shape[axis]:
            planes.setdefault((plane, outline.value), []).append(np.delete(index, axis, axis=1))
    by_plane = np.moveaxis(values, axis, 0)
    for (plane, value), corners in planes.items():
        claim(by_plane[plane], fill(corners, by_plane.shape[1:]), value, merge=merge)


def _chosen_regions(dataset: Dataset, pattern: str | None) -> dict[int, tuple[int, str]]:
    """ROI number to its value and its name."""
    named = [
        (int(item.ROINumber), str(item.get("ROIName", "")))
        for item in dataset.get("StructureSetROISequence") or []
        if pattern is None or re.search(pattern, str(item.get("ROIName", "")), re.IGNORECASE)
    ]
    drawn = {
        int(item.ReferencedROINumber)
        for item in dataset.get("ROIContourSequence") or []
        if any(_is_closed(contour) for contour in item.get("ContourSequence") or [])
    }
    chosen = [(number, name) for number, name in named if number in drawn]
    if not chosen:
        raise ScanError(
            Reason.MASK_VALUES,
            f"of {len(dataset.get('StructureSetROISequence') or [])} regions none that is asked for has a closed "
            "outline: check `segments`, and that the structure set holds contours",
        )
    return {number: (value, name) for value, (number, name) in enumerate(chosen, 1)}


def _is_closed(contour: Dataset) -> bool:
    return contour.get("ContourGeometricType") in _CLOSED and len(contour.get("ContourData") or []) >= 9


def _outlines(dataset: Dataset, regions: dict[int, tuple[int, str]]) -> list[_Outline]:
    return [
        _Outline(regions[number][0], np.array(contour.ContourData, dtype=np.float64).reshape(-1, 3))
        for item in dataset.ROIContourSequence
        if (number := int(item.ReferencedROINumber)) in regions
        for contour in item.ContourSequence
        if _is_closed(contour)
    ]


def _common_normal(outlines: list[_Outline]) -> Floats:
    """The unit normal that all outlines share."""
    largest = max(outlines, key=lambda outline: np.ptp(outline.points_mm, axis=0).max())
    centred = largest.points_mm - largest.points_mm.mean(axis=0)
    normal = np.linalg.svd(centred, full_matrices=False)[2][2]
    normal = normal * np.sign(normal[np.abs(normal).argmax()])
    stray = max(float(np.ptp(outline.points_mm @ normal)) for outline in outlines)
    if stray > 2 * _FLAT_MM:
        raise ScanError(
            Reason.MASK_GRID,
            f"the outlines are not flat or not parallel: corners stray {stray:.1f} mm from a plane",
        )
    return normal


def _on_slices(scan_grid: Grid, normal: Floats, along: Floats) -> Grid | None:
    """The scan's grid, where each outline lies on one of its slices and neighbouring slices are used."""
    axis = axis_along(scan_grid, normal)
    if axis is None:
        return None
    step = scan_grid.spacing_mm[axis]
    steps = (along - float(np.asarray(scan_grid.origin_mm) @ normal)) / step
    used = np.unique(np.rint(steps))
    thick = used.size > 1 and np.diff(used).min() > 1
    return None if thick or np.abs(steps - np.rint(steps)).max() > ON_PLANE else scan_grid


def _own_planes(outlines: list[_Outline], normal: Floats, along: Floats, scan_grid: Grid) -> Grid:
    axis = axis_along(scan_grid, normal)
    same_direction = axis is not None and scan_grid is not _NO_SCAN
    stated = scan_grid.spacing_mm[axis] if axis is not None and same_direction else None
    step = step_between(along, stated_mm=stated, scan_mm=None)
    points = np.concatenate([outline.points_mm for outline in outlines])
    row_axis = _in_plane_axis(scan_grid, normal)
    column_axis = np.cross(normal, row_axis)
    pixel = min(scan_grid.spacing_mm)
    low = np.array([(points @ row_axis).min(), (points @ column_axis).min()]) - pixel
    high = np.array([(points @ row_axis).max(), (points @ column_axis).max()]) + pixel
    n_columns, n_rows = (np.ceil((high - low) / pixel).astype(int) + 1).tolist()
    return stack_grid(
        corner_mm=low[0] * row_axis + low[1] * column_axis + along.min() * normal,
        row_axis=row_axis,
        column_axis=column_axis,
        shape=(int(np.rint(np.ptp(along) / step)) + 1, n_rows, n_columns),
        spacing_mm=np.array([step, pixel, pixel]),
    )


def _in_plane_axis(scan_grid: Grid, normal: Floats) -> Floats:
    """The axis of the scan that lies most nearly in the plane, made to lie in it."""
    axes = np.reshape(scan_grid.direction, (3, 3)).T
    axis = axes[np.abs(axes @ normal).argmin()]
    flat = axis - (axis @ normal) * normal
    return flat / np.linalg.norm(flat)


def _references(dataset: Dataset, regions: set[int]) -> References:
    references = References()
    for item in dataset.get("StructureSetROISequence") or []:
        if int(item.ROINumber) in regions and item.get("ReferencedFrameOfReferenceUID"):
            references.frames_of_reference.add(str(item.ReferencedFrameOfReferenceUID))
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            references.series |= {
                str(series.SeriesInstanceUID) for series in study.get("RTReferencedSeriesSequence") or []
            }
    for item in dataset.get("ROIContourSequence") or []:
        if int(item.ReferencedROINumber) in regions:
            references.instances |= {
                str(image.ReferencedSOPInstanceUID)
                for contour in item.get("ContourSequence") or []
                for image in contour.get("ContourImageSequence") or []
            }
    return references
