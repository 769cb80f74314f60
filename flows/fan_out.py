"""Items of a shard out to the workers, and a row back for each, whatever workers do.

A future is released as soon as it is read: Dask runs finished work again when a worker dies that held its result. What
a dying worker was doing is done again, one by one, each in a process of its own; only what fails there is blamed.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from distributed import Client, Future, KilledWorker, LocalCluster

from flows.alone import Alone, attempt_alone
from flows.work import Job, Outcome, Row, attempt
from pipeline.errors import ServiceError
from schemas.reasons import Reason

log = logging.getLogger("spinetally.fan_out")

Blame = Callable[[Any, Reason, str], Row]
"""From an item, a reason and a sentence to the row that stands for it."""

_TRIES_ALONE = 3
"""Workers that may die around a lonely item before it takes the blame: its own process should have died first."""

_TOGETHER = 16
"""Results that are fetched at once, where they come quickly."""
_WAITS_S = (0.01, 0.25)
"""Between two looks: after results were fetched, and at most. What has finished waits no longer to be fetched."""

_UNDER_WAY = ("pending", "lost")
"""Lost is what a worker held that died: it is done again."""

_NOBODY_S, _LOOK_S = 120.0, 5.0
"""Without any worker of our own until the run is ended, and between two looks: Dask starts one again in seconds."""

_SCHEDULER_LOST = "the Dask scheduler went away: what was not committed stays pending; run again"


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
    """Each item's number and what `function` gave for it, as they finish; None where a worker died over it.

    What has finished is looked for now and then and fetched together: messages there and back for each by itself took
    half of this process' time for a scan.
    """
    keys = [f"{function.__name__}-{uuid.uuid4().hex}" for _ in items]
    left = dict(enumerate(client.map(function, items, job=job, key=keys, pure=False)))
    fetched, wait_s, staff = time.monotonic(), _WAITS_S[0], _Staff(client)
    while left:
        if client.status not in ("running", "connecting"):
            raise ServiceError(_SCHEDULER_LOST)
        done = {number: future for number, future in left.items() if future.status not in _UNDER_WAY}
        more_may_come = len(done) < min(_TOGETHER, len(left)) and time.monotonic() - fetched < _WAITS_S[1]
        if more_may_come or not done:
            staff.check()
            time.sleep(wait_s)
            wait_s = min(1.5 * wait_s, _WAITS_S[1])
            continue
        results = _fetched(client, list(done.values()))
        fetched, wait_s = time.monotonic(), _WAITS_S[0]
        for number, result in zip(done, results, strict=True):
            left.pop(number).release()
            yield number, result


class _Staff:
    """Whether a worker is left. Those that a queue or somebody else starts may be away for hours; ours may not."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seen = self._looked = time.monotonic()

    def check(self) -> None:
        """Look now and then.

        Raises:
            ServiceError: all workers of the local cluster are gone, and none came back.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK_S or not isinstance(self._client.cluster, LocalCluster):
            return
        self._looked = now
        if self._client.scheduler_info(n_workers=-1)["workers"]:
            self._seen = now
        elif now - self._seen > _NOBODY_S:
            raise ServiceError(
                f"no Dask worker could be started for {_NOBODY_S:.0f} s: see their errors above; what was not "
                "committed stays pending"
            )


def _fetched(client: Client, futures: list[Future]) -> list[Any]:
    """What finished futures hold, in their order; None where a worker died."""
    try:
        return list(client.gather(futures))
    except (Exception, asyncio.CancelledError):  # of one of them, and nothing is known of the others
        return [_settled(future) for future in futures]


def _settled(future: Future) -> Any:
    try:
        return future.result()
    except KilledWorker:
        return None
    except (Exception, asyncio.CancelledError) as error:
        if future.status == "error":
            kind = type(error).__name__
            raise ServiceError(f"a worker could not take the work ({kind}): are all of one version?") from error
        raise ServiceError(_SCHEDULER_LOST) from error


def _row(item: Any, outcome: Outcome | None, blame: Blame) -> Row | None:
    """The row of an outcome; None where there is none."""
    if outcome is None or outcome.lacked_memory:
        return None
    if outcome.service is not None:
        raise ServiceError(outcome.service)
    if outcome.row is not None:
        return outcome.row
    return blame(item, Reason.ERROR, f"an error of spinetally ({outcome.error}): please report it")
