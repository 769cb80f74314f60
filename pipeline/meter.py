"""What a scan cost: seconds by stage, peak memory of its process, and how many scans shared it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

_INTERVAL_S = 0.05
_lock = threading.Lock()
_running: set[Meter] = set()
_sampler: list[threading.Thread] = []


@dataclass(eq=False)
class Meter:
    """The cost of one scan while it runs."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Stage to seconds."""
    peak_rss_mb: float = 0.0
    """Largest resident memory of the process since the start, in MiB."""
    n_concurrent: int = 1
    """Most scans at a time in the process, this one included."""
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time inside to `seconds[name]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @property
    def total(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.started


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure what runs inside; one sampling thread serves all scans of the process."""
    meter = Meter()
    with _lock:
        _running.add(meter)
        for each in _running:
            each.n_concurrent = max(each.n_concurrent, len(_running))
        if not _sampler:
            _sampler.append(threading.Thread(target=_sample, name="memory-meter", daemon=True))
            _sampler[0].start()
    _note(meter)
    try:
        yield meter
    finally:
        _note(meter)
        with _lock:
            _running.discard(meter)


def _note(meter: Meter) -> None:
    meter.peak_rss_mb = max(meter.peak_rss_mb, psutil.Process().memory_info().rss / 2**20)


def _sample() -> None:
    process = psutil.Process()
    while True:
        rss = process.memory_info().rss / 2**20
        with _lock:
            if not _running:
                _sampler.clear()
                return
            for meter in _running:
                meter.peak_rss_mb = max(meter.peak_rss_mb, rss)
        time.sleep(_INTERVAL_S)
