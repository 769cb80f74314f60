"""How far a run is: a bar on a terminal, a log line each minute elsewhere; Prefect's progress artifact beside both."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from flows.counts import Counts

log = logging.getLogger("spinetally.progress")

_LOG_SECONDS = 60.0
_ARTIFACT_SECONDS = 5.0


@contextmanager
def shown(counts: Counts, *, title: str, report: Callable[[float], None] | None = None) -> Iterator[None]:
    """Show counts until the end, and then how many scans have no result.

    Args:
        counts: what is shown.
        title: before the bar.
        report: called with per cent now and then, in a thread of its own, for it may wait long for a server.
    """
    stop = threading.Event()
    console = Console(stderr=True)
    shower = _bar if console.is_terminal else _log_lines
    threads = [threading.Thread(target=shower, args=(counts, title, console, stop), daemon=True)]
    if report is not None:
        threads.append(threading.Thread(target=_report, args=(counts, report, stop), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        threads[0].join()
    if lost := counts.scans.total() - counts.scans["ok"]:  # no log line: one so late would miss Prefect's server
        console.print(f"{lost} of {counts.scans.total()} scans have no result: `spinetally status` says why")


def _bar(counts: Counts, title: str, console: Console, stop: threading.Event) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[per_hour]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(title, per_hour="")
        while True:
            ended = stop.wait(0.2)
            per_hour = f"{counts.scans_per_hour:,.0f} scans/h"
            progress.update(task, total=counts.total, completed=counts.done, per_hour=per_hour)
            if ended:
                return


def _log_lines(counts: Counts, title: str, console: Console, stop: threading.Event) -> None:  # noqa: ARG001
    while not stop.wait(_LOG_SECONDS):
        log.info("%s: %s", title, in_words(counts))


def in_words(counts: Counts) -> str:
    """`120 of 400 done, 30 scans/h, about 9 h left`."""
    left = counts.seconds / max(counts.done, 1) * (counts.total - counts.done)
    rest = f", about {_duration(left)} left" if counts.done else ""
    return f"{counts.done} of {counts.total} done, {counts.scans_per_hour:,.0f} scans/h{rest}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _report(counts: Counts, report: Callable[[float], None], stop: threading.Event) -> None:
    last, begun = -1.0, time.monotonic()
    while not stop.wait(min(_ARTIFACT_SECONDS, 0.5 + time.monotonic() - begun)):
        percent = round(100 * counts.done / max(counts.total, 1), 1)
        if percent != last:
            report(percent)
            last = percent
