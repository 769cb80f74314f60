"""One behavioural suite for the store, on disk and on a real S3 server, with a back door that bypasses it."""

from __future__ import annotations

import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ServiceError, StoreError
from pipeline.grid import Grid, Volume
from pipeline.store import Store, from_environment, new_attempt, service_errors
from pipeline.store.volumes import read_labels, read_volume, write_labels, write_volume
from tests.servers import ObjectStorage

GRID = Grid((5, 70, 33), (2.5, 0.8, 0.9), (-10.0, 20.5, 3.0), (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return Store.create(str(tmp_path / "store"), cohort="demo")
    storage: ObjectStorage = request.getfixturevalue("object_storage")
    return Store.create(f"s3://{storage.new_bucket()}/a/store", cohort="demo", storage_options=storage.storage_options)


def back_door(store: Store, path: str) -> bytes:
    """What lies there, read without the store's code."""
    with store.fs.open(f"{store.root}/{path}", "rb") as file:
        return bytes(file.read())


def test_what_is_written_lies_there(store: Store) -> None:
    store.write("catalog/a.parquet", b"one")
    assert back_door(store, "catalog/a.parquet") == b"one" == store.read("catalog/a.parquet")
    assert store.exists("catalog/a.parquet")
    assert not store.exists("catalog/b.parquet")
    assert store.size("catalog/a.parquet") == 3


def test_lists_all_files_below_sorted_and_no_others(store: Store) -> None:
    for name in ("results/recipe=1/b.parquet", "results/recipe=1/a.parquet", "results2/c", "plan/x"):
        store.write(name, b"")
    assert store.list("results") == ["results/recipe=1/a.parquet", "results/recipe=1/b.parquet"]
    assert store.list("nothing") == []
    store.write("results/recipe=2/late.parquet", b"")
    assert "results/recipe=2/late.parquet" in store.list("results"), "a listing must not be remembered"
    store.write("results/recipe=2/full.parquet", b"12")
    assert store.sizes("results") == dict.fromkeys(store.list("results"), 0) | {"results/recipe=2/full.parquet": 2}
    assert store.sizes("nothing") == {}


def test_missing_file(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("catalog/none")


def test_tables_come_back(store: Store) -> None:
    table = pa.table({"a": [1, None, 3], "b": [["x"], [], None]})
    store.write_table("catalog/t.parquet", table)
    assert store.read_table("catalog/t.parquet").equals(table)
    assert store.read_table("catalog/t.parquet", ["b"]).column_names == ["b"]


def test_created_once_has_one_winner(store: Store) -> None:
    barrier = threading.Barrier(8)

    def write(number: int) -> bytes:
        barrier.wait()
        return store.create_once("private/secret", str(number).encode())

    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            seen = set(pool.map(write, range(8)))
        assert seen == {back_door(store, "private/secret")}
        store.remove("private/secret")


def test_opening_again_gives_the_same_store(store: Store) -> None:
    again = Store.create(store.uri, cohort="demo", storage_options=store.storage_options)
    assert again == store == Store.open(store.uri, storage_options=store.storage_options)
    assert again.cohort == "demo"


def test_another_cohort_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="belongs to the cohort 'demo'"):
        Store.create(store.uri, cohort="other", storage_options=store.storage_options)


def test_a_newer_layout_is_refused(store: Store) -> None:
    store.write("store.json", json.dumps({"layout": 99, "cohort": "demo"}).encode())
    with pytest.raises(StoreError, match="layout 99"):
        Store.open(store.uri, storage_options=store.storage_options)


def test_a_place_with_other_files_is_refused(store: Store) -> None:
    store.write("beside/holiday.jpg", b"")
    with pytest.raises(StoreError, match="holds 1 other files"):
        Store.create(f"{store.uri}/beside", cohort="demo", storage_options=store.storage_options)
    with pytest.raises(StoreError, match="no store here"):
        Store.open(f"{store.uri}/beside", storage_options=store.storage_options)


def test_travels_without_its_secrets(store: Store) -> None:
    travelled = pickle.loads(pickle.dumps(store))
    travelled.write("plan/p", b"1")
    assert store.read("plan/p") == b"1"
    assert all(str(value) not in repr(store) for value in store.storage_options.values())


def test_volume_comes_back(store: Store) -> None:
    voxels = np.random.default_rng(0).integers(-1024, 3000, GRID.shape).astype(np.int16)
    record = write_volume(store, f"volumes/s.zarr/k/{new_attempt()}", Volume(voxels, GRID), attributes={"unit": "HU"})
    back = read_volume(store, record.volume_uri)
    assert back.grid == GRID
    assert back.voxels.dtype == np.int16
    np.testing.assert_array_equal(back.voxels, voxels)
    data = [name for name in store.list(record.volume_uri) if not name.endswith("zarr.json")]
    assert len(data) == 1, "one object per array"
    assert record.stored_bytes == store.size(data[0])


def test_masks_come_back(store: Store) -> None:
    lesions = np.zeros(GRID.shape, np.uint16)
    lesions[2:4, 10:20, 5:9] = 300
    write_labels(store, "labels/recipe=1/s.zarr/k/1", grid=GRID, lesions=lesions, levels=None)
    back, levels = read_labels(store, "labels/recipe=1/s.zarr/k/1")
    assert levels is None
    np.testing.assert_array_equal(back, lesions)


def test_a_service_that_is_away_is_said(tmp_path: Path, object_storage: ObjectStorage) -> None:
    options = object_storage.storage_options | {"client_kwargs": {"endpoint_url": "http://127.0.0.1:9"}}
    options["config_kwargs"] = {"retries": {"max_attempts": 0}, "connect_timeout": 1}
    with pytest.raises(ServiceError, match="reading the store"):
        Store.open("s3://nowhere/store", storage_options=options)


def test_a_full_disk_is_a_service_error_and_leaves_nothing(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    store = Store.create(str(tmp_path / "store"), cohort="demo")
    (tmp_path / "store" / "catalog").mkdir()
    (tmp_path / "store" / "catalog" / "locked").symlink_to(full)
    with pytest.raises(ServiceError, match="no space left"):
        _write_through(store)
    assert store.list("catalog") == ["catalog/locked"]


def _write_through(store: Store) -> None:
    with service_errors("writing to the store"), open(store.path("catalog/locked"), "wb", buffering=0) as file:
        file.write(b"x")


def test_secrets_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TALLY_SECRET", "s3cr3t")
    assert from_environment({"secret": "$TALLY_SECRET", "a": {"b": "$TALLY_SECRET"}}) == {
        "secret": "s3cr3t",
        "a": {"b": "s3cr3t"},
    }
    with pytest.raises(StoreError, match="TALLY_NONE"):
        from_environment({"secret": "$TALLY_NONE"})


def test_an_address_in_an_error_loses_its_path_and_its_password() -> None:
    said = 'Could not connect to "http://me:hunter2@host:9/bucket/Doe^Jane 1/x.dcm?a=1" or s3://b/Doe/y'
    with pytest.raises(ServiceError) as caught, service_errors("reading a file of the source"):
        raise OSError(said)
    assert '"http://host:9" or s3://b' in str(caught.value)
    assert not any(word in str(caught.value) for word in ("hunter2", "Doe", "x.dcm"))


def test_a_folder_named_by_a_file_address_is_a_folder(tmp_path: Path) -> None:
    store = Store.create(f"file://{tmp_path}/store", cohort="demo")
    assert store.is_local
    assert (tmp_path / "store" / "store.json").exists()


@pytest.mark.parametrize("mark", ["[]", "7", "{}", '{"layout": 1}', "{"])
def test_a_damaged_mark_is_said(tmp_path: Path, mark: str) -> None:
    (tmp_path / "store.json").write_text(mark)
    with pytest.raises(StoreError, match="damaged"):
        Store.open(str(tmp_path))


@pytest.mark.parametrize("name", ["a::b", "a b#c?d%20e+f", "Kö ln", "file:"])
def test_odd_names_of_places(store: Store, name: str) -> None:
    options = store.storage_options
    odd = Store.create(f"{store.uri[: -len('/store')]}/{name}/inside", cohort="odd", storage_options=options)
    odd.write("catalog/x::y", b"1")
    assert Store.open(odd.uri, storage_options=options).list("catalog") == ["catalog/x::y"]
    assert odd.read("catalog/x::y") == b"1"
    assert back_door(odd, "catalog/x::y") == b"1"
    write_labels(odd, "labels/recipe=1/s.zarr/k/1", grid=GRID, lesions=np.ones(GRID.shape, np.uint16), levels=None)
    assert read_labels(odd, "labels/recipe=1/s.zarr/k/1")[0].all()  # type: ignore[union-attr]


def test_what_is_there_is_taken_where_nothing_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(str(tmp_path / "store"), cohort="demo")
    store.create_once("private/secret", b"one")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr("pipeline.store.files._beside", refuse)
    assert store.create_once("private/secret", b"two") == b"one"
