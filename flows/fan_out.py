"""Items of a shard out to the workers, and a row back for each, whatever workers do.

A future is released as soon as it is read: Dask runs finished work again when a worker dies that held its result. What
a dying worker was doing is done again, one by one, each in a process of its own; only what fails there is blamed.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from distributed import Client, Future, as_completed

from flows.alone import Alone, attempt_alone
from flows.work import Job, Outcome, Row, attempt
from pipeline.errors import ServiceError
from schemas.reasons import Reason

log = logging.getLogger("spinetally.fan_out")

Blame = Callable[[Any, Reason, str], Row]
"""From an item, a reason and a sentence to the row that stands for it."""

_TRIES_ALONE = 3
"""Workers that may die around a lonely item before it takes the blame: its own process should have died first."""


def fan_out(
    client: Client, job: Job, items: Sequence[Any], *, blame: Blame, on_row: Callable[[Row], None]
) -> list[Row]:
    """Do every item; the rows in the order of the items.

    Args:
        client: where the work is done.
        job: what is done.
        items: picklable.
        blame: makes the row of an item that cannot be done.
        on_row: called with each row as it comes.

    Raises:
        ServiceError: a service was not there for one of them, or the scheduler went away.
    """
    rows: dict[int, Row] = {}
    for index, outcome in _outcomes(client, attempt, job, items):
        row = _row(items[index], outcome, blame)
        if row is not None and row.get("reason_code") != Reason.OUT_OF_MEMORY:  # the others had their share of it
            rows[index] = row
            on_row(row)
    for index, item in enumerate(items):
        if index not in rows:
            log.warning("a scan is tried again alone: its worker died, hung or lacked memory")
            rows[index] = _try_alone(client, job, item, blame)
            on_row(rows[index])
    return [rows[index] for index in range(len(items))]


def _try_alone(client: Client, job: Job, item: Any, blame: Blame) -> Row:
    for _ in range(_TRIES_ALONE):
        for _, result in _outcomes(client, attempt_alone, job, [item]):
            if isinstance(result, Alone) and result.outcome is not None:
                row = _row(item, result.outcome, blame)
                return row or blame(item, Reason.OUT_OF_MEMORY, "memory ran out, also alone: give workers more memory")
            if isinstance(result, Alone) and result.reason is not None:
                return blame(item, result.reason, result.sentence or "")
    return blame(item, Reason.WORKER_DIED, f"its worker died {_TRIES_ALONE} times while it was done alone")


def _outcomes(
    client: Client, function: Callable[..., Any], job: Job, items: Sequence[Any]
) -> Iterator[tuple[int, Any]]:
    """Each item's number and what `function` gave for it, as they finish; None where a worker died over it."""
    keys = [f"{function.__name__}-{uuid.uuid4().hex}" for _ in items]
    futures = client.map(function, items, job=job, key=keys, pure=False)
    number = {future.key: index for index, future in enumerate(futures)}
    finished = as_completed(futures, loop=client.loop, with_results=True, raise_errors=False)
    del futures  # the iterator holds those that are still running
    try:
        for future, result in finished:
            yield number[future.key], _settled(future, result)
            future.release()
    finally:
        finished.clear()


def _settled(future: Future, result: Any) -> Any:
    if future.status == "finished":
        return result
    if future.status == "error" and type(result[1]).__name__ == "KilledWorker":
        return None
    if future.status == "error":
        raise ServiceError(f"a worker could not take the work ({type(result[1]).__name__}): are all of one version?")
    if future.status in ("cancelled", "lost") or isinstance(result, asyncio.CancelledError):
        raise ServiceError("the Dask scheduler went away: what was not committed stays pending; run again")
    raise ServiceError(f"Dask lost a scan (status {future.status}): it stays pending; run again")


def _row(item: Any, outcome: Outcome | None, blame: Blame) -> Row | None:
    """The row of an outcome; None where there is none."""
    if outcome is None or outcome.lacked_memory:
        return None
    if outcome.service is not None:
        raise ServiceError(outcome.service)
    if outcome.row is not None:
        return outcome.row
    return blame(item, Reason.ERROR, f"an error of spinetally ({outcome.error}): please report it")
