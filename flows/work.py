"""On a worker: one item, done by a plain function and watched by the clock.

A thread cannot be stopped, so an item that hangs ends its process: Dask starts the worker again, and what it was doing
is done again, each alone (see `alone`).
"""

from __future__ import annotations

import faulthandler
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from pipeline.errors import RequestError, ServiceError

Row = dict[str, Any]
"""A row of the catalog or of the results."""


@dataclass(frozen=True)
class Job:
    """What is done to every item of a shard. It is sent with each, and so packed and unpacked once for all of them."""

    function: Callable[..., Row]
    """A function of a module, called with the item and `arguments`, by name."""
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)
    """The same for all items."""
    seconds: float = 3600.0
    """An item that takes longer hangs."""

    def __call__(self, item: Any) -> Row:
        """Do one item."""
        return self.function(item, **self.arguments)

    def __reduce__(self) -> tuple[Callable[[bytes], Job], tuple[bytes]]:
        return _unpacked, (self._packed,)

    @cached_property
    def _packed(self) -> bytes:
        return pickle.dumps((self.function, self.arguments, self.seconds))


@lru_cache(maxsize=16)
def _unpacked(packed: bytes) -> Job:
    return Job(*pickle.loads(packed))  # noqa: S301 - this run packed it


@dataclass(frozen=True)
class Outcome:
    """What became of an item at its first try; a failed worker gives none."""

    row: Row | None = None
    """Its row."""
    lacked_memory: bool = False
    """There was too little memory beside the others: to be tried alone."""
    service: str | None = None
    """The service that was not there: nothing is known of the item."""
    error: str | None = None
    """An error of ours, as its kind: an item is never lost by it."""


def attempt(item: Any, job: Job) -> Outcome:
    """Do one item beside others; what is raised becomes a word, for an exception need not survive the way back."""
    try:
        with deadline(job.seconds):
            return Outcome(row=job(item))
    except (ServiceError, RequestError) as error:  # this worker lacks a variable or a package: no fault of the item
        return Outcome(service=str(error))
    except MemoryError:
        return Outcome(lacked_memory=True)
    except Exception as error:  # its text may hold names, its kind does not
        return Outcome(error=type(error).__name__)


WORKER_VARIABLE = "SPINETALLY_WORKER"
"""Tells a process that does one item alone whose it is."""


def worker_name() -> str:
    """Name of the Dask worker that this process is, or belongs to; `local` where there is none."""
    if WORKER_VARIABLE in os.environ:
        return os.environ[WORKER_VARIABLE]
    if "distributed.worker" in sys.modules:
        try:
            return str(sys.modules["distributed.worker"].get_worker().name)
        except ValueError:
            pass
    return "local"


_deadlines: list[float] = []
_lock = threading.Lock()


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """End this process when what runs inside takes longer; the traces of all threads go to stderr.

    The timer is one of the C library's threads: it ends the process also when a decoder holds Python's lock.
    """
    mine = time.monotonic() + seconds
    with _lock:
        _deadlines.append(mine)
        _arm()
    try:
        yield
    finally:
        with _lock:
            _deadlines.remove(mine)
            _arm()


def _arm() -> None:
    if not _deadlines:
        faulthandler.cancel_dump_traceback_later()
        return
    left = max(0.01, min(_deadlines) - time.monotonic())
    faulthandler.dump_traceback_later(left, exit=True, file=sys.__stderr__ or sys.stderr)
