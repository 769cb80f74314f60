"""A store behind a network that fails: what comes back is right or a ServiceError, and nothing is ever half there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ServiceError
from pipeline.grid import Grid, Volume
from pipeline.store import Store
from pipeline.store.volumes import read_labels, read_volume, write_labels, write_volume
from tests.s3_faults import Chooser, EveryNth, Fault, S3Proxy, s3_proxy
from tests.servers import ObjectStorage

GRID = Grid((4, 40, 33), (2.5, 0.8, 0.9), (-10.0, 20.5, 3.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
VOXELS = np.random.default_rng(0).integers(-1024, 3000, GRID.shape).astype(np.int16)
MASK = (VOXELS > 2000).astype(np.uint16)
TABLE = pa.table({"a": list(range(500)), "b": [[float(i)] * 3 for i in range(500)]})


@dataclass
class Place:
    """One store, seen through the proxy and past it."""

    proxy: S3Proxy
    faulty: Store
    direct: Store


@pytest.fixture(scope="module")
def proxy(object_storage: ObjectStorage) -> Iterator[S3Proxy]:
    with s3_proxy(object_storage.endpoint) as proxy:
        yield proxy


@pytest.fixture
def place(object_storage: ObjectStorage, proxy: S3Proxy) -> Place:
    proxy.calm()
    direct = Store.create(
        f"s3://{object_storage.new_bucket()}/store", cohort="demo", storage_options=object_storage.storage_options
    )
    options = object_storage.storage_options | {"client_kwargs": {"endpoint_url": proxy.endpoint}}
    return Place(proxy, Store(direct.uri, options), direct)


@pytest.fixture
def impatient(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The same, for a service that does not come back: as many rounds, hardly a wait between them."""
    monkeypatch.setattr("pipeline.store.filesystem.WAITS_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr("pipeline.store.files.CREATE_WAITS_S", (0.01, 0.01))
    options = place.faulty.storage_options | {"config_kwargs": {"retries": {"total_max_attempts": 1}}}
    return replace(place, faulty=Store(place.faulty.uri, options))


def try_all(store: Store, actions: dict[str, Callable[[Store], object]]) -> dict[str, object]:
    """The answer of each action, or the ServiceError that it ended with."""
    answers: dict[str, object] = {}
    for name, action in actions.items():
        try:
            answers[name] = action(store)
        except ServiceError as error:
            answers[name] = error
    return answers


WRITES: dict[str, Callable[[Store], object]] = {
    "table": lambda store: store.write_table("catalog/t.parquet", TABLE),
    "volume": lambda store: write_volume(store, "volumes/s.zarr/k/1", Volume(VOXELS, GRID), attributes={}),
    "labels": lambda store: write_labels(store, "labels/s.zarr/k/1", grid=GRID, lesions=MASK, levels=None),
    "once": lambda store: store.create_once("private/secret", b"mine" * 8),
}
READS: dict[str, Callable[[Store], object]] = {
    "table": lambda store: store.read_table("catalog/t.parquet"),
    "volume": lambda store: read_volume(store, "volumes/s.zarr/k/1").voxels,
    "labels": lambda store: read_labels(store, "labels/s.zarr/k/1")[0],
    "once": lambda store: store.read("private/secret"),
    "list": lambda store: [name for name in store.list("") if name != "store.json"],
}
RIGHT: dict[str, Callable[[object], bool]] = {
    "table": lambda answer: isinstance(answer, pa.Table) and answer.equals(TABLE),
    "volume": lambda answer: np.array_equal(answer, VOXELS),  # type: ignore[arg-type]
    "labels": lambda answer: np.array_equal(answer, MASK),  # type: ignore[arg-type]
    "once": lambda answer: answer == b"mine" * 8,
    "list": lambda answer: isinstance(answer, list) and len(answer) == 8,
}

PASSING: dict[str, Chooser] = {
    "a fifth answered 503": EveryNth(Fault.BUSY, 5),
    "every third answer cut": EveryNth(Fault.CUT, 3),
    "every third answer short": EveryNth(Fault.SHORT, 3),
    "every third answer lost": EveryNth(Fault.LOST, 3),
    "every third upload cut": EveryNth(Fault.CUT_UPLOAD, 3, method="PUT"),
    "two answers late": EveryNth(Fault.SLOW, 4, most=2),
}


@pytest.mark.parametrize("choose", PASSING.values(), ids=PASSING)
def test_what_passes_is_survived(place: Place, choose: Chooser) -> None:
    place.proxy.choose = choose
    written = try_all(place.faulty, WRITES)
    read = try_all(place.faulty, READS)
    assert place.proxy.happened, "no fault was made"
    assert not [answer for answer in (written | read).values() if isinstance(answer, ServiceError)]
    for answers in (read, try_all(place.direct, READS)):
        assert {name: RIGHT[name](answer) for name, answer in answers.items()} == dict.fromkeys(READS, True)


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.PRECONDITION, Fault.CONFLICT, Fault.EXPIRED])
def test_a_service_that_refuses_all_is_a_service_error_and_leaves_nothing(impatient: Place, fault: Fault) -> None:
    impatient.proxy.choose = EveryNth(fault)
    answers = try_all(
        impatient.faulty, {"table": WRITES["table"], "once": WRITES["once"], "read": lambda s: s.read("x")}
    )
    assert {type(answer) for answer in answers.values()} == {ServiceError}
    assert impatient.direct.list("") == ["store.json"]


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.SHORT, Fault.UNDERSTATED])
def test_bodies_that_never_come_whole_are_service_errors(impatient: Place, fault: Fault) -> None:
    try_all(impatient.direct, WRITES)
    impatient.proxy.choose = EveryNth(fault, method="GET", path="c/0/0/0")
    assert isinstance(try_all(impatient.faulty, READS)["volume"], ServiceError)
    impatient.proxy.choose = EveryNth(fault, method="GET", path=".parquet")
    assert isinstance(try_all(impatient.faulty, READS)["table"], ServiceError)


