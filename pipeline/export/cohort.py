"""A store's results written out: tables, masks, and what an archive takes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pyarrow as pa

from pipeline.export.destination import Destination
from pipeline.export.dicom_objects import NotExportedError, export_dicom, require_highdicom, source_headers
from pipeline.export.nifti import describe_dataset, export_nifti
from pipeline.export.scans import ExportScan, find_scans, masks_of, with_lesions
from pipeline.export.source_images import source_addresses
from pipeline.export.tables import export_tables
from pipeline.query import connect, recipe_named
from pipeline.query.output import as_csv
from pipeline.store import Store

Kind = Literal["tables", "nifti", "dicom"]
KINDS: tuple[Kind, ...] = ("tables", "nifti", "dicom")
"""What there is to write."""

_LIST = pa.schema([(name, pa.string()) for name in ("recipe_id", "series_key", "kind", "path", "reason")])


@dataclass
class ExportSummary:
    """What was written, and what was not."""

    rows: dict[str, int] = field(default_factory=dict)
    """Rows of each table."""
    n_scans: int = 0
    """Scans with masks."""
    n_files: int = 0
    """Files of masks, SEG and SR."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Scans without DICOM objects, by reason (`pipeline.export.dicom_objects.REASONS`)."""


def export_store(
    store: Store,
    destination: str,
    *,
    kinds: Sequence[Kind] = KINDS,
    segmentation: Literal["BINARY", "LABELMAP"] = "BINARY",
    recipe_ids: Sequence[str] | None = None,
    storage_options: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ExportSummary:
    """Write results to a folder or a prefix of an object storage; `exported.csv` there lists every file and omission.

    SEG and SR carry the patient's identity of the source's images, for they go back to where those lie.

    Args:
        store: holds the results.
        destination: folder or `s3://bucket/prefix`; files there are written over.
        kinds: what to write.
        segmentation: BINARY, or LABELMAP for those who can read it.
        recipe_ids: which recipes, by their first digits; None for all.
        storage_options: for fsspec, for the destination and the source's images.
        progress: told the scans done and all scans to do.

    Raises:
        RequestError: DICOM is asked for and highdicom is missing, a recipe has no result, or the destination cannot be
            written to.
        StoreError: a mask is damaged.
        ServiceError: a service was not there.
    """
    if "dicom" in kinds:
        require_highdicom()
    target, summary = Destination(destination, storage_options or {}), ExportSummary()
    written: list[dict[str, str | None]] = []
    with connect(store) as connection:
        recipe_ids = None if recipe_ids is None else [recipe_named(connection, name) for name in recipe_ids]
        if "tables" in kinds:
            summary.rows = export_tables(connection, target, recipe_ids)
        scans = find_scans(connection, recipe_ids) if {"nifti", "dicom"} & set(kinds) else []
        addresses = source_addresses(store) if "dicom" in kinds else {}
        lesions_of = with_lesions(connection, scans) if "dicom" in kinds else ((scan, []) for scan in scans)
        for number, (scan, lesions) in enumerate(lesions_of, 1):
            masks = masks_of(store, scan)
            if masks is not None and "nifti" in kinds:
                written += [_line(scan, "nifti", path=path) for path in export_nifti(scan, masks, target)]
            if masks is not None and "dicom" in kinds:
                try:
                    sources = source_headers(scan, addresses, storage_options or {})
                    paths = export_dicom(scan, masks, lesions, sources, target, segmentation=segmentation)
                    written += [_line(scan, "dicom", path=path) for path in paths]
                except NotExportedError as reason:
                    written.append(_line(scan, "dicom", reason=str(reason)))
                    summary.skipped[str(reason)] += 1
            if progress is not None:
                progress(number, len(scans))
    if "nifti" in kinds:
        for recipe_id in sorted({scan.recipe_id for scan in scans}):
            describe_dataset(recipe_id, target)
    summary.n_scans, summary.n_files = len(scans), sum(line["path"] is not None for line in written)
    target.write("exported.csv", as_csv(pa.Table.from_pylist(written, schema=_LIST)))
    return summary


def _line(scan: ExportScan, kind: str, *, path: str | None = None, reason: str | None = None) -> dict[str, str | None]:
    keys = {"recipe_id": scan.recipe_id, "series_key": scan.series_key}
    return {**keys, "kind": kind, "path": path, "reason": reason}
