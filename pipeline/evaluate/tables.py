"""The tables of an evaluation in a store: files are added, and of each key the newest attempt counts."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.store import Store, service_errors
from schemas.columns import table
from schemas.evaluation import LEVELS, MATCHES, REFERENCES, SCANS, TABLES


def write_rows(store: Store, path: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Add rows to a table: `path` is its name and the file's, such as `scans/<recipe>-<attempt>.parquet`."""
    store.write_table(f"{TABLES}/{path}", table(rows, schema))


def read_references(store: Store) -> pa.Table:
    """The reference of each series and reader that was read last."""
    return newest(_read(store, "references", REFERENCES), ("series_key", "reader"))


def read_compared(store: Store, recipe_id: str) -> tuple[pa.Table, pa.Table, pa.Table]:
    """The newest comparison of each scan under a recipe: rows of `scans`, `matches` and `levels`."""
    scans = newest(_read(store, "scans", SCANS, recipe_id), ("series_key",))
    matches, levels = _read(store, "matches", MATCHES, recipe_id), _read(store, "levels", LEVELS, recipe_id)
    return scans, of_attempts(matches, scans), of_attempts(levels, scans)


def newest(rows: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Of each key the rows of its newest attempt."""
    last = rows.group_by(list(keys)).aggregate([("attempt", "max")]).rename_columns([*keys, "attempt"])
    return of_attempts(rows, last, (*keys, "attempt"))


def of_attempts(rows: pa.Table, wanted: pa.Table, keys: Sequence[str] = ("series_key", "attempt")) -> pa.Table:
    """The rows whose keys are in `wanted`; pyarrow's own join does not carry lists."""
    numbered = rows.select(list(keys)).append_column("_row", pa.array(range(rows.num_rows), pa.int64()))
    kept = numbered.join(wanted.select(list(keys)), keys=list(keys), join_type="left semi")["_row"].combine_chunks()
    return rows.take(kept.take(pc.sort_indices(kept)))


def _read(store: Store, name: str, schema: pa.Schema, recipe_id: str = "") -> pa.Table:
    prefix = f"{TABLES}/{name}/{recipe_id}"
    paths = [p for p in store.list(f"{TABLES}/{name}") if p.startswith(prefix) and p.endswith(".parquet")]
    if not paths:
        return schema.empty_table()
    with service_errors("reading the store"):
        found = store.fs.cat([store.path(path) for path in paths])
    parts = [pq.read_table(io.BytesIO(data)) for data in (found.values() if isinstance(found, dict) else [found])]
    return pa.concat_tables([schema.empty_table(), *parts], promote_options="permissive").select(schema.names)
