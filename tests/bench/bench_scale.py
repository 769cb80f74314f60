"""What 130,000 CTs would take, from what one of them takes here: read from S3, detected, measured, stored in S3.

BENCH_SLICES=300 ORCHESTRATION_MS=5 python -m pytest -m bench -s tests/bench/bench_scale.py
"""

from __future__ import annotations

import collections
import os
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.plan import MAX_SERIES
from pipeline.recipe import resolve_all
from pipeline.scan.process import ScanRequest, Workplace, process_scan
from pipeline.store import Store
from pipeline.store.results import commit_catalog, commit_results
from schemas.config import CohortConfig
from tests.bench.bench_ingest import SLICES, long_series
from tests.s3_faults import S3Proxy, s3_proxy
from tests.servers import ObjectStorage

T = TypeVar("T")

N_SCANS, HOURS = 130_000, 9.0
ORCHESTRATION_MS = float(os.environ.get("ORCHESTRATION_MS", "5"))
"""Of the flow's process for each scan: 5 is the aim, bench_orchestration measures it. It is one process, whatever the
workers."""
READS_PER_S, WRITES_PER_S = 5500, 3500
"""Of one prefix of Amazon S3, before it splits it: https://docs.aws.amazon.com/AmazonS3/latest/userguide/optimizing-performance.html"""


HEADER_HELPERS = 16
"""Processes that read headers at a time, on the machine of the flow at most."""


@dataclass
class Taken:
    """What one step of one scan took."""

    core_seconds: float
    """Of this process and its helpers: less disturbed by others than the clock."""
    reads: int
    """GET and HEAD."""
    writes: int
    """PUT and POST."""


def _cpu_seconds() -> float:
    """Of this process, its helpers, and those that have ended; not of the object storage."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    helpers = [child for child in psutil.Process().children(recursive=True) if child.name() != "weed"]
    times = [process.cpu_times() for process in (psutil.Process(), *helpers)]
    return used.ru_utime + used.ru_stime + sum(time.user + time.system for time in times)


def one_scan(config: CohortConfig, proxy: S3Proxy) -> tuple[dict[str, Taken], dict[str, Any]]:
    """A CT from DICOM files in S3 to its row, in this process: what each step took, and its row of the catalog."""
    store = Store.create(config.store, cohort="bench", storage_options=config.storage_options)
    recipe, taken = resolve_all(config.recipe)["CT"], {}

    def step(name: str, call: Callable[[], T]) -> T:
        proxy.calm()
        before = _cpu_seconds()
        answer = call()
        methods = collections.Counter(method for method, _ in proxy.requests)
        reads, writes = methods["GET"] + methods["HEAD"], methods["PUT"] + methods["POST"]
        taken[name] = Taken(_cpu_seconds() - before, reads, writes)
        return answer

    index = step("index", lambda: index_source(config, identity=Identity.throwaway()))
    (entry,) = index.series
    row = step("ingest", lambda: ingest_series(entry, store=store, shard="s", attempt="a", config=config))
    assert row["status"] == "ok", row["reason"]
    request, workplace = ScanRequest(row), Workplace(store, storage_options=config.storage_options)
    result = step("detect and tally", lambda: process_scan(request, recipe=recipe, attempt="a", workplace=workplace))
    assert result["status"] == "ok", result["reason"]
    commit_catalog(store, shard="s", attempt="a", rows=[row])
    commit_results(store, recipe_id=recipe.recipe_id, shard="s", attempt="a", rows=[result])
    return taken, row


def both(folder: Path, shared_data: Path, storage: ObjectStorage) -> tuple[dict[str, Taken], Store, dict[str, Any]]:
    """The scan twice: through a proxy that counts requests (models are loaded on the way), then straight, for time."""
    long_series(shared_data, folder)
    bucket, filesystem = storage.new_bucket(), storage.filesystem()
    filesystem.put([str(path) for path in folder.iterdir()], f"{bucket}/scans/")
    with s3_proxy(storage.endpoint) as proxy:
        found = []
        for name, endpoint in (("counted", proxy.endpoint), ("timed", storage.endpoint)):
            options = storage.storage_options | {"client_kwargs": {"endpoint_url": endpoint}}
            values = {"source": f"s3://{bucket}/scans", "store": f"s3://{bucket}/{name}", "storage_options": options}
            found.append(one_scan(CohortConfig.model_validate(values), proxy))
    (counted, _), (timed, row) = found
    taken = {name: Taken(timed[name].core_seconds, step.reads, step.writes) for name, step in counted.items()}
    return taken, Store.open(f"s3://{bucket}/timed", storage_options=storage.storage_options), row


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_what_many_scans_would_take(
    shared_data: Path, object_storage: ObjectStorage, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    taken, store, row = both(tmp_path, shared_data, object_storage)
    paths = store.list("")
    arrays = [path for path in paths if path.startswith(("volumes/", "labels/"))]
    stored = store.size_below("")
    core_s = sum(step.core_seconds for step in taken.values())
    reads, writes = sum(s.reads for s in taken.values()), sum(s.writes for s in taken.values())
    rates = {
        "the flow's process": 1000 / ORCHESTRATION_MS,
        "headers on one machine": HEADER_HELPERS / taken["index"].core_seconds,
        "S3, reads of one prefix": READS_PER_S / reads,
        "S3, writes of one prefix": WRITES_PER_S / writes,
    }
    first = min(rates, key=lambda name: rates[name])
    cores = N_SCANS * core_s / HOURS / 3600
    for name, step in taken.items():
        print(
            f"\none CT, {name}: {step.core_seconds:.1f} core seconds, {step.reads} reads, {step.writes} writes", end=""
        )
    figures = {
        "one CT": f"{' x '.join(map(str, row['shape']))} voxels in {SLICES} files, {row['source_bytes'] / 1e6:.0f} MB",
        "core hours": f"{N_SCANS * core_s / 3600:,.0f}",
        f"cores for {HOURS:g} hours": f"{cores:,.0f}",
        "objects": f"{N_SCANS * len(arrays) + 2 * N_SCANS / MAX_SERIES:,.0f}",
        "requests": f"{N_SCANS * reads / 1e6:,.1f} million reads, {N_SCANS * writes / 1e6:,.1f} million writes",
        "read from the source": f"{N_SCANS * row['source_bytes'] / 1e12:,.1f} TB",
        "stored": f"{N_SCANS * stored / 1e12:,.2f} TB",
        "scans per second at most": ", ".join(f"{name} {rate:,.0f}" for name, rate in rates.items()),
        "first bottleneck": f"{first}, from {rates[first] * core_s:,.0f} cores on",
        "not quicker than": f"{N_SCANS / rates[first] / 3600:.1f} hours",
    }
    for name, value in figures.items():
        record_property(name, value)
        print(f"\n{name}: {value}", end="")
