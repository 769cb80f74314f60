"""A cohort by jobs of a real Slurm, as `cluster: slurm.yaml` has it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cohort_file import load_cohort
from flows.launch import launch
from pipeline.query import run_query
from tests.flows.cohorts import PRECOMPUTED, write_cohort
from tests.slurm import missing_programs, slurm

PROFILE = Path(__file__).resolve().parents[2] / "infra" / "clusters" / "slurm.yaml"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("prefect_server")]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Slurm of one node; the variables that lead to it."""
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)} here: install slurm-wlm and munge")
    with slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def _profile(folder: Path) -> dict[str, Any]:
    """The profile of infra/, made to fit a node of two cores."""
    profile: dict[str, Any] = yaml.safe_load(PROFILE.read_text())
    profile["cluster_kwargs"] |= {
        "cores": 1, "memory": "1500MiB", "walltime": "00:10:00", "shared_temp_directory": str(folder),
        "log_directory": str(folder / "logs"),
    }  # fmt: skip
    profile["cluster_kwargs"]["scheduler_options"]["host"] = "127.0.0.1"
    profile["adapt_kwargs"]["maximum_jobs"] = 1
    return profile


def test_a_cohort_by_jobs(node: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in node.items():
        monkeypatch.setenv(name, value)
    write_cohort(tmp_path, 4)
    (tmp_path / "slurm.yaml").write_text(yaml.safe_dump(_profile(tmp_path)))
    cohort = {"cohort": "boxes", "source": "manifest.csv", "store": "store", "recipe": PRECOMPUTED}
    (tmp_path / "cohort.yaml").write_text(yaml.safe_dump(cohort | {"cluster": "slurm.yaml"}))
    summary = launch(load_cohort(tmp_path / "cohort.yaml"))
    assert (summary["ingested"], summary["processed"], summary["lesions"]) == (4, 4, 0 + 1 + 2 + 3)
    workers = run_query(str(tmp_path / "store"), "SELECT DISTINCT worker FROM scans").column("worker").to_pylist()
    assert workers
    assert all(name.startswith("SLURMCluster-") for name in workers)
    (said,) = (tmp_path / "logs").glob("*.err")
    assert "tls://127.0.0.1" in said.read_text()
    assert _jobs_end(within_s=60), "no job outlives the run"


def _jobs_end(*, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not subprocess.run(["squeue", "--noheader"], capture_output=True, check=True).stdout.strip():
            return True
        time.sleep(0.3)
    return False
