"""Masks as DICOM SEG on the grid of the scan, with highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from typing import Any, Literal

import highdicom
import numpy as np
import numpy.typing as npt
from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.dicom.quiet import quiet
from pipeline.export import codes
from pipeline.export.completed import has_made_up_frame
from pipeline.export.scans import ExportScan
from pipeline.export.uids import uid_of
from pipeline.grid import Grid
from schemas.spine import level_name

SegmentationType = Literal["BINARY", "LABELMAP"]
"""BINARY is what viewers read; LABELMAP (2024) is one label volume, far smaller, and few read it yet."""

MANUFACTURER = "spinetally"

_SAME_PLACE = 1e-3
"""Of a voxel."""

_SAME_AXIS = 1e-5
"""Of a direction cosine."""


@dataclass(frozen=True)
class Segments:
    """What the segments of an object are; segment n has the value n in `labels`."""

    kind: str
    """lesions or levels."""
    labels: npt.NDArray[np.uint16]
    """[z, y, x], 1 ... n."""
    descriptions: list[highdicom.seg.SegmentDescription]
    """One for each."""


def lesion_segments(scan: ExportScan, labels: npt.NDArray[np.uint16], lesions: Sequence[dict[str, Any]]) -> Segments:
    """A segment for each lesion; its number is the `lesion_id`."""
    descriptions = [
        _described(
            int(lesion["lesion_id"]),
            f"Lesion {lesion['lesion_id']}" + (f", {lesion['level']}" if lesion["level"] not in {None, "none"} else ""),
            codes.ABNORMAL,
            codes.LESION,
            model=scan.lesions_model,
            tracking=(tracking_uid(scan, lesion["lesion_id"]), tracking_id(lesion["lesion_id"])),
            site=codes.site_of(lesion["level"]),
        )
        for lesion in lesions
    ]
    return Segments("lesions", labels, descriptions)


def level_segments(scan: ExportScan, labels: npt.NDArray[np.uint16]) -> Segments:
    """A segment for each level that the mask holds, from head to foot of the numbering."""
    numbers = np.unique(labels)
    numbers = numbers[numbers > 0]
    renumber = np.zeros(int(labels.max(initial=0)) + 1, np.uint16)
    renumber[numbers] = np.arange(1, len(numbers) + 1)
    descriptions = [
        _described(place, name := level_name(int(number)), codes.ANATOMICAL, codes.vertebra(name), scan.levels_model)
        for place, number in enumerate(numbers, 1)
    ]
    return Segments("levels", renumber[labels], descriptions)


def tracking_uid(scan: ExportScan, lesion_id: int) -> str:
    """The same for a lesion in SEG and SR, and each time it is exported."""
    return uid_of("lesion", scan.recipe_id, scan.series_key, scan.version, lesion_id)


def tracking_id(lesion_id: int) -> str:
    """Readable name of a lesion within its scan."""
    return f"lesion-{lesion_id}"


def make_segmentation(
    scan: ExportScan, segments: Segments, grid: Grid, sources: Sequence[Dataset], kind: SegmentationType = "BINARY"
) -> Dataset:
    """The SEG object of some segments.

    Args:
        scan: whose result it is.
        segments: what to write; at least one.
        grid: where the labels lie.
        sources: headers of the images that the scan was made of.
        kind: BINARY or LABELMAP.

    Raises:
        ValueError, AttributeError: the source's headers lack what a SEG needs.
    """
    slices = one_per_slice(sources, grid)
    with quiet():
        made = highdicom.seg.Segmentation(
            source_images=slices or list(sources),
            pixel_array=segments.labels if slices else _volume(segments.labels, grid, sources),
            segmentation_type=kind,
            segment_descriptions=segments.descriptions,
            series_instance_uid=uid_of("series", segments.kind, scan.recipe_id, scan.series_key, scan.version, kind),
            series_number=9001 if segments.kind == "lesions" else 9002,
            sop_instance_uid=uid_of("object", segments.kind, scan.recipe_id, scan.series_key, scan.attempt, kind),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=version("spinetally"),
            device_serial_number=scan.recipe_id,
            content_label=segments.kind.upper(),
            content_description=content_description(scan),
            transfer_syntax_uid=ExplicitVRLittleEndian,
            series_description=series_description(segments.kind, scan, sources),
        )
    return settled(made, scan)


def content_description(scan: ExportScan) -> str:
    """What made it; a grid that is not the source's is marked (64 characters at most)."""
    return (f"recipe {scan.recipe_id}" + (f", derived grid ({scan.derived})" if scan.derived else ""))[:64]