def test_an_upload_that_is_always_cut_leaves_no_half_file(impatient: Place) -> None:
    impatient.proxy.choose = EveryNth(Fault.CUT_UPLOAD, method="PUT")
    assert isinstance(try_all(impatient.faulty, {"table": WRITES["table"]})["table"], ServiceError)
    assert impatient.direct.list("catalog") == []


def test_credentials_that_expire_midway(impatient: Place) -> None:
    assert not isinstance(try_all(impatient.faulty, {"table": WRITES["table"]})["table"], ServiceError)
    impatient.proxy.choose = EveryNth(Fault.EXPIRED)
    with pytest.raises(ServiceError, match="expired; check the credentials"):
        WRITES["volume"](impatient.faulty)
    with pytest.raises(ServiceError, match="check the credentials"):
        impatient.faulty.exists("catalog/t.parquet")
    assert impatient.direct.list("volumes") == []
    impatient.proxy.calm()
    assert RIGHT["table"](READS["table"](impatient.faulty))
    WRITES["volume"](impatient.faulty)
    assert RIGHT["volume"](READS["volume"](impatient.direct))


@pytest.mark.parametrize("fault", [Fault.LOST, Fault.PRECONDITION, Fault.CONFLICT, Fault.CUT_UPLOAD])
def test_created_once_has_one_winner_whatever_is_lost(place: Place, fault: Fault) -> None:
    place.proxy.choose = EveryNth(fault, method="PUT", most=1)
    assert place.faulty.create_once("private/secret", b"first") == b"first"
    assert place.faulty.create_once("private/secret", b"second") == b"first"
    assert place.proxy.happened == [fault]
    assert place.direct.read("private/secret") == b"first"


def test_racing_writers_see_one_winner_though_answers_are_lost(place: Place) -> None:
    place.proxy.choose = EveryNth(Fault.LOST, 2, method="PUT")
    with ThreadPoolExecutor(4) as pool:
        seen = set(pool.map(lambda n: place.faulty.create_once("private/secret", b"%d" % n), range(4)))
    assert seen == {place.direct.read("private/secret")}


def test_reading_and_creating_take_few_requests(place: Place) -> None:
    place.faulty.write("catalog/x", b"1")
    place.faulty.read("catalog/x")
    assert [method for method, _ in place.proxy.requests] == ["PUT", "GET"]
    place.proxy.calm()
    place.direct.create_once("private/secret", b"1")
    place.faulty.create_once("private/secret", b"2")
    assert [method for method, _ in place.proxy.requests] == ["GET"]
    place.proxy.calm()
    WRITES["volume"](place.faulty)
    READS["volume"](place.faulty)
    assert sorted(method for method, _ in place.proxy.requests) == ["GET"] * 3 + ["PUT"] * 3
