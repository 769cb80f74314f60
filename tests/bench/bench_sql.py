"""The ten worked questions over a large cohort: from disk, from S3, and from both after `compact`; two threads.

SPINETALLY_BENCH_SCANS=100000 SPINETALLY_BENCH_LESIONS=100 python -m pytest -m bench -s tests/bench/bench_sql.py

asks the whole: 100,000 scans, 10 million lesions, 500 files for each of two recipes' results and the catalog. The
default is a twentieth of it. Each figure is the time of `run_query`, which opens the store anew, as
`spinetally sql` does; the program's own start (about a second) is not in it.
"""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.compact import compact
from pipeline.query import run_query
from pipeline.query.examples import EXAMPLES
from pipeline.store import Store
from tests.bench.large_cohort import Size, write_cohort
from tests.servers import ObjectStorage

SCANS = int(os.environ.get("SPINETALLY_BENCH_SCANS", "5000"))
LESIONS = int(os.environ.get("SPINETALLY_BENCH_LESIONS", "100"))
FILES = int(os.environ.get("SPINETALLY_BENCH_FILES", str(max(1, min(500, SCANS // 200)))))
REPEATS = int(os.environ.get("SPINETALLY_BENCH_REPEATS", "3"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store on disk."""
    path = tmp_path_factory.mktemp("large") / "store"
    write_cohort(Store.create(str(path), cohort="large"), Size(SCANS, LESIONS, files=FILES), recipes=("a", "b"))
    return path


def _ask(store: Store, what: str) -> None:
    """Time every question."""
    seconds = {example.title: _median(lambda sql=example.sql: run_query(store, sql, threads=2)) for example in EXAMPLES}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    walls = [wall for wall, _ in seconds.values()]
    print(
        f"\n{what}: {SCANS} scans, {SCANS * LESIONS} lesions by recipe, two recipes, {FILES} files each; slowest "
        f"{max(walls):.2f} s, all {sum(walls):.2f} s, load {os.getloadavg()[0]:.1f}, largest so far {peak:.0f} MB"
    )
    for title, (wall, processor) in sorted(seconds.items(), key=lambda item: -item[1][0]):
        print(f"  {wall:6.2f} s ({processor:5.2f} s of processor)  {title}")


def _median(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    walls, processors = [], []
    for _ in range(REPEATS):
        start, before = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - start)
        processors.append(time.process_time() - before)
    return statistics.median(walls), statistics.median(processors)


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_questions_on_disk(filled: Path) -> None:
    store = Store.open(str(filled))
    _ask(store, "disk, many files")
    start = time.perf_counter()
    compact(store)
    print(f"\ncompact: {time.perf_counter() - start:.1f} s")
    _ask(store, "disk, compacted")


@pytest.mark.bench
@pytest.mark.timeout(7200)
def test_questions_on_s3(filled: Path, object_storage: ObjectStorage) -> None:
    bucket = object_storage.new_bucket()
    filesystem = object_storage.filesystem()
    for folder in ("catalog", "results", "clinical"):
        filesystem.put(f"{filled}/{folder}/", f"{bucket}/store/{folder}/", recursive=True)
    filesystem.put(f"{filled}/store.json", f"{bucket}/store/store.json")
    store = Store.open(f"s3://{bucket}/store", storage_options=object_storage.storage_options)
    _ask(store, "S3 (SeaweedFS), many files")
    start = time.perf_counter()
    compact(store)
    print(f"\ncompact on S3: {time.perf_counter() - start:.1f} s")
    _ask(store, "S3 (SeaweedFS), compacted")
