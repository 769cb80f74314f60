"""What is removed, and above all what is not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.compact import compact
from pipeline.errors import RequestError
from pipeline.grid import Grid, Volume
from pipeline.housekeeping import forget, gc, patient_keys
from pipeline.query import connect, run_query
from pipeline.store import TEMPORARY, Store, new_attempt
from pipeline.store.volumes import read_labels, read_volume, write_labels, write_volume
from pipeline.verdicts import add_verdicts
from schemas.catalog import INDEX, PLAN
from schemas.columns import table
from schemas.edges import EDGES
from schemas.views import VIEWS
from tests.pipeline.query.rows import add_scans, add_series, attempt, lesion, scan, series
from tests.servers import ObjectStorage

GRID = Grid((2, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
NOW = timedelta(0)


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Two patients in one shard and one in another, with everything that a store holds of them."""
    if request.param == "disk":
        store = Store.create(str(tmp_path / "store"), cohort="test")
    else:
        storage: ObjectStorage = request.getfixturevalue("object_storage")
        options = storage.storage_options
        store = Store.create(f"s3://{storage.new_bucket()}/store", cohort="test", storage_options=options)
    for shard, names in {"one": ["anna-s1-a", "berta-s1-a"], "two": ["clara-s1-a"]}.items():
        volumes = {name: add_volume(store, shard, name, attempt(1)) for name in names}
        labels = {name: add_labels(store, shard, name, attempt(1)) for name in names}
        add_series(store, *(series(name, volume_uri=volumes[name]) for name in names), shard=shard)
        add_scans(store, *(scan(name, [lesion(1)], labels_uri=labels[name]) for name in names), shard=shard)
        plan = [{"shard": shard, "position": i, "version": "v1", **keys(name)} for i, name in enumerate(names)]
        store.write_table(f"plan/{shard}.parquet", table(plan, PLAN))
    add_private(store, ["anna-s1-a", "berta-s1-a", "clara-s1-a"])
    return store


def keys(name: str) -> dict[str, str]:
    patient, study, _ = name.split("-")
    return {"series_key": name, "study_key": f"{patient}-{study}", "patient_key": patient}


def add_volume(store: Store, shard: str, name: str, by: str) -> str:
    group = f"volumes/{shard}.zarr/{name}/{by}"
    write_volume(store, group, Volume(np.ones(GRID.shape, np.int16), GRID), attributes={})
    return group


def add_labels(store: Store, shard: str, name: str, by: str) -> str:
    group = f"labels/recipe=r1/{shard}.zarr/{name}/{by}"
    write_labels(store, group, grid=GRID, lesions=np.ones(GRID.shape, np.uint16), levels=None)
    return group


def add_private(store: Store, names: list[str]) -> None:
    uris = {name: f"file:///in/{name}.dcm" for name in names}
    crosswalk = [keys(name) | {"patient_id": f"ID-{name.split('-')[0]}", "uris": [uri]} for name, uri in uris.items()]
    store.write_table("private/crosswalk/1.parquet", pa.Table.from_pylist(crosswalk))
    index = [{"uri": uri, "size": 1, "stamp": "1", "kind": "dicom", "header": f"{{{uri}}}"} for uri in uris.values()]
    index += [{"uri": "file:///in/anna/report.pdf", "size": 1, "stamp": "1", "kind": "not_dicom", "header": "{}"}]
    store.write_table("private/index/1.parquet", table(index, INDEX))
    clinical = pa.Table.from_pylist([keys(name) | {"tumour": "lung"} for name in names])
    store.write_table("clinical/1.parquet", clinical)


def everything(store: Store) -> dict[str, bytes]:
    """Every file of the store through a back door."""
    return {path: store.fs.cat_file(path) for path in store.fs.find(store.root)}


