"""The flow on a real server and real workers: what it does, what it does again, and what it leaves alone."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flows import prepare
from flows.launch import launch
from flows.pending import Retry
from flows.stages import Stages
from flows.standing import standing
from pipeline.errors import ServiceError, SourceError, StoreError
from pipeline.query import run_query
from pipeline.store import Store
from tests.flows import fakes
from tests.flows.cohorts import config_of, write_cohort, write_manifest, write_scan

pytestmark = pytest.mark.usefixtures("prefect_server")

NOTHING = Stages(process=fakes.process_nothing)
ONLY_LOOKS = Stages(ingest=fakes.never, process=fakes.never)


@pytest.fixture
def cohort(tmp_path: Path, cluster_address: str) -> Any:
    """Five scans; call it for a cohort file with other keys."""
    write_cohort(tmp_path)
    return lambda **more: config_of(tmp_path, **({"cluster": cluster_address} | more))


def _ask(config: Any, sql: str) -> list[dict[str, Any]]:
    return run_query(config.store, sql).to_pylist()


def test_from_files_to_tables_and_nothing_the_second_time(cohort: Any) -> None:
    summary = launch(cohort())
    assert summary | {"seconds": 0} == {
        "series": 5, "ingested": 5, "quarantined": 0, "excluded": 0, "processed": 5, "failed": 0, "done_before": 0,
        "no_model": 0, "lesions": 0 + 1 + 2 + 3 + 0, "seconds": 0, "recipes": summary["recipes"],
    }  # fmt: skip
    assert sorted(row["n"] for row in _ask(cohort(), "SELECT n_lesions AS n FROM scans")) == [0, 0, 1, 2, 3]
    assert _ask(cohort(), "SELECT count(*) AS n FROM lesions") == [{"n": 6}]
    files = Store.open(cohort().store).list("")
    again = launch(cohort(), stages=ONLY_LOOKS)
    assert (again["ingested"], again["processed"], again["done_before"]) == (0, 0, 5)
    assert Store.open(cohort().store).list("") == files, "a run with nothing to do writes nothing"


def test_deleting_a_results_file_makes_exactly_its_scans_again(cohort: Any) -> None:
    config = cohort()
    launch(config, stages=NOTHING, limit=2)
    summary = launch(config, stages=NOTHING)
    assert (summary["ingested"], summary["processed"], summary["done_before"]) == (3, 3, 2)
    store = Store.open(config.store)
    first, second = store.list("results")
    held = store.read_table(first)["series_key"].to_pylist()
    os.unlink(store.path(first))
    summary = launch(config, stages=Stages(ingest=fakes.never, process=fakes.process_nothing))
    assert (summary["ingested"], summary["processed"], summary["done_before"]) == (0, len(held), 5 - len(held))
    (made,) = set(store.list("results")) - {second}
    assert sorted(store.read_table(made)["series_key"].to_pylist()) == sorted(held)


def test_what_failed_waits_for_retry(cohort: Any) -> None:
    config = cohort()
    assert launch(config, stages=Stages(process=fakes.process_badly))["failed"] == 5
    assert launch(config, stages=ONLY_LOOKS)["done_before"] == 5
    assert launch(config, stages=ONLY_LOOKS, retry=Retry(reason="gap"))["processed"] == 0
    summary = launch(config, stages=NOTHING, retry=Retry(reason="error"))
    assert (summary["processed"], summary["failed"], summary["done_before"]) == (5, 0, 0)
    assert launch(config, stages=ONLY_LOOKS, retry=Retry())["processed"] == 0, "the new rows count"


def test_quarantine_waits_for_retry_and_a_new_version_does_not(cohort: Any, tmp_path: Path) -> None:
    write_scan(tmp_path / "scans", "s1", has_geometry=False)
    config = cohort()
    summary = launch(config, stages=NOTHING)
    assert (summary["ingested"], summary["quarantined"], summary["processed"]) == (4, 1, 4)
    assert launch(config, stages=ONLY_LOOKS)["quarantined"] == 0
    assert launch(config, stages=Stages(process=fakes.never), retry=Retry())["quarantined"] == 1
    write_scan(tmp_path / "scans", "s1", n_lesions=1, seed=77)
    summary = launch(config, stages=NOTHING)
    assert (summary["ingested"], summary["processed"], summary["done_before"]) == (1, 1, 4)


def test_other_modalities_and_selection(cohort: Any, tmp_path: Path) -> None:
    write_cohort(tmp_path, 4, modalities=("CT", "MR"))
    summary = launch(cohort(), stages=NOTHING)
    assert (summary["ingested"], summary["processed"], summary["no_model"]) == (4, 2, 2)
    rule = [{"name": "only_ct", "modality": ["CT"]}]
    summary = launch(cohort(select=rule), stages=Stages(process=fakes.never))
    assert (summary["excluded"], summary["ingested"], summary["done_before"], summary["no_model"]) == (2, 0, 2, 0)
    assert launch(cohort(), stages=NOTHING)["ingested"] == 2, "without the rule they are read"


def test_a_series_that_vanished_is_told_and_its_rows_stay(
    cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(prepare.log, "warning", lambda text, *values: said.append(text % values))
    config = cohort()
    assert "vanished" not in launch(config, stages=NOTHING)
    assert standing(config)["series"]["vanished"] == 0
    (tmp_path / "scans" / "s1.nii.gz").unlink()
    assert launch(config, stages=ONLY_LOOKS)["vanished"] == 1, "the manifest still names it"
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("".join(line for line in manifest.open() if "s1.nii.gz" not in line))
    summary = launch(config, stages=ONLY_LOOKS)
    assert (summary["series"], summary["vanished"]) == (4, 1)
    assert "1 series of the store are no longer in the source" in said[-1]
    assert len(_ask(config, "SELECT series_key FROM series WHERE status = 'ok'")) == 5
    assert standing(config)["series"]["vanished"] == 1


def test_another_recipe_stands_beside_the_first(cohort: Any) -> None:
    launch(cohort(), stages=NOTHING)
    other = cohort(recipe={"CT": {"lesions": {"model": "precomputed", "labels": "binary"}}})
    summary = launch(other, stages=Stages(ingest=fakes.never, process=fakes.process_nothing))
    assert summary["processed"] == 5
    assert _ask(other, "SELECT recipe_id, count(*) AS n FROM scans GROUP BY ALL ORDER BY ALL") == sorted(
        ({"recipe_id": r, "n": 5} for r in Store.open(other.store).list("recipes") and _ids(other)),
        key=lambda row: str(row["recipe_id"]),
    )


def _ids(config: Any) -> list[str]:
    return [path.removeprefix("recipes/").removesuffix(".json") for path in Store.open(config.store).list("recipes")]


def test_a_scan_that_kills_its_worker_is_quarantined_alone(cohort: Any, tmp_path: Path) -> None:
    import nibabel as nib
    import numpy as np

    image = nib.Nifti1Image(np.random.default_rng(0).integers(0, 9, (10, 10, 11)).astype(np.int16), np.eye(4))
    image.set_qform(np.eye(4), code=1)
    nib.save(image, tmp_path / "scans" / "s2.nii.gz")
    config = cohort()
    summary = launch(config, stages=Stages(process=fakes.process_or_die))
    assert (summary["processed"], summary["failed"]) == (5, 0)
    rows = _ask(config, "SELECT status, reason_code, count(*) AS n FROM scans GROUP BY ALL ORDER BY ALL")
    assert rows == [
        {"status": "ok", "reason_code": None, "n": 4},
        {"status": "quarantined", "reason_code": "worker_died", "n": 1},
    ]


def test_scans_of_one_patient_are_compared_once(cohort: Any, tmp_path: Path) -> None:
    def until(month: int) -> None:
        write_manifest(tmp_path, [
            {"uri": f"scans/s{i}.nii.gz", "patient_id": "one", "study_date": f"2020-0{i}-01", "modality": "CT",
             "lesions_uri": f"scans/s{i}_lesions.nii.gz"}
            for i in range(1, month + 1)
        ])  # fmt: skip

    config = cohort()
    pairs = "SELECT DISTINCT series_key_0, series_key_1 FROM edges"
    for month, n_pairs, n_files in ((3, 2, 1), (4, 3, 2)):
        until(month)
        launch(config)
        assert len(_ask(config, pairs)) == n_pairs
        assert len(_edge_files(config)) == n_files, "what was compared is not compared again"


def _edge_files(config: Any) -> list[str]:
    return [path for path in Store.open(config.store).list("changes") if path.endswith(".parquet")]


def test_a_run_that_ended_before_it_compared_is_made_up_for(
    cohort: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(tmp_path, [
        {"uri": f"scans/s{i}.nii.gz", "patient_id": "one", "study_date": f"2020-0{i}-01", "modality": "CT",
         "lesions_uri": f"scans/s{i}_lesions.nii.gz"}
        for i in (1, 2)
    ])  # fmt: skip

    def end(*_: Any, **__: Any) -> int:
        raise ServiceError("everything was killed")

    config = cohort()
    with monkeypatch.context() as patch:
        patch.setattr("flows.process_cohort.add_changes", end)
        with pytest.raises(ServiceError):
            launch(config)
    assert _ask(config, "SELECT count(*) AS n FROM scans") == [{"n": 2}]
    assert not _edge_files(config)
    assert launch(config, stages=ONLY_LOOKS)["done_before"] == 2
    assert len(_edge_files(config)) == 1
    files = Store.open(config.store).list("")
    launch(config, stages=ONLY_LOOKS)
    assert Store.open(config.store).list("") == files, "and once is enough"


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(path.read_bytes()[:-9]), Path.unlink])
def test_voxels_that_were_damaged_in_the_store_are_read_again(cohort: Any, tmp_path: Path, spoil: Any) -> None:
    config = cohort()
    launch(config, limit=2)
    for path in (tmp_path / "store" / "volumes").rglob("c/0/0/0"):
        spoil(path)
    other = cohort(recipe={"CT": {"lesions": {"model": "precomputed", "labels": "binary"}}})
    assert launch(other)["failed"] == 2
    (said,) = _ask(other, "SELECT DISTINCT reason_code, reason FROM scans WHERE status != 'ok'")
    assert said["reason_code"] == "stored_damaged"
    assert "`retry`" in said["reason"]
    summary = launch(other, retry=Retry())
    assert (summary["ingested"], summary["processed"], summary["failed"]) == (2, 2, 0)
    assert launch(other, stages=ONLY_LOOKS)["done_before"] == 5


def test_columns_that_the_cohort_file_no_longer_lists_are_not_shown(cohort: Any, tmp_path: Path) -> None:
    write_manifest(tmp_path, [{"uri": "scans/s1.nii.gz", "patient_id": "one", "tumour": "lung", "job": "sailor"}])
    for columns in (["tumour", "job"], ["tumour"], [], ["job"]):
        config = cohort(clinical=columns)
        launch(config)
        rows = run_query(config.store, "FROM clinical")
        assert rows.column_names == ["patient_key", *columns]


def test_a_worker_without_a_variable_leaves_scans_pending(cohort: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.tasks.RETRY_SECONDS", [])
    config = cohort()
    with pytest.raises(ServiceError, match="TALLY_NOWHERE"):
        launch(config, stages=Stages(ingest=fakes.lacks_a_variable))
    assert not Store.open(config.store).list("catalog")


def test_a_wrong_request_writes_nothing(cohort: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "letter.pdf").write_bytes(b"%PDF-1.4")
    for source in ("nowhere", "empty"):
        with pytest.raises(SourceError):
            launch(cohort(source=str(tmp_path / source)))
    assert not (tmp_path / "store").exists()
    launch(cohort(), stages=NOTHING, limit=1)
    with pytest.raises(StoreError, match="belongs to the cohort"):
        launch(cohort(cohort="another"))


def test_a_service_that_is_away_leaves_scans_pending(cohort: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.tasks.RETRY_SECONDS", [0.1])
    config = cohort()
    with pytest.raises(ServiceError, match="connection refused"):
        launch(config, stages=Stages(process=fakes.store_away))
    assert _ask(config, "SELECT count(*) AS n FROM series") == [{"n": 5}], "the ingest was committed once"
    assert _ask(config, "SELECT count(*) AS n FROM scans") == [{"n": 0}]
    assert len(Store.open(config.store).list("catalog")) == 1
    assert launch(config, stages=Stages(ingest=fakes.never, process=fakes.process_nothing))["processed"] == 5


def test_two_runs_at_the_same_moment_leave_the_tables_of_one(cohort: Any) -> None:
    config = cohort()
    with ThreadPoolExecutor(2) as both:
        runs = [both.submit(launch, config, stages=NOTHING) for _ in range(2)]
        summaries = [run.result() for run in runs]
    assert all(summary["processed"] + summary["done_before"] == 5 for summary in summaries)
    assert _ask(config, "SELECT count(*) AS n, count(DISTINCT series_key) AS k FROM scans") == [{"n": 5, "k": 5}]
    assert _ask(config, "SELECT count(*) AS n FROM series") == [{"n": 5}]


def test_nothing_of_a_patient_is_in_the_store_but_in_private(cohort: Any) -> None:
    launch(cohort(), stages=NOTHING)
    store = Store.open(cohort().store)
    public = [path for path in store.list("") if not path.startswith("private/")]
    assert public
    assert not [path for path in public if b"Secretname" in store.read(path) or "Secretname" in path]
    assert any(b"Secretname" in store.read(path) for path in store.list("private"))
