"""Nothing but the views can be reached: each way out is tried, as a question and on an open connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipeline.errors import QueryError, ServiceError
from pipeline.query import connect, run_query
from pipeline.store import Store
from tests.pipeline.query.rows import add_scans, add_series, lesion, scan, series

SECRET = b"the secret of the cohort"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory of these tests."""
    folder = tmp_path_factory.mktemp("closed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


@pytest.fixture(scope="module")
def filled(place: Path) -> Store:
    """A store with a secret, in the working directory."""
    store = Store.create("store", cohort="test")
    store.create_once("private/secret", SECRET)
    store.write_table("private/index.parquet", pa.table({"name": ["Doe"]}))
    add_series(store, series("p1-s1-a"))
    add_scans(store, scan("p1-s1-a", [lesion(1)]))
    return store


@pytest.fixture
def closed(filled: Store, place: Path) -> Iterator[Store]:
    """The store; afterwards no file must be there that was not there before."""
    before = sorted(place.rglob("*"))
    yield filled
    assert sorted(place.rglob("*")) == before, "a question wrote a file"
    assert filled.read("private/secret") == SECRET


@pytest.fixture(scope="module")
def connection(filled: Store) -> Iterator[duckdb.DuckDBPyConnection]:
    """An open connection to it."""
    opened = connect(filled)
    yield opened
    opened.close()


READS = [
    "FROM read_text('{path}/private/secret')",
    "FROM read_blob('spinetally://private/secret')",
    "FROM read_parquet('{path}/private/index.parquet')",
    "FROM read_parquet('spinetally://private/index.parquet')",
    "FROM read_parquet('spinetally://catalog/../private/index.parquet')",
    "FROM '{path}/private/index.parquet'",
    "FROM '{path}/catalog/nothing.parquet'",
    "FROM parquet_metadata('{path}/private/index.parquet')",
    "FROM read_csv('/etc/passwd')",
    "FROM sniff_csv('/etc/passwd')",
    "FROM read_json('/etc/passwd')",
    "FROM read_text('http://127.0.0.1:1/x')",
    "FROM read_parquet('s3://bucket/x.parquet')",
    "FROM read_text('/proc/self/environ')",
    "SELECT * FROM query('FROM read_text(''/etc/passwd'')')",
    "FROM query_table('/etc/passwd')",
    "WITH a AS (FROM read_text('/etc/passwd')) FROM a",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "EXPLAIN ANALYZE FROM read_text('/etc/passwd')",
    "/* c */ EXPLAIN (ANALYZE) FROM read_text('/etc/passwd')",
]
CHANGES = [
    "COPY (SELECT 1) TO 'stolen.csv'",
    "COPY (SELECT 1) TO '{path}/catalog/planted.parquet'",
    "COPY (SELECT 1) TO 'spinetally://catalog/planted.parquet'",
    "COPY store.catalog FROM '/etc/passwd'",
    "EXPORT DATABASE 'everything'",
    "IMPORT DATABASE '{path}'",
    "ATTACH 'other.db'",
    "ATTACH '{path}/other.db' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET threads = 1",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "PRAGMA enable_profiling",
    "PRAGMA threads = 1",
    "CALL enable_logging('QueryLog', storage = 'file', storage_path = 'log')",
    "FROM enable_logging('QueryLog', storage = 'file', storage_path = 'log')",
    "FROM enable_profiling(save_location = 'profile.json')",
    "CREATE PERSISTENT SECRET (TYPE s3)",
]
ONLY_AS_A_QUESTION = [
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW lesions AS SELECT 1",
    "DROP VIEW lesions",
    "INSERT INTO store.best_scans SELECT * FROM store.best_scans",
    "WITH a AS (INSERT INTO store.best_scans FROM store.best_scans RETURNING *) FROM a",
    "WITH a AS (DELETE FROM store.best_scans RETURNING *) FROM a",
    "EXPLAIN ANALYZE DELETE FROM store.best_scans",
    "UPDATE store.best_scans SET status = 'ok'",
    "SET VARIABLE a = 1",
    "PREPARE a AS SELECT 1",
    "BEGIN",
    "CHECKPOINT",
    "USE memory",
    "ATTACH ':memory:' AS other",
    "FROM register_external_resource('a', 'b', MAP {{'a': 'b'}})",
    "SELECT write_log('x')",
    "SELECT 1; SELECT 2",
    "",
]
"""Harmless to others on a connection of one's own, but no question."""


@pytest.mark.parametrize("sql", READS + CHANGES + ONLY_AS_A_QUESTION)
def test_a_question_can_only_read_the_views(closed: Store, sql: str) -> None:
    with pytest.raises(QueryError) as refused:
        run_query(closed, sql.format(path=closed.uri))
    assert "\n" not in str(refused.value)
    assert "Traceback" not in str(refused.value)


@pytest.mark.parametrize("sql", READS + CHANGES)
def test_an_open_connection_cannot_leave_the_store(
    closed: Store, connection: duckdb.DuckDBPyConnection, sql: str
) -> None:
    try:
        answer = connection.execute(sql.format(path=closed.uri)).fetchall()
    except (duckdb.Error, PermissionError):
        return
    assert answer == [], "only a pattern that finds nothing may pass"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM lesions",
        "WITH a AS (SELECT 1 AS b) FROM a",
        "WITH RECURSIVE a(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM a WHERE n < 3) FROM a",
        "VALUES (1), (2)",
        "FROM lesions",
        "TABLE scans",
        "DESCRIBE lesions",
        "SUMMARIZE scans",
        "SHOW TABLES",
        "-- why\nEXPLAIN SELECT * FROM lesions",
        "EXPLAIN ANALYZE SELECT * FROM lesions",
        "PIVOT lesions ON level IN ('L1', 'L2') USING count(*)",
        "UNPIVOT (SELECT hu_mean, hu_sd FROM lesions) ON COLUMNS(*) INTO NAME n VALUE v",
        "SELECT unnest(centroid_mm) FROM lesions",
        "SELECT * FROM scans, unnest([1, 2]) AS t(i)",
        "FROM range(3);",
        "(SELECT 1) UNION ALL (SELECT 2)",
        "SELECT histogram(volume_mm3) FROM lesions",
        "WITH lesions AS (FROM lesions WHERE volume_mm3 > 1) FROM lesions",
        "FROM memory.main.scans s JOIN Lesions l USING (recipe_id, series_key)",
        "FROM response_recist",
    ],
)
def test_what_reads_is_answered(closed: Store, sql: str) -> None:
    assert run_query(closed, sql).num_columns > 0


