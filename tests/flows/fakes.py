"""Small stand-ins for the pipeline's verbs, as importable functions: workers get them by name."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ServiceError
from pipeline.ingest import ingest_series
from pipeline.scan.process import process_scan
from pipeline.store import Store, from_environment


def double(item: int) -> dict[str, Any]:
    """What a healthy item does."""
    return {"value": 2 * item}


def mixed(item: int, *, poison: tuple[int, ...] = (), hang: tuple[int, ...] = (), log: str | None = None) -> Any:
    """Items that end their process, hang, raise or are fine; each beginning is a line in the log."""
    if log is not None:
        with Path(log).open("a") as file:
            file.write(f"{item} {os.getpid()}\n")
    if item in poison:
        os.kill(os.getpid(), signal.SIGKILL)
    if item in hang:
        time.sleep(600)
    return double(item)


def hungry(item: int, *, bytes_each: int) -> dict[str, Any]:
    """Takes memory until somebody ends it."""
    held = []
    while item == 0:
        held.append(np.ones(bytes_each, dtype=np.uint8))
        time.sleep(0.05)
    return double(item)


def unlucky(item: int) -> dict[str, Any]:
    """A service is away for item 3."""
    if item == 3:
        raise ServiceError("reading the store: connection refused")
    return double(item)


def buggy(item: int) -> dict[str, Any]:
    """An error whose text must not be shown."""
    if item == 1:
        raise KeyError("Jane Doe")
    return double(item)


def greedy_beside_others(item: int, *, folder: str) -> dict[str, Any]:
    """Lacks memory at its first try."""
    mark = Path(folder) / str(item)
    if not mark.exists():
        mark.touch()
        raise MemoryError
    return double(item)


def slow(item: int, *, seconds: float, log: str) -> dict[str, Any]:
    """Takes its time, and says when it began."""
    with Path(log).open("a") as file:
        file.write(f"{item} {os.getpid()}\n")
    time.sleep(seconds)
    return double(item)


def process_nothing(request: Any, *, recipe: Any, attempt: str, workplace: Any, alone: bool) -> dict[str, Any]:
    """A scan's row with one lesion counted, and nothing read."""
    series = request.series
    copied = ("series_key", "study_key", "patient_key", "version", "shard", "modality", "site")
    return {name: series.get(name) for name in copied} | {
        "recipe_id": recipe.recipe_id,
        "attempt": attempt,
        "status": "ok",
        "n_lesions": 1,
        "worker": workplace.worker,
        "finished_at": datetime.now(UTC),
    }


def process_or_die(request: Any, **more: Any) -> dict[str, Any]:
    """As `process_nothing`, but the scan of 11 slices takes its process with it."""
    if request.series["shape"][0] == 11:
        os.kill(os.getpid(), signal.SIGKILL)
    return process_nothing(request, **more)


def process_badly(request: Any, *, recipe: Any, attempt: str, workplace: Any, alone: bool) -> dict[str, Any]:
    """Every scan fails."""
    row = process_nothing(request, recipe=recipe, attempt=attempt, workplace=workplace, alone=alone)
    return row | {"status": "failed", "reason_code": "error", "reason": "made up", "n_lesions": None}


def never(*_: Any, **__: Any) -> dict[str, Any]:
    """Must not be called."""
    raise AssertionError("nothing was to be done")


def lacks_a_variable(*_: Any, **__: Any) -> dict[str, Any]:
    """This worker cannot open the source."""
    return from_environment({"key": "$TALLY_NOWHERE"})


def store_away(*_: Any, **__: Any) -> dict[str, Any]:
    """The store does not answer."""
    raise ServiceError("reading the store: connection refused")


def _pause_first(store: Store, name: str) -> None:
    """The first that comes here leaves its process' id and waits to be killed; all others pass."""
    mark = Path(store.uri).parent / f"mark-{name}"
    try:
        with mark.open("x") as file:
            file.write(f"{os.getpid()}\n")
    except FileExistsError:
        return
    time.sleep(60)


def ingest_paused(entry: Any, *, store: Store, **more: Any) -> dict[str, Any]:
    """The real ingest; the first is caught while it reads."""
    _pause_first(store, "read")
    return ingest_series(entry, store=store, **more)


def process_paused(request: Any, *, workplace: Any, **more: Any) -> dict[str, Any]:
    """The real scan; one is caught before it detects, one between its labels and its row."""
    _pause_first(workplace.store, "detect")
    row = process_scan(request, workplace=workplace, **more)
    _pause_first(workplace.store, "labels")
    return row


def process_counted(request: Any, *, workplace: Any, **more: Any) -> dict[str, Any]:
    """As `process_nothing`, in a moment, and each beginning is a file beside the store."""
    place = Path(workplace.store.uri).parent / "begun"
    (place / f"{request.series['series_key']}-{time.monotonic_ns()}").touch()
    time.sleep(0.05)
    return process_nothing(request, workplace=workplace, **more)
