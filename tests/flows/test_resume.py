"""After kill -9 of everything, at most one shard's work per slot is done again."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.launch import launch
from flows.stages import Stages
from pipeline.plan import MAX_SERIES
from schemas.config import CohortConfig
from tests.bench.bench_orchestration import index_of, ingest_nothing
from tests.flows import cohorts, fakes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("prefect_server")]

N_SCANS, SLOTS = 400, 2
STAGES = Stages(index=index_of(N_SCANS), ingest=ingest_nothing, process=fakes.process_counted)
FIRST_RUN = """
import sys
from pathlib import Path
from flows.launch import launch
from tests.flows.test_resume import STAGES, config_of
launch(config_of(Path(sys.argv[1])), stages=STAGES)
"""


def config_of(folder: Path) -> CohortConfig:
    """Nothing is read: the index is made up."""
    return cohorts.config_of(folder, workers=SLOTS)


def _begun(folder: Path) -> collections.Counter[str]:
    return collections.Counter(path.name.rpartition("-")[0] for path in (folder / "begun").iterdir())


def test_little_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    with subprocess.Popen([sys.executable, "-c", FIRST_RUN, str(tmp_path)], env=environment) as process:
        while process.poll() is None and len(_begun(tmp_path)) < N_SCANS // 2:
            time.sleep(0.02)
        everything = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for each in everything:
            each.kill()
    psutil.wait_procs(everything, timeout=20)
    before = len(_begun(tmp_path))
    assert before < N_SCANS, "it was killed on its way"
    summary = launch(config_of(tmp_path), stages=STAGES)
    begun = _begun(tmp_path)
    assert len(begun) == N_SCANS
    again = sum(begun.values()) - N_SCANS
    print(f"{before} of {N_SCANS} scans were begun, {again} were done again")
    assert 0 < again <= SLOTS * MAX_SERIES
    assert summary["processed"] + summary["done_before"] == N_SCANS
