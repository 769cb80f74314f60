"""Rows of a small cohort, written by the same commits that the program uses."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from pipeline.store import Store
from pipeline.store.results import commit_catalog, commit_results

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def attempt(number: int) -> str:
    """The name of the number-th attempt."""
    return f"20260101T{number:012d}-0123abcd"


def series(name: str, **columns: Any) -> dict[str, Any]:
    """A catalog row of a good CT series; `name` is patient, study and series such as p1-s1-a."""
    patient, study, _ = name.split("-")
    row = {
        "series_key": name,
        "study_key": f"{patient}-{study}",
        "patient_key": patient,
        "part": 0,
        "version": "v1",
        "ingest_id": "i1",
        "modality": "CT",
        "study_date_shifted": date(2020, 1, 1),
        "site": "north",
        "status": "ok",
        "shape": [100, 512, 512],
        "spacing_mm": [1.0, 0.5, 0.5],
        "origin_mm": [0.0, 0.0, 0.0],
        "direction": [1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0],
        "volume_uri": f"volumes/x.zarr/{name}/a/0",
        "finished_at": WHEN,
    }
    return row | columns


def lesion(number: int, **columns: Any) -> dict[str, Any]:
    """A lesion."""
    row = {"lesion_id": number, "level": "L1", "level_fraction": 1.0, "volume_mm3": 100.0, "lesion_type": "lytic"}
    return row | {"centroid_mm": [1.0, 2.0, 3.0], "bbox": [0, 0, 0, 5, 5, 5], "long_axis_mm": 8.0} | columns


def vertebra(level: str, **columns: Any) -> dict[str, Any]:
    """A level that was seen whole and holds nothing."""
    row = {"level": level, "assessed": "full", "n_lesions": 0, "lesion_load_mm3": 0.0, "vertebra_volume_mm3": 1000.0}
    return row | columns


def scan(name: str, lesions: list[dict[str, Any]] | None = None, **columns: Any) -> dict[str, Any]:
    """A results row of a good scan."""
    patient, study, _ = name.split("-")
    row = {
        "series_key": name,
        "study_key": f"{patient}-{study}",
        "patient_key": patient,
        "recipe_id": "r1",
        "version": "v1",
        "modality": "CT",
        "site": "north",
        "status": "ok",
        "finished_at": WHEN,
        "seconds_total": 2.0,
        "lesions": lesions,
        "n_lesions": None if lesions is None else len(lesions),
        "lesion_volume_mm3": None if lesions is None else sum(x["volume_mm3"] for x in lesions),
    }
    return row | columns


def add_series(store: Store, *rows: dict[str, Any], number: int = 1, shard: str = "sh") -> None:
    """Commit catalog rows as one attempt."""
    name = attempt(number)
    commit_catalog(store, shard=shard, attempt=name, rows=[r | {"shard": shard, "attempt": name} for r in rows])


def add_scans(store: Store, *rows: dict[str, Any], number: int = 1, shard: str = "sh") -> None:
    """Commit results rows as one attempt; all of one recipe."""
    name = attempt(number)
    rows = tuple(r | {"shard": shard, "attempt": name} for r in rows)
    commit_results(store, recipe_id=rows[0]["recipe_id"], shard=shard, attempt=name, rows=list(rows))
