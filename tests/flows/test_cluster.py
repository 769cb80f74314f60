"""Sizes of a local cluster, and what is said where a cluster cannot be had."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed import Client

from flows.cluster import local_capacity, open_client, total_slots
from pipeline.errors import ConfigError, ServiceError
from schemas.config import CohortConfig
from tests.flows.conftest import CAPACITY

GIB = 1 << 30
PROFILES = Path(__file__).resolve().parents[2] / "infra" / "clusters"


def _config(**more: Any) -> CohortConfig:
    return CohortConfig.model_validate({"source": "s", "store": "t"} | more)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen cores and 64 GiB."""
    monkeypatch.setattr("dask.system.CPU_COUNT", 16)
    monkeypatch.setattr("flows.cluster.MEMORY_LIMIT", 64 * GIB)


@pytest.mark.usefixtures("machine")
def test_a_process_per_core_where_memory_allows() -> None:
    capacity = local_capacity(_config(), slot_bytes=2 * GIB, worker_bytes=GIB)
    assert (capacity.workers, capacity.slots, capacity.threads) == (16, 1, 1)


@pytest.mark.usefixtures("machine")
def test_fewer_processes_with_more_threads_where_memory_is_short() -> None:
    capacity = local_capacity(_config(), slot_bytes=13 * GIB, worker_bytes=GIB)
    assert (capacity.workers, capacity.slots, capacity.threads) == (4, 1, 4)
    assert capacity.workers * capacity.memory_bytes <= 64 * GIB


@pytest.mark.usefixtures("machine")
def test_what_the_cohort_says_is_taken() -> None:
    capacity = local_capacity(_config(workers=3, slots=2))
    assert (capacity.workers, capacity.slots, capacity.threads) == (3, 2, 5)


def test_workers_are_set_up_before_they_start(client: Client) -> None:
    def look() -> tuple[Any, ...]:
        import sys

        import dask

        memory = [dask.config.get(f"distributed.worker.memory.{name}") for name in ("spill", "pause", "target")]
        return os.environ["OMP_NUM_THREADS"], "prefect" in sys.modules, *memory

    assert set(client.run(look).values()) == {("1", False, False, False, False)}
    assert total_slots(client) == CAPACITY.workers * CAPACITY.slots
    assert client.dashboard_link.startswith("http://127.0.0.1:")


def test_no_scheduler_is_a_missing_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cluster.CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(ServiceError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        open_client(_config(cluster="tcp://127.0.0.1:9"), CAPACITY),
    ):
        pass


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"cluster_kwargs": {}}, "wants cluster_class"),
        ({"cluster_class": "distributed.LocalCluster", "kwargs": {}}, "wants cluster_class"),
        ({"cluster_class": "no_such_package.Cluster"}, "cannot be imported"),
        ({"cluster_class": "distributed.SpecCluster", "cluster_kwargs": {"n_wrokers": 1}}, "do not fit"),
    ],
)
def test_a_wrong_description_is_a_wrong_request(content: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(content))
    for cluster in (content, str(tmp_path / "cluster.yaml")):
        with pytest.raises(ConfigError, match=words), open_client(_config(cluster=cluster), CAPACITY):
            pass


def test_no_such_description(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"nowhere\.yaml cannot be read"),
        open_client(_config(cluster=str(tmp_path / "nowhere.yaml")), CAPACITY),
    ):
        pass


def test_a_cluster_from_yaml_works_and_adapts(tmp_path: Path) -> None:
    content = yaml.safe_load((PROFILES / "local.yaml").read_text())
    content["cluster_kwargs"] |= {"n_workers": 0, "memory_limit": "512MiB"}
    content["adapt_kwargs"] = {"minimum": 1, "maximum": 1}
    with open_client(_config(cluster=content), CAPACITY) as client:
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
