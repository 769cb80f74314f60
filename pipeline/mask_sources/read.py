"""Read a mask that exists already and bring it onto its scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pydicom

from pipeline.dicom.quiet import quiet
from pipeline.errors import ScanError
from pipeline.grid import Grid
from pipeline.mask_sources.contours import SOP_CLASS, read_contours
from pipeline.mask_sources.fetch import local_file
from pipeline.mask_sources.image_file import SUFFIXES, read_image
from pipeline.mask_sources.instances import LabelKind, counts, lesion_instances, present, relabel
from pipeline.mask_sources.placement import keep_small, place, volume_changes
from pipeline.mask_sources.planes import MAX_VOXELS
from pipeline.mask_sources.segmentation import SOP_CLASSES, read_segmentation
from pipeline.mask_sources.source import Labels, References, ScanIdentity, SourceMask
from pipeline.masks import LesionMask, LevelMask
from schemas.label_tables import LABEL_TABLES
from schemas.reasons import Reason
from schemas.spine import is_named, level_number

MaskKind = Literal["lesions", "levels"]
"""What a mask shows."""


@overload
def read_mask(
    uri: str,
    *,
    grid: Grid,
    kind: Literal["lesions"] = ...,
    storage_options: dict[str, Any] | None = ...,
    labels: LabelKind = ...,
    segments: str | None = ...,
    scan: ScanIdentity | None = ...,
    max_voxels: int = ...,
) -> LesionMask: ...
@overload
def read_mask(
    uri: str,
    *,
    grid: Grid,
    kind: Literal["levels"],
    storage_options: dict[str, Any] | None = ...,
    label_table: str = ...,
    segments: str | None = ...,
    scan: ScanIdentity | None = ...,
    max_voxels: int = ...,
) -> LevelMask: ...
def read_mask(
    uri: str,
    *,
    grid: Grid,
    kind: MaskKind = "lesions",
    storage_options: dict[str, Any] | None = None,
    labels: LabelKind = "auto",
    label_table: str = "verse",
    segments: str | None = None,
    scan: ScanIdentity | None = None,
    max_voxels: int = MAX_VOXELS,
) -> LesionMask | LevelMask:
    """Read a mask and bring it onto the grid of its scan.

    A mask whose voxel centres are the scan's (within 1e-3 voxel, whatever the order of its axes) is used voxel by
    voxel; one elsewhere in the same patient space is resampled to the nearest voxel, with the change in volume.

    Args:
        uri: NIfTI, NRRD, MetaImage, DICOM SEG or RTSTRUCT; a file, or a folder that holds nothing else. Local or S3.
        grid: of the scan.
        kind: what the mask shows.
        storage_options: for fsspec.
        labels: lesions: whether values are instances (`pipeline.mask_sources.instances`).
        label_table: levels: what values mean (`schemas.label_tables`); a SEG or RTSTRUCT that names levels needs none.
        segments: SEG and RTSTRUCT: regular expression that picks segments by label; None takes all.
        scan: what the scan is called in DICOM, to refuse a SEG or RTSTRUCT of other images.
        max_voxels: an image that asks for more is refused; as `limits.max_voxels`.

    Raises:
        ScanError: MASK_MISSING, UNREADABLE, TOO_LARGE, CODEC_UNSUPPORTED, MASK_VALUES, MASK_GRID, GEOMETRY_CONFLICT,
            MASK_REFERENCE.
        ServiceError: the object storage does not answer.
    """
    merge = kind == "lesions" and labels == "binary"
    source, references = _read(uri, storage_options, grid, merge=merge, segments=segments, max_voxels=max_voxels)
    references.check(scan)
    return _lesions(source, grid, labels) if kind == "lesions" else _levels(source, grid, label_table)


def read_as_drawn(
    uri: str,
    *,
    storage_options: dict[str, Any] | None = None,
    labels: LabelKind = "auto",
    segments: str | None = None,
    max_voxels: int = MAX_VOXELS,
) -> tuple[Labels, Grid]:
    """Lesions 1 ... n on the grid of their own file, for a scan that has no volume to bring them onto.

    Arguments and errors are those of `read_mask`.
    """
    source, _ = _read(uri, storage_options, None, merge=labels == "binary", segments=segments, max_voxels=max_voxels)
    return lesion_instances(source.values, kind=labels), source.grid


def _lesions(source: SourceMask, grid: Grid, kind: LabelKind) -> LesionMask:
    instances = lesion_instances(source.values, kind=kind)
    n = int(instances.max(initial=0))
    placed = place(instances, source.grid, grid)
    if not placed.resampled:
        return LesionMask(placed.labels)
    outside = keep_small(instances, source.grid, placed.labels, grid, n)
    change = volume_changes(instances, source.grid, placed.labels, grid, n)
    if not outside:
        return LesionMask(placed.labels, volume_change=change)
    inside = [value for value in range(1, n + 1) if value not in outside]
    return LesionMask(
        relabel(placed.labels, {value: position for position, value in enumerate(inside, 1)}),
        volume_change=np.delete(change, np.array(outside) - 1),
        candidates=_left_out(instances, source.grid, outside),
    )


def _left_out(instances: Labels, grid: Grid, values: list[int]) -> list[dict[str, object]]:
    """Lesions of the mask that lie beyond the scan, as candidates, so that they do not vanish without a word."""
    voxels = counts(instances)
    return [
        {
            "centroid_mm": grid.to_lps(np.argwhere(instances == value).mean(axis=0)).tolist(),
            "volume_mm3": float(voxels[value]) * grid.voxel_mm3,
            "why_not": "outside",
        }
        for value in values
    ]


def _levels(source: SourceMask, grid: Grid, label_table: str) -> LevelMask:
    numbers = source.levels if source.levels is not None else _numbers_by_table(source.values, label_table)
    unnamed = [value for value in present(source.values) if value not in numbers]
    if unnamed and source.levels is not None:
        raise ScanError(
            Reason.MASK_VALUES,
            f"{len(unnamed)} segments of the mask name no level of the spine (numbers {unnamed[:5]}): "
            "choose segments by their label, or name them C1 ... L5",
        )
    levels = place(relabel(source.values, numbers), source.grid, grid).labels
    named = any(is_named(number) for number in present(levels))
    return LevelMask(levels, anchor="mask" if named else None)


def _numbers_by_table(values: Labels, name: str) -> dict[int, int]:
    table = LABEL_TABLES[name]
    unknown = [value for value in present(values) if value not in table.known]
    if unknown:
        raise ScanError(
            Reason.MASK_VALUES,
            f"the mask holds {unknown[:5]}, which the label table {name!r} does not know: "
            f"choose its table ({', '.join(LABEL_TABLES)})",
        )
    return {value: level_number(level) for value, level in table.levels.items()}


def _read(
    uri: str,
    storage_options: dict[str, Any] | None,
    grid: Grid | None,
    *,
    merge: bool,
    segments: str | None,
    max_voxels: int,
) -> tuple[SourceMask, References]:
    with local_file(uri, storage_options) as path:
        if path.name.lower().endswith(SUFFIXES):
            return read_image(path, max_voxels=max_voxels), References()
        return _read_dicom(path, grid, merge=merge, segments=segments)


def _read_dicom(path: Path, grid: Grid | None, *, merge: bool, segments: str | None) -> tuple[SourceMask, References]:
    try:
        with quiet():
            dataset = pydicom.dcmread(path)
            sop_class = str(dataset.get("SOPClassUID", ""))
            if sop_class in SOP_CLASSES:
                return read_segmentation(dataset, scan_grid=grid, merge=merge, segments=segments)
            if sop_class == SOP_CLASS:
                return read_contours(dataset, scan_grid=grid, merge=merge, segments=segments)
    except (ScanError, MemoryError):
        raise
    except Exception as error:
        # whatever a damaged file makes the reader stumble over; its words may quote the header
        raise ScanError(
            Reason.UNREADABLE, f"the mask cannot be read ({type(error).__name__}): fetch or write the file again"
        ) from None
    raise ScanError(
        Reason.UNREADABLE,
        f"the file is no mask: {', '.join(SUFFIXES)}, DICOM SEG and RTSTRUCT are allowed",
    )
