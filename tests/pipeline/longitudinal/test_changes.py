from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from pipeline.errors import StoreError
from pipeline.longitudinal.changes import all_compared, batches, mark_compared, missing_pairs, update_changes
from pipeline.longitudinal.motions import MaskedScan
from pipeline.longitudinal.timeline import Pair, TimePoint
from pipeline.longitudinal.views import TIMELINE
from pipeline.store import Store
from pipeline.store.results import commit_results
from pipeline.store.volumes import write_labels, write_volume
from schemas.columns import table
from schemas.edges import EDGES
from schemas.views import VIEWS
from tests.pipeline.longitudinal.patients import Sphere, scanned
from tests.pipeline.query.rows import WHEN


class Cohort:
    """A store with scans in it, and the views that matching reads."""

    def __init__(self, folder: Path) -> None:
        self.store = Store.create(str(folder), cohort="test")
        self.rows: dict[str, list[dict[str, Any]]] = {"scans": [], "series": []}

    def add(self, patient: str, day: int | None, scan: MaskedScan, *, attempt: str = "a0") -> None:
        name = f"{patient}-{day}"
        keys = {"series_key": name, "study_key": name, "patient_key": patient, "modality": "CT", "study_day": day}
        volume_uri = write_volume(self.store, f"volumes/s.zarr/{name}/{attempt}", scan.volume, attributes={}).volume_uri
        labels_uri = f"labels/recipe=r/s.zarr/{name}/{attempt}"
        write_labels(self.store, labels_uri, grid=scan.grid, lesions=scan.lesions, levels=scan.levels)
        result = {"recipe_id": "r", "status": "ok", "n_lesions": len(scan.facts), "shard": "s", "attempt": attempt}
        self.rows["scans"].append(keys | result | {"labels_uri": labels_uri, "is_primary": True})
        row = {name: value for name, value in keys.items() if name != "study_day"} | result
        facts = {"version": "v", "finished_at": WHEN, "lesions": [asdict(lesion) for lesion in scan.facts]}
        commit_results(self.store, recipe_id="r", shard="s", attempt=f"{name}-{attempt}", rows=[row | facts])
        self.rows["series"].append(
            keys | {"volume_uri": volume_uri, "frame_of_reference_key": scan.frame_of_reference_key, "is_primary": True}
        )

    def connect(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        for name, rows in self.rows.items():
            given = table(rows, pa.schema([field.with_nullable(True) for field in VIEWS[name]]))
            connection.register("given", given)
            connection.execute(f"CREATE TABLE {name} AS FROM given")
            connection.unregister("given")
        connection.execute("CREATE SCHEMA store")
        connection.execute(f"CREATE VIEW store.timeline AS {TIMELINE}")
        return connection

    def edges(self) -> list[dict[str, Any]]:
        return [row for path in self.store.list("changes") for row in self.store.read_table(path).to_pylist()]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """A patient with three scans, one with one, one whose scan has no date, one without a lesion."""
    cohort = Cohort(tmp_path / "store")
    first = scanned([Sphere("T12", (0, 0, 0), 5)], frame="f", with_levels=False)
    second = scanned([Sphere("T12", (0, 0, 0), 8)], frame="f", with_levels=False)
    none = scanned([], frame="f", with_levels=False)
    for patient, day, scan in (
        ("p1", 0, first),
        ("p1", 30, second),
        ("p1", 90, none),
        ("p2", 0, first),
        ("p3", None, first),
        ("p3", 0, first),
        ("p4", 0, none),
        ("p4", 7, none),
    ):
        cohort.add(patient, day, scan)
    return cohort


def test_what_is_missing_is_made_once(cohort: Cohort) -> None:
    told: list[tuple[int, int]] = []
    assert update_changes(cohort.store, cohort.connect(), progress=lambda done, of: told.append((done, of))) == 3
    assert told == [(3, 3)]
    edges = cohort.edges()
    assert [(edge["patient_key"], edge["series_key_1"], edge["state"]) for edge in edges] == [
        ("p1", "p1-30", "growing"),
        ("p1", "p1-90", "resolved"),
    ]
    assert update_changes(cohort.store, cohort.connect()) == 0  # also the pair without a lesion is done
    assert len(cohort.store.list("changes")) == 1


def test_rows_are_of_the_schema(cohort: Cohort) -> None:
    update_changes(cohort.store, cohort.connect())
    (path,) = cohort.store.list("changes")
    assert path.startswith("changes/recipe=r/")
    found = cohort.store.read_table(path)
    assert found.schema.names == EDGES.names
    assert found.cast(EDGES).num_rows == 2


def test_only_new_scans_are_matched(cohort: Cohort) -> None:
    update_changes(cohort.store, cohort.connect())
    cohort.add("p2", 50, scanned([], frame="f", with_levels=False))
    (pair,) = missing_pairs(cohort.store, cohort.connect())
    assert (pair.first.series_key, pair.second.series_key) == ("p2-0", "p2-50")
    assert update_changes(cohort.store, cohort.connect()) == 1
    assert [edge["state"] for edge in cohort.edges() if edge["patient_key"] == "p2"] == ["resolved"]


def test_a_scan_done_again_is_matched_again(cohort: Cohort) -> None:
    update_changes(cohort.store, cohort.connect())
    cohort.rows["scans"][1]["attempt"] = "a1"
    assert len(missing_pairs(cohort.store, cohort.connect())) == 2


def test_rows_that_are_gone_are_not_taken_for_scans_without_lesions(cohort: Cohort) -> None:
    cohort.store.remove("results/recipe=r/s-p1-30-a0.parquet")
    with pytest.raises(StoreError, match="results of 1 scans are not where they were"):
        update_changes(cohort.store, cohort.connect())
    assert cohort.store.list("changes") == []


def test_another_version_of_the_matching_looks_again(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    mark_compared(cohort.store, "20260102T000000000000-00000000")
    files = ["results/recipe=r/s-20260101T000000000000-00000000.parquet", *cohort.store.list("changes")]
    assert all_compared(files)
    monkeypatch.setattr("pipeline.longitudinal.changes.MARK", "matching-99/compared.json")
    assert not all_compared(files)


def test_a_patient_stays_in_one_file() -> None:
    def pairs(patient: str, number: int) -> list[Pair]:
        points = [TimePoint(f"y{i}", f"{patient}-{i}", "s", "a", "v", None) for i in range(number + 1)]
        return [Pair("r", patient, "CT", a, b) for a, b in pairwise(points)]

    given = [pair for patient in range(30) for pair in pairs(f"p{patient}", 7)]
    found = list(batches(given))
    assert [pair for batch in found for pair in batch] == given
    assert len(found) == 3
    owners = [pair.patient_key for batch in found for pair in batch[:1]]
    assert all(
        {pair.patient_key for pair in a}.isdisjoint({pair.patient_key for pair in b}) for a, b in pairwise(found)
    )
    assert owners[0] == "p0"
    assert len({pair.pair_id for pair in given}) == len(given)
