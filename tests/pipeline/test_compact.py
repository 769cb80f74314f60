"""Merged tables say what the files say, and stand in for them only as long as nothing else has come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import compact as module
from pipeline.compact import compact
from pipeline.query import run_query
from pipeline.query.compacted import TABLES
from pipeline.store import Store
from schemas.views import VIEWS
from tests.pipeline.query.rows import add_scans, add_series, lesion, scan, series, vertebra


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(str(tmp_path / "store"), cohort="test")
    add_series(
        store, *(series(f"p{p}-s{s}-a") for p in range(4) for s in range(2)), series("p9-s9-a", status="excluded")
    )
    add_series(store, series("p8-s8-a", status="quarantined", reason_code="gap"), shard="other")
    levels = [vertebra("L1", n_lesions=2, lesion_load_mm3=200.0), vertebra("none", vertebra_volume_mm3=None)]
    for number in (1, 2):
        add_scans(
            store,
            *(scan(f"p{p}-s0-a", [lesion(i) for i in range(p)], vertebrae=levels) for p in range(4)),
            number=number,
        )
    add_scans(store, scan("p0-s1-a", status="failed", reason_code="error"), shard="other")
    add_scans(store, scan("p0-s1-a", None, recipe_id="r2"))
    return store


def answers(store: Store) -> dict[str, list[dict[str, Any]]]:
    return {view: run_query(store, f"FROM {view} ORDER BY ALL").to_pylist() for view in VIEWS}


def test_merged_tables_give_the_same_answers(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_ROWS", 3)
    monkeypatch.setattr(module, "_GROUP_ROWS", 2)
    before = answers(store)
    summary = compact(store)
    assert answers(store) == before
    assert summary.rows == {view: len(before[view]) for view in TABLES}
    assert summary.n_files_before == 6
    assert summary.n_files > len(TABLES), "large tables are cut into parts"
    assert compact(store).folder is None, "nothing new, nothing to do"


def test_the_record_says_what_was_merged(store: Store) -> None:
    folder = compact(store).folder
    record = json.loads(store.read(f"{folder}/made_from.json"))
    assert sorted(record["files"]) == store.list("catalog") + store.list("results")
    assert all(store.exists(part) for parts in record["tables"].values() for part in parts)
    table = store.read_table(record["tables"]["lesions"][0])
    assert table.num_rows == record["rows"]["lesions"] == 6
    assert table["centroid_mm"].to_pylist()[0] == [1.0, 2.0, 3.0]


def _plant(store: Store, folder: str | None) -> None:
    """Another site in the merged table, to tell whether it is read."""
    path = f"{folder}/series/part-00000.parquet"
    table = pq.read_table(store.path(path))
    place = table.column_names.index("site")
    store.write_table(path, table.set_column(place, "site", pa.array(["merged"] * table.num_rows)))


def test_they_are_read_as_long_as_nothing_else_has_come(store: Store) -> None:
    _plant(store, compact(store).folder)
    assert run_query(store, "SELECT DISTINCT site FROM series").to_pylist() == [{"site": "merged"}]
    add_scans(store, scan("p0-s1-a", [lesion(1)]), number=3)
    assert run_query(store, "SELECT DISTINCT site FROM series").to_pylist() == [{"site": "north"}]
    assert run_query(
        store, "SELECT n_lesions FROM scans WHERE series_key = 'p0-s1-a' AND recipe_id = 'r1'"
    ).to_pylist() == [{"n_lesions": 1}]
    folder = compact(store).folder
    assert folder is not None
    assert run_query(store, "SELECT count(*) AS n FROM lesions").to_pylist() == [{"n": 7}]


def test_a_merge_that_was_cut_off_or_lost_a_file_is_not_read(store: Store) -> None:
    folder = compact(store).folder
    _plant(store, folder)
    Path(store.path(f"{folder}/lesions/part-00000.parquet")).unlink()
    assert run_query(store, "SELECT DISTINCT site FROM series").to_pylist() == [{"site": "north"}]


def test_tables_of_a_program_with_other_columns_are_not_read(store: Store) -> None:
    folder = compact(store).folder
    _plant(store, folder)
    path = f"{folder}/made_from.json"
    record = json.loads(store.read(path)) | {"columns": "of another program"}
    store.write(path, json.dumps(record).encode())
    assert run_query(store, "SELECT DISTINCT site FROM series").to_pylist() == [{"site": "north"}]


def test_an_empty_store_can_be_merged(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "empty"), cohort="test")
    assert compact(store).rows == dict.fromkeys(TABLES, 0)
    assert run_query(store, "SELECT count(*) AS n FROM lesions").to_pylist() == [{"n": 0}]
