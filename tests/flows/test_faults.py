"""Whatever is killed, whenever: run again, and the tables are those of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from flows.launch import launch
from flows.prefect_server import TemporaryServer
from flows.stages import Stages
from pipeline.errors import ServiceError
from pipeline.identity import SECRET
from pipeline.store import Store
from tests.flows import fakes
from tests.flows.cohorts import PRECOMPUTED, config_of, tables, write_cohort
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.usefixtures("prefect_server")]

N_SCANS = 6
PAUSED = Stages(ingest=fakes.ingest_paused, process=fakes.process_paused)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: Any, cluster_address: str) -> Path:
    """A finished cohort."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_cohort(folder, N_SCANS)
    launch(config_of(folder, cluster=cluster_address))
    return folder


@pytest.fixture
def folder(tmp_path: Path, undisturbed: Path) -> Path:
    """The same scans with an empty store of the same secret, so that keys can be compared."""
    (tmp_path / "scans").symlink_to(undisturbed / "scans")
    (tmp_path / "manifest.csv").write_bytes((undisturbed / "manifest.csv").read_bytes())
    secret = Store.open(str(undisturbed / "store")).read(SECRET)
    Store.create(str(tmp_path / "store"), cohort="boxes").create_once(SECRET, secret)
    return tmp_path


def same(folder: Path, undisturbed: Path) -> bool:
    """Whether both stores answer alike."""
    return tables(str(folder / "store")) == tables(str(undisturbed / "store"))


@contextmanager
def when_marked(folder: Path, name: str, act: Callable[[int], None]) -> Iterator[None]:
    """Act once a process says that it has come to a place, with its id."""
    done = threading.Event()

    def wait() -> None:
        mark = folder / f"mark-{name}"
        while not done.is_set():
            if mark.exists() and mark.read_text().endswith("\n"):
                act(int(mark.read_text()))
                return
            time.sleep(0.05)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def kill(pid: int) -> None:
    """The hard way."""
    os.kill(pid, signal.SIGKILL)


def let_pass(folder: Path, *names: str) -> None:
    """Places at which nobody is to wait."""
    for name in names:
        (folder / f"mark-{name}").touch()


@pytest.mark.parametrize("place", ["read", "detect", "labels"])
def test_a_worker_is_killed(place: str, folder: Path, undisturbed: Path, cluster_address: str) -> None:
    let_pass(folder, *({"read", "detect", "labels"} - {place}))
    with when_marked(folder, place, kill):
        summary = launch(config_of(folder, cluster=cluster_address), stages=PAUSED)
    assert (folder / f"mark-{place}").read_text(), "it came to the place"
    assert (summary["ingested"], summary["processed"], summary["failed"]) == (N_SCANS, N_SCANS, 0)
    assert same(folder, undisturbed)


def test_prefects_server_is_killed(
    folder: Path, undisturbed: Path, cluster_address: str, prefect_server: TemporaryServer
) -> None:
    let_pass(folder, "read", "labels")
    first = prefect_server.pid

    def end_server_then_scan(pid: int) -> None:
        kill(prefect_server.pid)
        time.sleep(1)
        kill(pid)

    with when_marked(folder, "detect", end_server_then_scan):
        summary = launch(config_of(folder, cluster=cluster_address), stages=PAUSED)
    assert prefect_server.pid != first
    assert summary["processed"] == N_SCANS
    assert same(folder, undisturbed)


@contextmanager
def scheduler_and_worker(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler and a worker as processes of their own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "dask", *arguments, "--no-dashboard"], env=environment)

    scheduler = start("scheduler", "--host", "127.0.0.1", "--port", str(port))
    worker = start("worker", f"tcp://127.0.0.1:{port}", "--nthreads", "1", "--death-timeout", "60")
    try:
        yield scheduler
    finally:
        for process in (worker, scheduler):
            process.terminate()
            process.wait()


def test_the_scheduler_is_killed(folder: Path, undisturbed: Path, cluster_address: str) -> None:
    let_pass(folder, "read", "labels")
    port = free_port()
    config = config_of(folder, cluster=f"tcp://127.0.0.1:{port}")
    with (
        scheduler_and_worker(port) as scheduler,
        when_marked(folder, "detect", lambda _pid: scheduler.kill()),
        pytest.raises(ServiceError),
    ):
        launch(config, stages=PAUSED)
    summary = launch(config_of(folder, cluster=cluster_address))
    assert (summary["ingested"], summary["processed"]) == (0, N_SCANS), "the ingest was committed"
    assert same(folder, undisturbed)


