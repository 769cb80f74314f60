"""One Prefect task run per shard, named after it, in threads of the flow's process; a few at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.shards import Shard
from pipeline.errors import ServiceError

RETRY_SECONDS = [5.0, 30.0]
"""Waits before a shard is tried again after a service was away; after them it stays pending."""

_LOOK_SECONDS = 5.0


def run_shards(shards: Iterable[Shard], *, slots: Callable[[], int], is_alive: Callable[[], bool]) -> Iterator[Shard]:
    """Do shards, and yield each that is through.

    There are never more shards on their way than slots, so a run that is ended does little twice, and never many more
    scans than slots are waiting, so neither this process nor the scheduler grows with the cohort.

    Args:
        shards: in the order to begin them.
        slots: scans that the cluster does at the same time, now.
        is_alive: whether the connection to the cluster stands: without it no retry can help.

    Raises:
        ServiceError: a service stayed away; the other shards on their way were done.
        Exception: an error of ours in a shard; all other shards were done.
    """
    waiting, running = iter(shards), dict[str, tuple[Shard, PrefectFuture[None]]]()
    ended, failure, room = SimpleQueue[str](), None, _Room(slots)
    process_shard = _shard_task(running, is_alive)
    while True:
        while not isinstance(failure, ServiceError) and room.for_another([s.size for s, _ in running.values()]):
            shard = next(waiting, None)
            if shard is None:
                break
            _submit(process_shard, shard, running, ended)
        if not running:
            break
        shard, future = running.pop(ended.get())
        error = future.result(raise_on_failure=False)
        if isinstance(error, Exception):
            failure = error if failure is None or isinstance(error, ServiceError) else failure
        else:
            yield shard
    if failure is not None:
        raise failure


def _submit(
    process_shard: Any, shard: Shard, running: dict[str, tuple[Shard, PrefectFuture[None]]], ended: SimpleQueue[str]
) -> None:
    running[shard.name] = (shard, None)  # type: ignore[assignment] # the task may look it up before the future is here
    future = process_shard.submit(shard.name)
    running[shard.name] = (shard, future)
    future.add_done_callback(lambda _: ended.put(shard.name))


def _shard_task(running: dict[str, tuple[Shard, PrefectFuture[None]]], is_alive: Callable[[], bool]) -> Any:
    def worth_another_try(_task: Any, _run: Any, state: Any) -> bool:
        return is_alive() and isinstance(state.result(raise_on_failure=False), ServiceError)

    @task(
        name="shard",
        task_run_name="{shard}",
        cache_policy=NO_CACHE,  # the store says what is done
        persist_result=False,
        retries=len(RETRY_SECONDS),
        retry_delay_seconds=RETRY_SECONDS,
        retry_condition_fn=worth_another_try,
    )
    def process_shard(shard: str) -> None:
        running[shard][0].run()

    return process_shard


class _Room:
    """Whether another shard may begin."""

    def __init__(self, slots: Callable[[], int]) -> None:
        self._ask, self._slots, self._asked = slots, 1, float("-inf")

    def for_another(self, sizes: list[int]) -> bool:
        """Whether one more may begin beside shards of these sizes: a series or a scan each."""
        if time.monotonic() - self._asked > _LOOK_SECONDS:  # an adaptive cluster grows
            self._slots, self._asked = self._ask(), time.monotonic()
        if len(sizes) < 2:
            return len(sizes) < self._slots
        return len(sizes) < self._slots and sum(sizes) < 2 * self._slots
