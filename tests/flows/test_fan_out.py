"""Every item gets its row, whatever happens to workers; blame falls on what fails alone."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from flows.fan_out import fan_out
from flows.work import Job
from pipeline.errors import ServiceError
from schemas.reasons import Reason
from tests.flows import fakes


def _blame(item: int, reason: Reason, sentence: str) -> dict[str, Any]:
    return {"item": item, "reason": reason, "sentence": sentence}


def _run(client: Client, job: Job, n: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    return fan_out(client, job, range(n), blame=_blame, on_row=seen.append), seen


def test_rows_come_in_the_order_of_the_items_and_each_is_seen_once(client: Client) -> None:
    rows, seen = _run(client, Job(fakes.double), 20)
    assert rows == [{"value": 2 * i} for i in range(20)]
    assert sorted(row["value"] for row in seen) == [2 * i for i in range(20)]


def test_no_items_no_rows(client: Client) -> None:
    assert _run(client, Job(fakes.double), 0) == ([], [])


def test_only_the_item_that_kills_its_worker_each_time_is_blamed(client: Client, tmp_path: Path) -> None:
    log = tmp_path / "log"
    rows, seen = _run(client, Job(fakes.mixed, {"poison": (2,), "log": str(log)}), 8)
    assert rows[2]["reason"] is Reason.WORKER_DIED
    assert "SIGKILL" in rows[2]["sentence"]
    assert [row for i, row in enumerate(rows) if i != 2] == [{"value": 2 * i} for i in range(8) if i != 2]
    assert len(seen) == 8
    begun = collections.Counter(line.split()[0] for line in log.read_text().splitlines())
    assert begun["2"] == 2, "once beside others, once alone"
    assert sum(begun.values()) <= 8 + 2, "finished items are not done again"


def test_an_item_that_hangs_is_stopped_and_blamed(client: Client) -> None:
    rows, _ = _run(client, Job(fakes.mixed, {"hang": (1,)}, seconds=10), 4)
    assert rows[1]["reason"] is Reason.TIMEOUT
    assert rows[1]["sentence"] == "it took longer than 10 s, also alone"
    assert [rows[i] for i in (0, 2, 3)] == [{"value": 2 * i} for i in (0, 2, 3)]


def test_an_item_that_takes_all_memory_is_blamed_with_both_figures(client: Client) -> None:
    rows, _ = _run(client, Job(fakes.hungry, {"bytes_each": 64 << 20}), 3)
    assert rows[0]["reason"] is Reason.OUT_OF_MEMORY
    assert "972 MiB" in rows[0]["sentence"]
    assert rows[1:] == [{"value": 2}, {"value": 4}]


def test_what_lacked_memory_beside_others_is_done_alone(client: Client, tmp_path: Path) -> None:
    rows, _ = _run(client, Job(fakes.greedy_beside_others, {"folder": str(tmp_path)}), 2)
    assert rows == [{"value": 0}, {"value": 2}]


def test_a_missing_service_is_no_row(client: Client) -> None:
    with pytest.raises(ServiceError, match="connection refused"):
        _run(client, Job(fakes.unlucky), 5)


def test_an_error_of_ours_is_a_row_without_its_text(client: Client) -> None:
    rows, _ = _run(client, Job(fakes.buggy), 2)
    assert rows[1]["reason"] is Reason.ERROR
    assert "KeyError" in rows[1]["sentence"]
    assert "Jane" not in rows[1]["sentence"]


def test_a_run_ends_where_no_worker_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.fan_out._NOBODY_S", 0.5)
    monkeypatch.setattr("flows.fan_out._LOOK_S", 0.1)
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(ServiceError, match="no Dask worker could be started"),
    ):
        _run(client, Job(fakes.double), 2)
