"""The commits: what a shard's attempt made becomes true when its Parquet file appears, after the arrays it names."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pipeline.store.files import Store
from schemas.catalog import CATALOG
from schemas.columns import table
from schemas.nested import gather, spread
from schemas.results import RESULTS


def commit_catalog(store: Store, *, shard: str, attempt: str, rows: list[dict[str, Any]]) -> str:
    """Commit the ingest of a shard; the path of its file. `rows` are `schemas.catalog.CATALOG`."""
    path = f"catalog/{shard}-{attempt}.parquet"
    store.write_table(path, table(rows, CATALOG))
    return path


def commit_results(store: Store, *, recipe_id: str, shard: str, attempt: str, rows: list[dict[str, Any]]) -> str:
    """Commit the scans of a shard under one recipe; the path of its file. `rows` are `schemas.results.RESULTS`."""
    path = f"results/recipe={recipe_id}/{shard}-{attempt}.parquet"
    store.write_table(path, spread(table(rows, RESULTS)))
    return path


def read_results(store: Store, path: str) -> pa.Table:
    """A file of results as rows of `schemas.results.RESULTS`, its lists of records put together again."""
    return gather(store.read_table(path), RESULTS)
