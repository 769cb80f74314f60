"""Read the reference standard of one series, bring it onto its volume, and keep it under `truth/`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.errors import ScanError
from pipeline.evaluate.sources import TruthSource
from pipeline.grid import Grid
from pipeline.identity import Identity
from pipeline.mask_sources import ScanIdentity, read_as_drawn, read_mask
from pipeline.masks import LesionMask
from pipeline.store import Store
from pipeline.store.volumes import grid_of, write_labels
from schemas.evaluation import MASKS


@dataclass(frozen=True)
class ReferenceRequest:
    """One annotation to read; small, and can be sent to a worker."""

    source: TruthSource
    """What to read."""
    source_id: str
    """Its hash."""
    series: dict[str, Any] | None
    """The series' row of the catalog, if it has one; without a volume lesions are counted, not placed."""


def read_reference(
    request: ReferenceRequest, *, store: Store, attempt: str, storage_options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The row of `schemas.evaluation.REFERENCES`; what is wrong with an annotation is said in it.

    Raises:
        ServiceError: the store or the object storage does not answer.
    """
    source, series = request.source, request.series or {}
    row: dict[str, Any] = {
        "series_key": source.series_key,
        "study_key": source.study_key,
        "patient_key": source.patient_key,
        "version": series.get("version"),
        "reader": source.reader,
        "attempt": attempt,
        "split": source.split,
        "source_id": request.source_id,
        "form": "masks" if source.uri is not None else "points",
    }
    try:
        found = _read(request, store, attempt, storage_options)
    except ScanError as error:
        found = {"status": "failed", "reason_code": str(error.reason), "reason": error.sentence}
    return row | found | {"finished_at": datetime.now(UTC)}


def _read(
    request: ReferenceRequest, store: Store, attempt: str, storage_options: dict[str, Any] | None
) -> dict[str, Any]:
    source, series = request.source, request.series or {}
    grid = grid_of(series, tuple(series["shape"])) if series.get("volume_uri") else None
    if source.uri is None:
        return _points(source, grid)
    if grid is None:
        labels, own = read_as_drawn(source.uri, storage_options=storage_options)
        volume_mm3 = np.count_nonzero(labels) * own.voxel_mm3
        return {"status": "unplaced", "n_lesions": int(labels.max(initial=0)), "volume_mm3": volume_mm3}
    mask = read_mask(source.uri, grid=grid, storage_options=storage_options, scan=_in_dicom(series, store))
    group = f"{MASKS}/{source.series_key}/{attempt}-{source.reader}"
    write_labels(store, group, grid=grid, lesions=mask.instances, levels=None)
    return _counted(mask, grid) | {"labels_uri": group}


def _in_dicom(series: dict[str, Any], store: Store) -> ScanIdentity | None:
    """What a DICOM scan is called, as keys, to refuse an annotation of other images; None for other scans."""
    if series.get("frame_of_reference_key") is None:
        return None
    return ScanIdentity(
        series=series["series_uid_key"],
        frame_of_reference=series["frame_of_reference_key"],
        key=Identity.of(store).uid_key,
    )


def _counted(mask: LesionMask, grid: Grid) -> dict[str, Any]:
    return {
        "status": "ok",
        "n_lesions": int(mask.instances.max(initial=0)),
        "n_outside": len(mask.candidates),
        "volume_mm3": float(np.count_nonzero(mask.instances) * grid.voxel_mm3),
    }


def _points(source: TruthSource, grid: Grid | None) -> dict[str, Any]:
    points = source.points or ()
    if grid is None:
        return {"status": "unplaced", "n_lesions": len(points)}
    on_grid = grid.to_index([point[:3] for point in points]) if points else np.zeros((0, 3))
    inside = np.all((on_grid > -0.5) & (on_grid < np.array(grid.shape) - 0.5), axis=1)
    kept = [point for point, is_in in zip(points, inside, strict=True) if is_in]
    return {
        "status": "ok",
        "n_lesions": len(kept),
        "n_outside": len(points) - len(kept),
        "points_mm": [coordinate for point in kept for coordinate in point],
    }
