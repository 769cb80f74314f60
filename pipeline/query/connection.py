"""A DuckDB connection with the views of a store, closed against everything else.

    connection = connect("s3://bucket/cohort")
    connection.sql("SELECT level, count(*) FROM lesions GROUP BY level").df()

A connection sees the store as it was when it was made: connect again to see more.
"""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

from pipeline.errors import QueryError, ServiceError
from pipeline.query.compacted import usable
from pipeline.query.files import PROTOCOL, StoreFiles, published
from pipeline.query.lay import lay
from pipeline.query.output import plain_numbers
from pipeline.query.statement import check, one_line
from pipeline.store import Store

_SETTINGS: dict[str, str] = {
    "autoload_known_extensions": "false",
    "autoinstall_known_extensions": "false",
    "allow_community_extensions": "false",
    "allow_persistent_secrets": "false",
    "python_enable_replacements": "false",
    "temp_directory": "''",  # a folder to spill to would be one to write to
    "TimeZone": "'UTC'",
}


def connect(
    store: Store | str,
    *,
    storage_options: dict[str, Any] | None = None,
    threads: int | None = None,
    footers_kept: bool = True,
) -> duckdb.DuckDBPyConnection:
    """A connection with every view ready, that can read the published tables of this store and no other file.

    Args:
        store: the store, or its folder or `s3://` address.
        storage_options: for fsspec, where `store` is an address.
        threads: threads of DuckDB; all cores by default.
        footers_kept: keep what stands at the end of each file (some 200 kB for a shard's two) for the next question.

    Raises:
        StoreError: there is no store, or a newer one.
        ServiceError: the store could not be read.
    """
    if isinstance(store, str):
        store = Store.open(store, storage_options=storage_options)
    return open_views(store, threads, footers_kept=footers_kept)[0]


def run_query(
    store: Store | str, sql: str, *, storage_options: dict[str, Any] | None = None, threads: int | None = None
) -> pa.Table:
    """The answer to one question; nothing but a statement that reads is accepted.

    Raises:
        QueryError: the statement is wrong, or would write, or would reach something else than the views.
        StoreError: there is no store, or a newer one.
        ServiceError: the store could not be read.
    """
    if isinstance(store, str):
        store = Store.open(store, storage_options=storage_options)
    statement = check(sql)
    connection, files = open_views(store, threads, question=statement)
    try:
        return plain_numbers(connection.sql(statement).to_arrow_table())
    except duckdb.Error as error:
        if isinstance(files.failure, ServiceError):
            raise files.failure from None
        raise QueryError(one_line(error)) from None
    finally:
        connection.close()


def open_views(
    store: Store,
    threads: int | None = None,
    *,
    merged: bool = True,
    question: str | None = None,
    footers_kept: bool = True,
) -> tuple[duckdb.DuckDBPyConnection, StoreFiles]:
    """The connection and the files that it reads.

    Args:
        store: the store.
        threads: threads of DuckDB; all cores by default.
        merged: allows the tables of `compact/`.
        question: make only what this statement needs; None makes every view.
        footers_kept: see `connect`.
    """
    files = StoreFiles(store, published(store))
    folder = usable(store, files.sizes) if merged else None
    connection = duckdb.connect(":memory:")
    try:
        _configure(connection, threads, footers_kept)
        connection.register_filesystem(files)
        lay(connection, files, folder, question)
        _lock(connection)
    except duckdb.Error as error:
        connection.close()
        raise files.failure or error from None
    except Exception:
        connection.close()
        raise
    return connection, files


def _configure(connection: duckdb.DuckDBPyConnection, threads: int | None, footers_kept: bool) -> None:
    settings = _SETTINGS | ({"threads": str(threads)} if threads else {})
    settings |= {"parquet_metadata_cache": str(footers_kept).lower()}
    for name, value in settings.items():
        connection.execute(f"SET {name} = {value}")


def _lock(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"SET allowed_directories = ['{PROTOCOL}://']")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
