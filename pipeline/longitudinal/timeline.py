"""Which scans of a patient follow each other, and what is known of their lesions."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby, pairwise
from typing import Any

import duckdb
import pyarrow as pa

from pipeline.errors import StoreError
from pipeline.store import Store
from schemas.nested import gather
from schemas.results import LESION, RESULTS

MATCHING = 3
"""Version of the matching; enters every `pair_id`, so that a new one matches everything again, and every edge, so that
those of the version before are seen no more."""

TIMELINE = """
SELECT t.recipe_id, t.patient_key, t.modality, t.study_key, t.series_key, t.shard, t.attempt, t.labels_uri,
    r.volume_uri, r.frame_of_reference_key
FROM store.timeline t JOIN series r USING (series_key)
ORDER BY t.recipe_id, t.patient_key, t.modality, t.scan_number
"""
"""Scans that count, patient by patient in order of time."""


@dataclass(frozen=True)
class LesionFacts:
    """What the tally says of a lesion, as far as matching needs it."""

    lesion_id: int
    """Its value in the mask."""
    level: str | None
    """Its primary level; `none` outside all, None without levels."""
    centroid_mm: tuple[float, float, float]
    """x, y, z, LPS."""
    volume_mm3: float | None
    """Volume, mm3; None in 2-D."""
    area_mm2: float | None
    """Area, mm2; of the whole lesion in 2-D."""
    long_axis_mm: float | None
    """Long axis, mm."""
    hu_mean: float | None = None
    """Mean HU; None off CT."""
    suv_max: float | None = None
    """SUVmax, g/mL."""
    lesion_type: str | None = None
    """lytic, blastic, mixed, indeterminate."""


_LESIONS = pa.list_(pa.struct([LESION.field(each.name) for each in fields(LesionFacts)]))
_ROW = pa.schema([RESULTS.field("series_key"), RESULTS.field("attempt"), pa.field("lesions", _LESIONS)])
"""What of a row of results is read."""


@dataclass(frozen=True)
class TimePoint:
    """One scan of a patient, by its addresses in the store."""

    study_key: str
    """Its study."""
    series_key: str
    """The series."""
    shard: str
    """Its shard, in one of whose files its row is."""
    attempt: str
    """Which attempt made the row that counts."""
    volume_uri: str
    """Where its voxels are."""
    labels_uri: str | None
    """Where its masks are; None where there is neither lesion nor level."""
    frame_of_reference_key: str | None = None
    """Equal where two scans share a patient space."""


@dataclass(frozen=True)
class Pair:
    """Two scans that follow each other; small, and can be sent to a worker."""

    recipe_id: str
    """Recipe of both."""
    patient_key: str
    """The patient."""
    modality: str | None
    """Of both."""
    first: TimePoint
    """The earlier scan."""
    second: TimePoint
    """The later scan."""

    @property
    def pair_id(self) -> str:
        """Hash of the version of the matching, the recipe and the two rows that it joins."""
        parts = [str(MATCHING), self.recipe_id]
        parts += [text for point in (self.first, self.second) for text in (point.series_key, point.attempt)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def read_pairs(connection: duckdb.DuckDBPyConnection) -> list[Pair]:
    """Every two scans that follow each other, from the views `store.timeline` and `series`."""
    rows = _records(connection.execute(TIMELINE))
    return [pair for _, group in groupby(rows, key=_patient) for pair in pairs_of(list(group))]


def pairs_of(rows: Sequence[dict[str, Any]]) -> list[Pair]:
    """The pairs of one patient, recipe and modality, whose rows of `TIMELINE` are given in order of time."""
    return [Pair(a["recipe_id"], a["patient_key"], a["modality"], _point(a), _point(b)) for a, b in pairwise(rows)]


def read_facts(store: Store, pairs: Sequence[Pair]) -> dict[str, tuple[LesionFacts, ...]]:
    """The lesions of the scans of some pairs of one recipe, by series.

    They are read from the files of these scans' shards alone: the views would look at the rows of the whole cohort.

    Raises:
        StoreError: the row of a scan is not there any more.
        ServiceError: the store was not there.
    """
    points = {point.series_key: point for pair in pairs for point in (pair.first, pair.second)}
    starts = tuple({f"{point.shard}-" for point in points.values()})
    found: dict[str, tuple[LesionFacts, ...]] = {}
    for path in store.list(f"results/recipe={pairs[0].recipe_id}") if pairs else ():
        if not posixpath.basename(path).startswith(starts):
            continue
        for row in gather(store.read_table(path), _ROW).to_pylist():
            if row["series_key"] in points and row["attempt"] == points[row["series_key"]].attempt:
                found[row["series_key"]] = tuple(map(_facts, row["lesions"] or ()))
    if missing := points.keys() - found.keys():
        raise StoreError(f"the results of {len(missing)} scans are not where they were: run again")
    return found


def _records(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _patient(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["recipe_id"], row["patient_key"], row["modality"] or ""


def _point(row: dict[str, Any]) -> TimePoint:
    names = ("study_key", "series_key", "shard", "attempt", "volume_uri", "labels_uri", "frame_of_reference_key")
    return TimePoint(**{name: row[name] for name in names})


def _facts(row: dict[str, Any]) -> LesionFacts:
    x, y, z = row["centroid_mm"]
    return LesionFacts(**(row | {"centroid_mm": (x, y, z)}))
