"""What it costs to run nothing: milliseconds per scan of index, plan, shards, commits and summary, and memory.

SPINETALLY_BENCH_SCANS=10000,100000 python -m pytest -m bench -s tests/bench/bench_orchestration.py
"""

from __future__ import annotations

import gc
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest

from flows.launch import launch
from flows.prefect_server import prefect_api
from flows.stages import Stages
from pipeline.index.source_index import SourceIndex
from pipeline.series import SeriesEntry, SeriesFile
from schemas.catalog import INDEX
from schemas.config import CohortConfig
from tests.flows.fakes import never, process_nothing

SIZES = [int(n) for n in os.environ.get("SPINETALLY_BENCH_SCANS", "1000,4000").split(",")]
PEER_SCANS = int(os.environ.get("SPINETALLY_BENCH_PEER_SCANS", "300"))
PER_PATIENT = 2
PRECOMPUTED = {"CT": {"lesions": {"model": "precomputed"}}}
MIB = 1 << 20


def _entry(number: int) -> SeriesEntry:
    def key(what: str, n: int) -> str:
        return hashlib.sha256(f"{what} {n}".encode()).hexdigest()[:32]

    patient = number // PER_PATIENT
    return SeriesEntry(
        series_key=key("series", number), study_key=key("study", number), patient_key=key("patient", patient),
        series_uid_key=key("uid", number), version=key("version", number), ingest_id="bench", kind="dicom",
        files=(SeriesFile(f"s3://bucket/{number}", 1),), modality="CT", n_voxels=1, source_bytes=1,
    )  # fmt: skip


def index_of(n_scans: int) -> Callable[..., SourceIndex]:
    def index(*_: Any, **__: Any) -> SourceIndex:
        empty = pa.table({})
        return SourceIndex(tuple(map(_entry, range(n_scans))), {"files": n_scans}, INDEX.empty_table(), empty, empty)

    return index


def ingest_nothing(entry: SeriesEntry, *, store: Any, shard: str, attempt: str, config: Any) -> dict[str, Any]:
    """A row of the catalog for a series that was not read."""
    copied = ("series_key", "study_key", "patient_key", "series_uid_key", "version", "ingest_id", "modality")
    return {name: getattr(entry, name) for name in copied} | {
        "part": 0, "shape": [1, 1, 1], "spacing_mm": [1.0, 1.0, 1.0], "shard": shard, "attempt": attempt,
        "status": "ok", "finished_at": datetime.now(UTC),
    }  # fmt: skip


@contextmanager
def _peak_memory() -> Iterator[list[float]]:
    """MiB of this process, sampled: the first and the largest."""
    process, stop = psutil.Process(), threading.Event()
    seen = [process.memory_info().rss / MIB] * 2

    def sample() -> None:
        while not stop.wait(0.5):
            seen[1] = max(seen[1], process.memory_info().rss / MIB)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


@pytest.mark.bench
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("n_scans", SIZES)
def test_overhead_per_scan(n_scans: int, tmp_path: Path) -> None:
    config = CohortConfig.model_validate({"source": "nowhere", "store": str(tmp_path / "store"), "recipe": PRECOMPUTED})
    stages = Stages(index=index_of(n_scans), ingest=ingest_nothing, process=process_nothing)
    with prefect_api() as api:
        api.wait()
        with _peak_memory() as memory:
            begun, used = time.perf_counter(), time.process_time()
            summary = launch(config, stages=stages)
            seconds, used = time.perf_counter() - begun, time.process_time() - used
        assert summary["processed"] == n_scans
        begun = time.perf_counter()
        again = launch(config, stages=replace(stages, ingest=never, process=never))
        assert again["done_before"] == n_scans
    gc.collect()  # Prefect's clients leave sockets to it
    print(
        f"\n{n_scans} scans: {seconds:.1f} s, {1000 * seconds / n_scans:.2f} ms per scan (ingest and process), "
        f"flow's process {1000 * used / n_scans:.2f} ms of processor time per scan, "
        f"{memory[0]:.0f} to {memory[1]:.0f} MiB; a second run {time.perf_counter() - begun:.1f} s"
    )


@pytest.mark.bench
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_against_a_task_run_per_scan(tmp_path: Path) -> None:
    """The same nothing as prefect-dask does it, each scan a task run of its own: `pip install prefect-dask` first."""
    prefect_dask = pytest.importorskip("prefect_dask", reason="no prefect-dask here: pip install prefect-dask")
    with prefect_api() as api:
        api.wait()
        ours = _seconds_of_nothing(PEER_SCANS, tmp_path)
        from prefect import flow, task

        arguments = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}

        @task
        def nothing(number: int) -> int:
            return number

        @flow(task_runner=prefect_dask.DaskTaskRunner(cluster_kwargs=arguments))
        def a_task_run_per_scan() -> int:
            return len(nothing.map(list(range(PEER_SCANS))).result())

        begun = time.perf_counter()
        assert a_task_run_per_scan() == PEER_SCANS
        theirs = time.perf_counter() - begun
    gc.collect()
    figures = f"ours {1000 * ours / PEER_SCANS:.1f} ms each (ingest and process, start of workers included)"
    figures += f", prefect-dask {prefect_dask.__version__} {1000 * theirs / PEER_SCANS:.1f} ms each"
    print(f"\n{PEER_SCANS} scans: {figures}, {theirs / ours:.1f} times as long")


def _seconds_of_nothing(n_scans: int, folder: Path) -> float:
    config = CohortConfig.model_validate(
        {"source": "nowhere", "store": str(folder / "store"), "recipe": PRECOMPUTED, "workers": 2, "slots": 1}
    )
    begun = time.perf_counter()
    launch(config, stages=Stages(index=index_of(n_scans), ingest=ingest_nothing, process=process_nothing))
    return time.perf_counter() - begun