def answers(store: Store, condition: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every view, of all patients or of some."""
    keys = {view: "patient_key" if "patient_key" in VIEWS[view].names else "series_key" for view in VIEWS}
    with connect(store) as connection:
        return {
            view: connection.execute(f"FROM {view} {condition.format(key)} ORDER BY ALL").fetchall()
            for view, key in keys.items()
            if key in VIEWS[view].names and view != "verdicts"
        }


def test_gc_leaves_all_that_a_row_names(store: Store) -> None:
    compact(store)
    before = everything(store)
    assert gc(store, grace=NOW).paths == ()
    assert everything(store) == before


def test_gc_removes_arrays_that_no_row_names(store: Store) -> None:
    lost = [add_volume(store, "one", "anna-s1-a", attempt(7)), add_labels(store, "one", "dora-s1-a", attempt(7))]
    young = add_volume(store, "one", "anna-s1-a", new_attempt())
    before = everything(store)
    told = gc(store, dry_run=True)
    assert everything(store) == before
    assert told.paths == tuple(sorted(lost))
    assert told.n_bytes == sum(len(data) for path, data in before.items() if any(f"/{g}/" in path for g in lost))
    assert gc(store) == told
    left = everything(store)
    assert left == {path: data for path, data in before.items() if not any(f"/{g}/" in path for g in lost)}
    assert read_volume(store, young).voxels.all(), "what is young may have its row on the way"
    for row in run_query(store, "SELECT volume_uri, labels_uri FROM series JOIN scans USING (series_key)").to_pylist():
        assert read_volume(store, row["volume_uri"]).voxels.all()
        assert read_labels(store, row["labels_uri"])[0] is not None


def test_gc_keeps_arrays_of_rows_that_do_not_count_now(store: Store) -> None:
    older = add_volume(store, "one", "anna-s1-a", attempt(0))
    add_series(store, series("anna-s1-a", volume_uri=older), number=0, shard="one")
    assert gc(store, grace=NOW).paths == ()


def test_gc_removes_merged_tables_that_are_out_of_date(store: Store) -> None:
    first = compact(store).folder
    add_series(store, series("emma-s1-a"), shard="three")
    second = compact(store).folder
    assert gc(store).paths == (), "a merge of today may be in use"
    assert gc(store, grace=NOW).paths == (first,)
    assert compact(store).folder is None, "the newer one is still good"
    assert second is not None


def test_gc_removes_files_half_written(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"), cohort="test")
    half = tmp_path / "store" / "results" / ".x.parquet.0123456789ab"
    half.parent.mkdir()
    half.write_bytes(b"half")
    somebodys = tmp_path / "store" / ".gitignore"
    somebodys.write_text("*")
    assert gc(store).paths == ()
    assert gc(store, grace=NOW).paths == ("results/.x.parquet.0123456789ab",)
    assert not half.exists()
    assert somebodys.exists()


def test_what_is_half_written_is_called_as_gc_knows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, seen = Store.create(str(tmp_path / "store"), cohort="test"), list[str]()
    monkeypatch.setattr("os.replace", lambda source, _: seen.append(Path(source).name))
    store.write("results/x.parquet", b"half")
    (name,) = seen
    assert TEMPORARY.fullmatch(name)


def test_forget_leaves_no_trace_of_a_patient_and_all_of_the_others(store: Store) -> None:
    edge = {"pair_id": "x", "recipe_id": "r1", "event": 1, "state": "new", "n_0": 0, "n_1": 1}
    ends = {f"{name}_{i}": "k" for name in ("study_key", "series_key", "attempt") for i in (0, 1)}
    edges = table([edge | ends | {"patient_key": p} for p in ("anna", "berta")], EDGES)
    store.write_table("changes/recipe=r1/x.parquet", edges.replace_schema_metadata({b"pairs": b"kept"}))
    add_verdicts(store, b"series_key,lesion_id,decision,reader\nanna-s1-a,1,reject,a\nberta-s1-a,1,accept,a\n")
    write_labels(
        store,
        f"truth/masks.zarr/anna-s1-a/{attempt(1)}-1",
        grid=GRID,
        lesions=np.ones(GRID.shape, np.uint16),
        levels=None,
    )
    compact(store)
    before = answers(store, "WHERE {} != 'anna'")
    summary = forget(store, "anna")
    assert summary.n_arrays == 3
    assert summary.n_rows == 9
    assert answers(store, "") == before
    for path, data in everything(store).items():
        assert b"anna" not in data, path
        assert b"ID-anna" not in data
        assert "anna" not in path.removeprefix(store.root)
    assert store.read_table("changes/recipe=r1/x.parquet").schema.metadata[b"pairs"] == b"kept"
    assert read_volume(store, f"volumes/one.zarr/berta-s1-a/{attempt(1)}").voxels.all()
    with pytest.raises(RequestError, match="no patient"):
        forget(store, "anna")


def test_forget_goes_on_where_it_ended(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Store.remove, []

    def fails(self: Store, path: str) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(self, path)

    monkeypatch.setattr(Store, "remove", fails)
    with pytest.raises(KeyboardInterrupt):
        forget(store, "anna")
    monkeypatch.setattr(Store, "remove", real)
    forget(store, "anna")
    assert not [path for path, data in everything(store).items() if b"anna" in data]


def test_a_table_of_one_patient_goes_as_a_whole(store: Store) -> None:
    forget(store, "clara")
    assert not [
        path for path in store.list("") if path.startswith(("catalog/two", "results/recipe=r1/two", "plan/two"))
    ]
    assert run_query(store, "SELECT count(*) AS n FROM lesions").to_pylist() == [{"n": 2}]


def test_a_patient_is_found_by_the_number_on_the_scans(store: Store) -> None:
    assert patient_keys(store, "ID-berta") == ["berta"]
    assert patient_keys(store, "ID-nobody") == []
