"""The views as flat files, Parquet and CSV, with the data dictionary beside them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from pipeline.export.destination import Destination
from pipeline.query import describe
from pipeline.query.output import as_csv, as_parquet, plain_numbers
from schemas.views import VIEWS

PART_ROWS = 500_000
"""Rows of a file at most; a larger view is cut into parts."""


def export_tables(
    connection: duckdb.DuckDBPyConnection, destination: Destination, recipe_ids: Sequence[str] | None = None
) -> dict[str, int]:
    """Write every view that has rows, of these recipes or of all; view to its rows."""
    rows: dict[str, int] = {}
    for view, schema in VIEWS.items():
        of_recipes = recipe_ids is not None and "recipe_id" in schema.names and view != "failures"
        condition = f" WHERE recipe_id IN ({', '.join('?' * len(recipe_ids))})" if of_recipes and recipe_ids else ""
        found = connection.sql(f"FROM {view}{condition}", params=list(recipe_ids or ()) if condition else None)
        rows[view] = _write(view, found.to_arrow_reader(PART_ROWS), destination)
    _write_table("dictionary", describe(), destination)
    return {view: count for view, count in rows.items() if count}


def _write(view: str, reader: pa.RecordBatchReader, destination: Destination) -> int:
    total, part = 0, 0
    held: list[pa.RecordBatch] = []
    for batch in reader:
        held.append(batch)
        if sum(b.num_rows for b in held) >= PART_ROWS:
            total += _write_table(f"{view}-{part:05d}", pa.Table.from_batches(held), destination)
            held, part = [], part + 1
    if held and sum(b.num_rows for b in held):
        name = view if part == 0 else f"{view}-{part:05d}"
        total += _write_table(name, pa.Table.from_batches(held), destination)
    return total


def _write_table(name: str, rows: pa.Table, destination: Destination) -> int:
    rows = plain_numbers(rows)
    destination.write(f"tables/{name}.parquet", as_parquet(rows))
    destination.write(f"tables/{name}.csv", as_csv(rows))
    return int(rows.num_rows)
