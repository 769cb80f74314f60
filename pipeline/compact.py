"""Many small files of rows into few large flat ones, for speed and for other engines (Polars, Spark, Athena).

    compact/<attempt>/<view>/part-00000.parquet       the rows that count, as the view has them
    compact/<attempt>/made_from.json                  what they were made from, written last: the commit

Nothing else changes: the files they were made from stay, and are what is true.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ServiceError
from pipeline.query.compacted import FOLDER, RECORD, TABLES, record, usable
from pipeline.query.connection import open_views
from pipeline.store import Store, new_attempt

PART_ROWS = 500_000
"""Rows of a file at most."""

_GROUP_ROWS = 100_000


@dataclass(frozen=True)
class CompactSummary:
    """What was merged."""

    folder: str | None
    """Where the tables are, relative to the store; None where those that are there are still good."""
    n_files_before: int
    """Files that they were made from."""
    n_files: int
    """Files that they are in."""
    rows: dict[str, int]
    """Rows of each view."""


def compact(store: Store, *, progress: Callable[[str, int], None] | None = None) -> CompactSummary:
    """Merge the rows that count now, unless that was done and nothing has come since.

    Args:
        store: the store.
        progress: told the view and its rows written so far.

    Raises:
        ServiceError: the store could not be read or written; what was written is left to `gc`.
    """
    connection, files = open_views(store, merged=False)
    try:
        n_before = sum(path.startswith(("catalog/", "results/")) for path in files.sizes)
        if usable(store, files.sizes) is not None:
            return CompactSummary(None, n_before, 0, {})
        folder = f"{FOLDER}/{new_attempt()}"
        parts: dict[str, list[str]] = {}
        rows: dict[str, int] = {}
        for view in TABLES:
            parts[view], rows[view] = [], 0
            for part in _parts(connection, view):
                parts[view].append(_write(store, f"{folder}/{view}/part-{len(parts[view]):05d}.parquet", part))
                rows[view] += part.num_rows
                if progress is not None:
                    progress(view, rows[view])
        store.write(f"{folder}/{RECORD}", record(files.sizes, parts, rows))
        return CompactSummary(folder, n_before, sum(map(len, parts.values())), rows)
    except duckdb.Error as error:
        raise files.failure or ServiceError(f"merging the tables: {error}") from None
    finally:
        connection.close()


def _parts(connection: duckdb.DuckDBPyConnection, view: str) -> Iterator[pa.Table]:
    """The rows of a view, at most `PART_ROWS` at a time, in the order of the files they come from."""
    held: list[pa.RecordBatch] = []
    for batch in connection.sql(f"FROM {'store.tallied_lesions' if view == 'lesions' else view}").to_arrow_reader(
        _GROUP_ROWS
    ):
        held.append(batch)
        if sum(b.num_rows for b in held) + _GROUP_ROWS > PART_ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if held and sum(b.num_rows for b in held):
        yield pa.Table.from_batches(held)


def _write(store: Store, path: str, part: pa.Table) -> str:
    data = io.BytesIO()
    pq.write_table(part, data, compression="zstd", row_group_size=_GROUP_ROWS)
    store.write(path, data.getvalue())
    return path
