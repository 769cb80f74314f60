"""A scan's SEG and SR, or the reason why there are none."""

from __future__ import annotations

from typing import Any

from pydicom import Dataset

from pipeline.errors import RequestError, ScanError
from pipeline.export.destination import Destination
from pipeline.export.scans import ExportScan, Masks
from pipeline.export.source_images import Addresses, read_headers

REASONS = {
    "no_source_dicom": "The scan was not made of DICOM images, to which a SEG or an SR could refer.",
    "source_gone": "Its source images cannot be read any more.",
    "source_incomplete": "The headers of its images lack what a SEG or an SR must carry.",
    "no_lesions": "The scan has no lesion; an empty SEG is not allowed (PS3.3 A.51).",
}
"""Why a scan has no DICOM objects, and what that means."""


class NotExportedError(Exception):
    """A scan has no DICOM objects, for one of `REASONS`."""


def require_highdicom() -> None:
    """See whether highdicom is installed.

    Raises:
        RequestError: it is not.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise RequestError("DICOM export needs highdicom: pip install 'spinetally[export]'") from error


def source_headers(scan: ExportScan, addresses: Addresses, storage_options: dict[str, Any]) -> list[Dataset]:
    """The headers of the images that a scan was made of.

    Raises:
        NotExportedError: no_source_dicom or source_gone.
        ServiceError: the service that holds them does not answer.
    """
    try:
        headers = read_headers(addresses.get(scan.series_key) or (), storage_options)
    except ScanError as error:
        raise NotExportedError("source_gone") from error
    if not headers:
        raise NotExportedError("no_source_dicom")
    return headers


def export_dicom(
    scan: ExportScan,
    masks: Masks,
    lesions: list[dict[str, Any]],
    sources: list[Dataset],
    destination: Destination,
    *,
    segmentation: str = "BINARY",
) -> list[str]:
    """Write SEG of lesions and of levels, and SR of the lesions; their paths.

    Raises:
        NotExportedError: no_lesions where there is nothing to write at all, or source_incomplete.
    """
    from pipeline.export.completed import complete
    from pipeline.export.measurement_report import make_report
    from pipeline.export.segmentation import as_file, lesion_segments, level_segments, make_segmentation

    kind: Any = segmentation
    made: dict[str, Dataset] = {}
    try:
        complete(sources, masks.grid)
        if masks.lesions is not None and lesions:
            segments = lesion_segments(scan, masks.lesions, lesions)
            made["lesions.seg"] = make_segmentation(scan, segments, masks.grid, sources, kind)
            made["lesions.sr"] = make_report(scan, lesions, made["lesions.seg"], sources)
        if masks.levels is not None and masks.levels.any():
            segments = level_segments(scan, masks.levels)
            made["levels.seg"] = make_segmentation(scan, segments, masks.grid, sources, kind)
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        raise NotExportedError("source_incomplete") from error
    if not made:
        raise NotExportedError("no_lesions")
    folder = f"dicom/{scan.patient_key}/{scan.study_key}/{scan.series_key}"
    return [destination.write(f"{folder}/{scan.recipe_id}_{name}.dcm", as_file(found)) for name, found in made.items()]
