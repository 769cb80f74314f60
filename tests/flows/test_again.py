"""What is done again and what is not: after a mask, a name of a level, or only the code that measures has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from flows.launch import launch
from flows.stages import Stages
from pipeline.query import run_query
from tests.flows import fakes
from tests.flows.cohorts import config_of, write_cohort, write_scan

pytestmark = pytest.mark.usefixtures("prefect_server")

ONLY_LOOKS = Stages(ingest=fakes.never, process=fakes.never)
ONLY_PROCESSES = Stages(ingest=fakes.never)


def _ask(config: Any, sql: str) -> list[dict[str, Any]]:
    return run_query(config.store, sql).to_pylist()


def test_a_changed_mask_makes_a_new_result_and_nothing_else_does(tmp_path: Path, cluster_address: str) -> None:
    write_cohort(tmp_path, 3)
    config = config_of(tmp_path, cluster=cluster_address)
    launch(config)
    mask = tmp_path / "scans" / "s1_lesions.nii.gz"
    os.utime(mask)
    assert launch(config, stages=ONLY_LOOKS)["done_before"] == 3, "touched, and the same"
    write_scan(tmp_path / "scans", "other", n_lesions=3)
    (tmp_path / "scans" / "other_lesions.nii.gz").replace(mask)
    summary = launch(config, stages=ONLY_PROCESSES)
    assert (summary["ingested"], summary["processed"], summary["done_before"]) == (0, 1, 2)
    assert sorted(row["n"] for row in _ask(config, "SELECT n_lesions AS n FROM scans")) == [0, 2, 3]
    mask.unlink()
    assert launch(config, stages=ONLY_PROCESSES)["processed"] == 1
    assert _ask(config, "SELECT reason_code AS r FROM scans WHERE status != 'ok'") == [{"r": "mask_missing"}], (
        "the result of a mask that is not there any more counts no longer"
    )
    assert launch(config, stages=ONLY_LOOKS)["processed"] == 0


def test_measuring_alone_is_done_from_stored_masks(tmp_path: Path, cluster_address: str) -> None:
    write_cohort(tmp_path, 3)
    config = config_of(tmp_path, cluster=cluster_address)
    first = launch(config)
    recipe = {"CT": {"lesions": {"model": "precomputed"}, "type_rule": {"dense_hu": 150}}}
    changed = config_of(tmp_path, cluster=cluster_address, recipe=recipe)
    second = launch(changed, stages=ONLY_PROCESSES)
    assert second["processed"] == 3
    assert first["recipes"] != second["recipes"]
    rows = _ask(
        config,
        "SELECT series_key, count(DISTINCT labels_uri) AS places, count(DISTINCT recipe_id) AS recipes, "
        "count(seconds_detect) AS detected, count(DISTINCT n_lesions) AS n FROM scans GROUP BY ALL",
    )
    assert len(rows) == 3
    assert all((r["places"], r["recipes"], r["detected"], r["n"]) == (1, 2, 1, 1) for r in rows), rows
    volumes = _ask(config, "SELECT recipe_id, sum(volume_mm3) AS v FROM lesions GROUP BY ALL")
    assert volumes[0]["v"] == volumes[1]["v"]
