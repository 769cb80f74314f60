"""The scans to export, with their lesions and all that is needed to write them down."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from pipeline.grid import Grid
from pipeline.store import Store
from pipeline.store.volumes import read_masks

_SCANS = """
SELECT s.recipe_id, s.series_key, s.study_key, s.patient_key, s.modality, s.version, s.attempt, s.labels_uri,
    s.finished_at, c.derived, c.part, r.levels_model, r.lesions_model
FROM scans s JOIN series c USING (series_key) LEFT JOIN recipes r USING (recipe_id)
WHERE s.status = 'ok' AND s.labels_uri IS NOT NULL
ORDER BY s.recipe_id, s.patient_key, s.study_key, s.series_key
"""
_LESIONS = """
SELECT recipe_id, series_key, lesion_id, level, lesion_type, volume_mm3, long_axis_mm, short_axis_mm,
    hu_mean, hu_max, suv_mean, suv_max
FROM lesions WHERE recipe_id IN (SELECT unnest(?)) AND series_key IN (SELECT unnest(?))
ORDER BY recipe_id, series_key, lesion_id
"""

PORTION = 256
"""Scans whose lesions are asked for at once: each question looks at the rows of the whole cohort."""


Labels = npt.NDArray[np.uint16]
"""[z, y, x], 0 is background."""


@dataclass(frozen=True)
class ExportScan:
    """One scan under one recipe, as its rows have it."""

    recipe_id: str
    """Recipe of the result."""
    series_key: str
    """Key of the series."""
    study_key: str
    """Key of the study."""
    patient_key: str
    """Key of the patient."""
    modality: str | None
    """DICOM modality."""
    version: str
    """Version of the series."""
    attempt: str
    """Attempt that made the result."""
    labels_uri: str
    """Group of its masks."""
    finished_at: datetime
    """When the result was made."""
    derived: str | None
    """How its voxels differ from the source's; None if not."""
    part: int
    """Which volume of its series."""
    levels_model: str | None
    """Name and version of the model of levels."""
    lesions_model: str | None
    """Name and version of the model of lesions."""


@dataclass(frozen=True)
class Masks:
    """The masks of a scan."""

    lesions: Labels | None
    """[z, y, x], value is `lesion_id`."""
    levels: Labels | None
    """[z, y, x], numbers of `schemas.spine`."""
    grid: Grid
    """Where they lie."""


def find_scans(connection: duckdb.DuckDBPyConnection, recipe_ids: Sequence[str] | None) -> list[ExportScan]:
    """Every scan with masks, of these recipes or of all."""
    rows = connection.execute(_SCANS).fetchall()
    return [ExportScan(*row) for row in rows if recipe_ids is None or row[0] in recipe_ids]


def with_lesions(
    connection: duckdb.DuckDBPyConnection, scans: Sequence[ExportScan]
) -> Iterator[tuple[ExportScan, list[dict[str, Any]]]]:
    """Each scan with its lesions in the order of their ids."""
    for start in range(0, len(scans), PORTION):
        portion = scans[start : start + PORTION]
        keys = [list({scan.recipe_id for scan in portion}), [scan.series_key for scan in portion]]
        answer = connection.execute(_LESIONS, keys)
        names = [column[0] for column in answer.description]
        found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in answer.fetchall():
            found[row[0], row[1]].append(dict(zip(names, row, strict=True)))
        yield from ((scan, found[scan.recipe_id, scan.series_key]) for scan in portion)


def masks_of(store: Store, scan: ExportScan) -> Masks | None:
    """The scan's masks; None where its group holds none.

    Raises:
        StoreError: they are damaged.
        ServiceError: the store was not there.
    """
    found, grid = read_masks(store, scan.labels_uri, ("lesions", "levels"))
    return Masks(found.get("lesions"), found.get("levels"), grid) if grid is not None else None
