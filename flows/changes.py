"""After the shards: the same lesion found again in a patient's scans, batch by batch on the workers."""

from __future__ import annotations

import logging
from typing import Any

from distributed import Client

from flows.fan_out import fan_out
from flows.work import Job, Row
from pipeline.longitudinal.changes import batches, commit_edges, mark_compared, match_batch, missing_pairs
from pipeline.longitudinal.timeline import Pair
from pipeline.query import connect
from pipeline.store import Store, new_attempt
from schemas.reasons import Reason

log = logging.getLogger("spinetally.changes")


def add_changes(client: Client, store: Store, *, batch_seconds: float) -> int:
    """Match what is not matched yet; how many pairs of scans that were.

    A batch that cannot be matched is left for the next run: its scans have their rows all the same. What is missing is
    found on a worker too, whose memory is free by now: it looks at every row, and this process holds the whole cohort.

    Raises:
        ServiceError: a service went away; what was added until then stays.
    """
    begun = new_attempt()
    search = Job(find_pairs, {"store": store}, batch_seconds)
    (found,) = fan_out(client, search, [()], blame=_not_looked_for, on_row=lambda _row: None)
    pairs: list[Pair] | None = found["pairs"]
    job = Job(match_and_commit, {"store": store}, batch_seconds)
    rows = fan_out(client, job, list(batches(pairs or ())), blame=_left_for_later, on_row=lambda _row: None)
    done = sum(row["pairs"] for row in rows)
    if pairs is not None and done == len(pairs):
        mark_compared(store, begun)
    return done


def find_pairs(_item: Any, *, store: Store) -> Row:
    """On a worker: the pairs that are not matched yet."""
    connection = connect(store, footers_kept=False)
    try:
        return {"pairs": missing_pairs(store, connection)}
    finally:
        connection.close()


def match_and_commit(batch: list[Pair], *, store: Store) -> Row:
    """On a worker: match the pairs of a batch and add their file."""
    commit_edges(store, batch, match_batch(store, batch))
    return {"pairs": len(batch)}


def _not_looked_for(_item: Any, reason: Reason, sentence: str) -> Row:
    log.warning("scans of one patient were not compared, the next run will (%s: %s)", reason.value, sentence)
    return {"pairs": None}


def _left_for_later(batch: Any, reason: Reason, sentence: str) -> Row:
    log.warning("%d pairs of scans could not be matched (%s: %s)", len(batch), reason.value, sentence)
    return {"pairs": 0}
