"""A cohort and its store in S3: runs through a network that fails, credentials that end, secrets that stay secret."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.launch import launch
from pipeline.errors import ServiceError
from pipeline.identity import SECRET
from pipeline.store import Store
from schemas.config import CohortConfig
from tests.flows.cohorts import PRECOMPUTED, tables, write_cohort
from tests.s3_faults import Chooser, EveryNth, Fault, S3Proxy, s3_proxy
from tests.servers import ObjectStorage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("prefect_server")]

N_SCANS = 6


@dataclass(frozen=True)
class Remote:
    """A cohort in S3, a store that is finished, and one that is empty, seen through the proxy."""

    storage: ObjectStorage
    bucket: str
    proxy: S3Proxy
    cluster: str
    undisturbed: dict[str, list[str]]

    def config(self, store: str, endpoint: str, **more: Any) -> CohortConfig:
        """A cohort file over it."""
        options = self.storage.storage_options | {"client_kwargs": {"endpoint_url": endpoint}}
        values = {
            "cohort": "boxes", "source": f"s3://{self.bucket}/manifest.csv", "store": store, "recipe": PRECOMPUTED,
            "cluster": self.cluster, "storage_options": options,
        }  # fmt: skip
        return CohortConfig.model_validate(values | more)

    def empty_store(self) -> str:
        """Another store of the same secret, so that keys can be compared."""
        secret = Store.open(f"s3://{self.bucket}/store", storage_options=self.storage.storage_options).read(SECRET)
        uri = f"s3://{self.bucket}/store-{secrets.token_hex(4)}"
        Store.create(uri, cohort="boxes", storage_options=self.storage.storage_options).create_once(SECRET, secret)
        return uri

    def tables(self, store: str) -> dict[str, list[str]]:
        """Its tables, past the proxy."""
        return tables(store, self.storage.storage_options)


@pytest.fixture(scope="module")
def remote(
    object_storage: ObjectStorage, cluster_address: str, prefect_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    folder, bucket = tmp_path_factory.mktemp("remote"), object_storage.new_bucket()
    write_cohort(folder, N_SCANS)
    filesystem = object_storage.filesystem()
    for path in folder.rglob("*.*"):
        filesystem.put_file(str(path), f"{bucket}/{path.relative_to(folder)}")
    with s3_proxy(object_storage.endpoint) as proxy:
        remote = Remote(object_storage, bucket, proxy, cluster_address, {})
        store = f"s3://{bucket}/store"
        assert launch(remote.config(store, object_storage.endpoint))["processed"] == N_SCANS
        remote.undisturbed.update(remote.tables(store))
        yield remote


class OneOf:
    """The first fault that any of several choosers makes."""

    def __init__(self, *choosers: Chooser) -> None:
        self._choosers = choosers

    def __call__(self, method: str, path: str) -> Fault | None:
        return next((fault for choose in self._choosers if (fault := choose(method, path)) is not None), None)


def test_a_run_through_a_network_that_fails_ends_with_the_same_tables(remote: Remote) -> None:
    store = remote.empty_store()
    remote.proxy.calm()
    remote.proxy.choose = OneOf(
        EveryNth(Fault.BUSY, 5),
        EveryNth(Fault.CUT, 7, method="GET"),
        EveryNth(Fault.SHORT, 11, method="GET"),
        EveryNth(Fault.LOST, 7, method="PUT"),
        EveryNth(Fault.CUT_UPLOAD, 11, method="PUT"),
        EveryNth(Fault.CONFLICT, 13, method="PUT"),
        EveryNth(Fault.SLOW, 50),
    )
    summary = launch(remote.config(store, remote.proxy.endpoint))
    assert (summary["ingested"], summary["processed"], summary["failed"]) == (N_SCANS, N_SCANS, 0)
    assert remote.tables(store) == remote.undisturbed
    happened = remote.proxy.happened
    assert happened.count(Fault.BUSY) >= len(remote.proxy.requests) // 5
    assert {Fault.CUT, Fault.LOST, Fault.SLOW} <= set(happened)


@pytest.mark.parametrize("fault", [Fault.PRECONDITION, Fault.CONFLICT])
def test_what_may_be_created_once_is_refused_for_a_while(remote: Remote, fault: Fault) -> None:
    """412 and 409 are for `If-None-Match`: where nothing is to be seen of what should be there, it is tried again."""
    store = remote.empty_store()
    remote.proxy.calm()
    remote.proxy.choose = EveryNth(fault, method="PUT", path="/recipes/", most=2)
    summary = launch(remote.config(store, remote.proxy.endpoint))
    assert remote.proxy.happened == [fault] * 2
    assert (summary["ingested"], summary["processed"], summary["failed"]) == (N_SCANS, N_SCANS, 0)
    assert remote.tables(store) == remote.undisturbed


def test_a_store_that_another_made_first_is_taken_as_it_is(remote: Remote) -> None:
    """A real 412: both see no store, both make one; the answer of the server says who was first."""
    store = f"s3://{remote.bucket}/store-{secrets.token_hex(4)}"
    config = remote.config(store, remote.storage.endpoint)
    with ThreadPoolExecutor(2) as both:
        summaries = [run.result() for run in [both.submit(launch, config) for _ in range(2)]]
    assert all(summary["processed"] + summary["done_before"] == N_SCANS for summary in summaries)
    found = remote.tables(store)
    assert {view: len(rows) for view, rows in found.items()} == {v: len(rows) for v, rows in remote.undisturbed.items()}


class After:
    """A fault for every request, once there were so many of a kind."""

    def __init__(self, fault: Fault, n: int, *, method: str) -> None:
        self._fault, self._left, self._method = fault, n, method

    def __call__(self, method: str, path: str) -> Fault | None:
        self._left -= method == self._method
        return self._fault if self._left < 0 else None


@pytest.mark.parametrize("n_writes", [3, 12, 30])
def test_credentials_that_end_during_a_run(remote: Remote, n_writes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.tasks.RETRY_SECONDS", [0.1])
    store = remote.empty_store()
    remote.proxy.calm()
    config = remote.config(store, remote.proxy.endpoint)
    remote.proxy.choose = After(Fault.EXPIRED, n_writes, method="PUT")
    with pytest.raises(ServiceError, match="expired; check the credentials"):  # which is exit code 3
        launch(config)
    remote.proxy.calm()
    direct = Store.open(store, storage_options=remote.storage.storage_options)
    was_ingested = bool(direct.list("catalog"))
    summary = launch(config)
    assert (summary["ingested"], summary["processed"]) == (0 if was_ingested else N_SCANS, N_SCANS)
    assert remote.tables(store) == remote.undisturbed


def test_no_secret_is_in_any_output(remote: Remote, tmp_path: Path) -> None:
    key, secret = remote.storage.key, remote.storage.secret
    store = f"s3://{remote.bucket}/store-{secrets.token_hex(4)}"
    config = remote.config(store, remote.storage.endpoint, cluster="local", workers=1)
    values = yaml.safe_load(config.model_dump_json(include=set(KEYS), exclude_none=True))
    values |= {"recipe": PRECOMPUTED}
    said = []
    for given, code in ((secret, 0), (secret[::-1], 3)):  # a run, and one whose credentials are refused
        values["storage_options"]["secret"] = given
        (tmp_path / "cohort.yaml").write_text(yaml.safe_dump(values))
        ended, files = _run(tmp_path)
        assert ended == code, files["stderr"].decode()
        assert files.keys() > {"stdout", "stderr"} or code, "Prefect's server wrote its files"
        said += files.values()
    direct = Store.open(store, storage_options=remote.storage.storage_options)
    said += [direct.read(path) for path in direct.list("")]
    assert sum(map(len, said)) > 10_000
    assert not [text for text in said for canary in (key, secret, secret[::-1]) if canary.encode() in text]


KEYS = ("cohort", "source", "store", "cluster", "workers", "storage_options")


def _run(folder: Path) -> tuple[int, dict[str, bytes]]:
    """`spinetally -v run` in a process of its own: its exit code, what it said, and what its Prefect server wrote."""
    command = [sys.executable, "-m", "flows.cli", "-v", "run", str(folder / "cohort.yaml")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "AWS_"))}
    temporary, files = folder / "temporary", dict[str, bytes]()
    temporary.mkdir(exist_ok=True)
    with (
        (folder / "stdout").open("wb") as out,
        (folder / "stderr").open("wb") as err,
        subprocess.Popen(command, env=kept | {"TMPDIR": str(temporary)}, stdout=out, stderr=err) as process,
    ):
        while process.poll() is None:  # its database is removed when it ends
            for file in temporary.glob("spinetally-prefect-*/*"):
                with contextlib.suppress(OSError):
                    files[file.name] = file.read_bytes()
            time.sleep(0.5)
    return process.returncode, files | {name: (folder / name).read_bytes() for name in ("stdout", "stderr")}


def test_few_objects_for_each_scan(remote: Remote) -> None:
    """Data: volume and masks, one object each; metadata: `zarr.json` of each group and each array, as zarr wants it."""
    paths = Store.open(f"s3://{remote.bucket}/store", storage_options=remote.storage.storage_options).list("")
    arrays = [path for path in paths if path.startswith(("volumes/", "labels/"))]
    metadata = [path for path in arrays if path.endswith("zarr.json")]
    n_data = len(arrays) - len(metadata)
    assert n_data == 2 * N_SCANS, "a volume and its lesions; levels would be a third"
    assert len(metadata) == 2 * n_data
    tables_of_shards = [path for path in paths if path.startswith(("catalog/", "results/"))]
    assert len(tables_of_shards) == 2, "one shard: a file of the catalog and one of the results"
