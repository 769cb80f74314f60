"""The edges that the store lacks, made and added.

    changes/recipe=<recipe_id>/<hash of the pairs in it>.parquet
    changes/<attempt>/matching-3/compared.json      nothing was missing: all rows older than this attempt are compared,
                                                    by this version of the matching

Which pairs a file answers stands in its metadata: a pair of scans without lesions has no edge, and is done all the
same. Pairs whose scans were done again have another `pair_id`; the view `edges` shows those of the rows that count.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import duckdb
import pyarrow.parquet as pq

from pipeline.longitudinal.match import Edge, match_patient
from pipeline.longitudinal.timeline import MATCHING, Pair, read_facts, read_pairs
from pipeline.store import Store
from schemas.columns import table
from schemas.edges import EDGES

PAIRS = b"spinetally_pairs"
"""Key of a file's metadata that lists the pairs in it, as JSON."""

FOLDER = "changes"
MARK = f"matching-{MATCHING}/compared.json"
"""What a pass that left nothing leaves, so that the next run need not look whether it was ended before."""

BATCH = 64
"""Pairs per file, at about; the pairs of a patient stay together."""


def update_changes(
    store: Store, connection: duckdb.DuckDBPyConnection, *, progress: Callable[[int, int], None] | None = None
) -> int:
    """Match what is not matched yet and add it to the store; how many pairs that were.

    Args:
        store: Volumes and masks are read from it, files are added to `changes/`.
        connection: The store's views `store.timeline` and `series`.
        progress: Told the pairs done and all pairs to do.

    Raises:
        ServiceError: the store was not there; what was added until then stays.
    """
    missing = missing_pairs(store, connection)
    done = 0
    for batch in batches(missing):
        commit_edges(store, batch, match_batch(store, batch))
        done += len(batch)
        if progress is not None:
            progress(done, len(missing))
    return done


def missing_pairs(store: Store, connection: duckdb.DuckDBPyConnection) -> list[Pair]:
    """The pairs of scans that no file of `changes/` answers, by recipe and patient in order of time."""
    tables = (path for path in store.list(FOLDER) if path.endswith(".parquet"))
    known = {pair_id for path in tables for pair_id in _pairs_in(store, path)}
    return [pair for pair in read_pairs(connection) if pair.pair_id not in known]


def batches(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """Pairs in portions of `BATCH` and a patient more at most, each of one recipe."""
    for _, of_recipe in groupby(pairs, key=lambda pair: pair.recipe_id):
        batch: list[Pair] = []
        for _, of_patient in groupby(of_recipe, key=lambda pair: (pair.patient_key, pair.modality)):
            batch += of_patient
            if len(batch) >= BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


def match_batch(store: Store, batch: Sequence[Pair]) -> list[Edge]:
    """The edges of pairs of one recipe."""
    facts = read_facts(store, batch)
    edges: list[Edge] = []
    for _, group in groupby(batch, key=lambda pair: (pair.patient_key, pair.modality)):
        for found in match_patient(list(group), store=store, facts=facts).values():
            edges += found
    return edges


def commit_edges(store: Store, batch: Sequence[Pair], edges: list[Edge]) -> str:
    """Add the edges of some pairs of one recipe; the path of their file, named by the pairs."""
    pair_ids = sorted(pair.pair_id for pair in batch)
    name = hashlib.sha256("\n".join(pair_ids).encode()).hexdigest()[:24]
    path = f"{FOLDER}/recipe={batch[0].recipe_id}/{name}.parquet"
    rows = table(edges, EDGES)
    store.write_table(path, rows.replace_schema_metadata({PAIRS: json.dumps(pair_ids)}))
    return path


def mark_compared(store: Store, begun: str) -> None:
    """Note that nothing is missing of the rows that were there when the attempt `begun` was named."""
    store.write(f"{FOLDER}/{begun}/{MARK}", b"{}")


def all_compared(paths: Iterable[str]) -> bool:
    """Whether a pass that left nothing began after the newest row.

    Args:
        paths: of the store's catalog, results and changes.
    """
    rows, marks = [""], [""]
    for path in paths:
        folder, name = path.split("/")[0], posixpath.basename(path)
        if folder in ("catalog", "results"):
            rows.append(name.partition("-")[2].removesuffix(".parquet"))
        elif folder == FOLDER and path.endswith(f"/{MARK}"):
            marks.append(path.split("/")[1])
    return max(rows) <= max(marks)


def _pairs_in(store: Store, path: str) -> list[str]:
    metadata = pq.read_schema(io.BytesIO(store.read(path))).metadata or {}
    found: list[str] = json.loads(metadata.get(PAIRS, b"[]"))
    return found