def series_description(kind: str, scan: ExportScan, sources: Sequence[Dataset]) -> str:
    """What it is, and the first digits of its recipe, for an archive lists those of all recipes beside each other; a
    frame of reference that the source does not name is marked (64 characters at most).
    """
    marked = ", made-up frame of reference" if has_made_up_frame(sources[0]) else ""
    return f"{MANUFACTURER} {kind} {scan.recipe_id[:8]}{marked}"


def settled(made: Dataset, scan: ExportScan) -> Dataset:
    """The object with the time of its result in place of that of its export, and no random UID: the same each time."""
    day, moment = f"{scan.finished_at:%Y%m%d}", f"{scan.finished_at:%H%M%S.%f}"
    for name in ("ContentDate", "InstanceCreationDate", "SeriesDate"):
        if name in made:
            setattr(made, name, day)
    for name in ("ContentTime", "InstanceCreationTime", "SeriesTime"):
        if name in made:
            setattr(made, name, moment)
    for item in made.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = day + moment
    organization = uid_of("dimensions", made.SOPInstanceUID)
    for name in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in made.get(name, ()):
            item.DimensionOrganizationUID = organization
    return made


def as_file(made: Dataset) -> bytes:
    """An object as a DICOM file."""
    data = BytesIO()
    with quiet():
        made.save_as(data, enforce_file_format=True)
    return data.getvalue()


def one_per_slice(sources: Sequence[Dataset], grid: Grid) -> list[Dataset] | None:
    """The images in the order of the slices, where each is one of them: no place needs to be searched for then."""
    if len(sources) != grid.shape[0] or any("NumberOfFrames" in image for image in sources):
        return None
    if any((int(image.Rows), int(image.Columns)) != grid.shape[1:] for image in sources):
        return None
    axes = np.reshape(grid.direction, (3, 3))[:, :2].T.ravel()
    if any(np.abs(np.asarray(image.ImageOrientationPatient, float) - axes).max() > _SAME_AXIS for image in sources):
        return None
    index = grid.to_index([[float(x) for x in image.ImagePositionPatient] for image in sources])
    order = np.argsort(index[:, 0])
    straight = np.stack([np.arange(grid.shape[0]), np.zeros(grid.shape[0]), np.zeros(grid.shape[0])], axis=1)
    return [sources[i] for i in order] if np.abs(index[order] - straight).max() < _SAME_PLACE else None


def _volume(labels: npt.NDArray[np.uint16], grid: Grid, sources: Sequence[Dataset]) -> highdicom.Volume:
    return highdicom.Volume(
        np.ascontiguousarray(labels),
        affine=array_affine(grid),
        coordinate_system="PATIENT",
        frame_of_reference_uid=str(sources[0].FrameOfReferenceUID),
    )


def array_affine(grid: Grid) -> npt.NDArray[np.float64]:
    """4 x 4: array index (z, y, x, 1) to LPS in mm, as highdicom's volumes have it."""
    affine = grid.affine.copy()
    affine[:, :3] = affine[:, 2::-1]
    return affine


def _described(
    number: int,
    label: str,
    category: CodedConcept,
    kind: CodedConcept,
    model: str | None,
    tracking: tuple[str, str] | None = None,
    site: CodedConcept | None = None,
) -> highdicom.seg.SegmentDescription:
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm(model),
        tracking_uid=tracking[0] if tracking else None,
        tracking_id=tracking[1] if tracking else None,
        anatomic_regions=[site] if site else None,
    )


def algorithm(model: str | None) -> highdicom.AlgorithmIdentificationSequence:
    """The model by its name and version."""
    name, _, number = (model or "precomputed mask").rpartition(" ")
    return highdicom.AlgorithmIdentificationSequence(name=name, family=codes.ALGORITHM, version=number)