def test_variables_of_the_caller_are_no_tables(closed: Store) -> None:
    mine = pa.table({"a": [1]})
    with pytest.raises(QueryError, match="mine"):
        run_query(closed, "FROM mine")
    assert mine.num_rows == 1


def test_a_table_of_ones_own_can_be_joined_on_a_connection(closed: Store) -> None:
    connection = connect(closed)
    connection.register("mine", pa.table({"patient_key": ["p1"], "arm": ["A"]}))
    assert connection.execute("SELECT arm FROM lesions JOIN mine USING (patient_key)").fetchall() == [("A",)]
    connection.close()


@pytest.mark.parametrize(
    ("sql", "near"),
    [("SELECT * FROM lesion", "lesions"), ("SELECT volum_mm3 FROM lesions", "volume_mm3"), ("SELEC 1", "SELEC")],
)
def test_a_wrong_name_is_answered_with_the_near_ones(closed: Store, sql: str, near: str) -> None:
    with pytest.raises(QueryError, match=near):
        run_query(closed, sql)


def test_a_store_that_went_away_is_a_fault_of_the_service(closed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.query import connection as module

    def absent(*_: object) -> dict[str, int]:
        raise ServiceError("listing the store: EndpointConnectionError")

    monkeypatch.setattr(module, "published", absent)
    with pytest.raises(ServiceError):
        run_query(closed, "FROM scans")