def test_the_flow_is_killed_at_any_moment(folder: Path, undisturbed: Path, cluster_address: str) -> None:
    values = {"cohort": "boxes", "source": "manifest.csv", "store": "store", "recipe": PRECOMPUTED}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(values | {"cluster": cluster_address}))
    command = [sys.executable, "-m", "flows.cli", "run", str(folder / "cohort.yaml")]
    for path in ("recipes", "catalog", "results"):  # killed as soon as it has begun to write each of these
        with subprocess.Popen(command, start_new_session=True) as process:
            while process.poll() is None and not list((folder / "store" / path).rglob("*.*")):
                time.sleep(0.02)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert subprocess.run(command, check=False).returncode == 0
    assert same(folder, undisturbed)


def test_all_is_killed_at_once(folder: Path, undisturbed: Path, cluster_address: str) -> None:
    """The flow, its Prefect server, its scheduler (in the same process) and its workers, when the ingest is through."""
    values = {"cohort": "boxes", "source": "manifest.csv", "store": "store", "recipe": PRECOMPUTED, "workers": 1}
    (folder / "cohort.yaml").write_text(yaml.safe_dump(values))
    command = [sys.executable, "-m", "flows.cli", "run", str(folder / "cohort.yaml")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None and not list((folder / "store" / "catalog").rglob("*.parquet")):
            time.sleep(0.02)
        everything = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for each in everything:
            each.kill()
    assert len(everything) >= 3, "flow, server, worker"
    _, alive = psutil.wait_procs(everything, timeout=20)
    assert not alive
    summary = launch(config_of(folder, cluster=cluster_address))
    assert summary["ingested"] == 0, "what was committed is not done again"
    assert same(folder, undisturbed)


AWAY_SECONDS = float(os.environ.get("SPINETALLY_AWAY_SECONDS", "20"))
"""How long Prefect's server is away; two minutes take two minutes."""


@contextmanager
def users_server(port: int, home: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`prefect server start`, which nobody starts again when it ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    with (
        (home / "log").open("ab") as log,
        subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_prefects_server_is_away_for_a_while(
    folder: Path, undisturbed: Path, cluster_address: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: Any
) -> None:
    let_pass(folder, "read", "labels")
    home, port, away = tmp_path_factory.mktemp("prefect"), free_port(), list[float]()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    with ExitStack() as servers:
        first = servers.enter_context(users_server(port, home))
        _wait_until_up(port)

        def leave(pid: int) -> None:
            first.kill()
            kill(pid)  # so that work goes on
            time.sleep(AWAY_SECONDS)
            away.append(time.monotonic())
            servers.enter_context(users_server(port, home))

        with when_marked(folder, "detect", leave):
            summary = launch(config_of(folder, cluster=cluster_address), stages=PAUSED)
        assert away, "the run waited for the server"
    assert summary["processed"] == N_SCANS
    assert same(folder, undisturbed)


def _wait_until_up(port: int) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            httpx.get(f"http://127.0.0.1:{port}/api/health").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.3)
        else:
            return
    raise TimeoutError("Prefect's server did not start")


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A folder that holds so much."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("no small disk can be mounted here: run the test as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_the_disk_is_full(
    folder: Path, undisturbed: Path, cluster_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.tasks.RETRY_SECONDS", [0.1])
    secret = Store.open(str(folder / "store")).read(SECRET)
    (folder / "small").mkdir()
    config = config_of(folder, cluster=cluster_address, store=str(folder / "small"))
    with small_disk(folder / "small", "100k"):
        Store.create(config.store, cohort="boxes").create_once(SECRET, secret)
        with pytest.raises(ServiceError, match="no space left"):
            launch(config)
        written = [path for path in (folder / "small").rglob("*") if path.is_file()]
        assert not [path.name for path in written if path.name.startswith(".")], "nothing half is left"
        assert tables(config.store)["series"] in ([], tables(str(undisturbed / "store"))["series"])
        subprocess.run(["mount", "-o", "remount,size=64m", folder / "small"], check=True)
        assert launch(config)["processed"] == N_SCANS
        assert tables(config.store) == tables(str(undisturbed / "store"))


def test_two_runs_at_the_same_time(folder: Path, undisturbed: Path, cluster_address: str) -> None:
    config = config_of(folder, cluster=cluster_address)
    with ThreadPoolExecutor(2) as both:
        summaries = [run.result() for run in [both.submit(launch, config) for _ in range(2)]]
    assert all(summary["processed"] + summary["done_before"] == N_SCANS for summary in summaries)
    assert same(folder, undisturbed)


def test_a_late_attempt_changes_nothing(folder: Path, undisturbed: Path, cluster_address: str) -> None:
    launch(config_of(folder, cluster=cluster_address))
    store = Store.open(str(folder / "store"))
    (path,) = store.list("results")
    rows = store.read_table(path)
    old = [f"20000101T000000000000-{i:08x}" for i in range(rows.num_rows)]
    late = rows.set_column(rows.column_names.index("attempt"), rows.schema.field("attempt"), [old])
    store.write_table(f"{path.rsplit('-', 2)[0]}-20000101T000000000000-00000000.parquet", late)
    assert same(folder, undisturbed)
