"""The deployment of infra/ without Docker: PostgreSQL, Prefect with a password, a runner, Dask over TLS, and S3."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from pipeline.query import run_query
from tests.composed import ROOT, started
from tests.flows.cohorts import write_scan
from tests.postgres import postgres, programs
from tests.s3_faults import S3Proxy, s3_proxy
from tests.servers import ObjectStorage, free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

N_SCANS = 3
ASKED = ("deployments", "flow_runs", "task_runs", "logs", "artifacts")
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Deployed:
    """What stands, and how to reach it."""

    api: httpx.Client
    deployment: str
    bucket: str
    storage: ObjectStorage
    proxy: S3Proxy
    folder: Path
    secrets: tuple[str, ...]

    def begin(self) -> str:
        """Ask for a run now; its id."""
        answer = self.api.post(f"/deployments/{self.deployment}/create_flow_run", json={})
        return str(answer.raise_for_status().json()["id"])

    def end_of(self, run: str) -> dict[str, Any]:
        """The state that a run ends in."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            state: dict[str, Any] = self.api.get(f"/flow_runs/{run}").raise_for_status().json()["state"]
            if state["type"] in ENDED:
                return state
            time.sleep(0.5)
        said = (self.folder / "runner.log").read_text(errors="replace")[-3000:]
        raise TimeoutError(f"the run is {state['type']} after five minutes; its runner says:\n{said}")

    def ask(self, sql: str) -> list[dict[str, Any]]:
        """A question to the store."""
        uri = f"s3://{self.bucket}/store"
        return run_query(uri, sql, storage_options=self.storage.storage_options).to_pylist()


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """NIfTI files whose modality stands in their name."""
    folder = tmp_path_factory.mktemp("deployed")
    for i in range(N_SCANS):
        write_scan(folder / "all", f"s{i}_ct", seed=i)
    return folder / "all"


@pytest.fixture(scope="module")
def deployed(
    scans: Path, object_storage: ObjectStorage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployed]:
    """All services of compose.yaml, and the deployment of prefect.yaml over a cohort in S3."""
    if programs() is None:
        pytest.skip("no initdb here: install postgresql")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: install it to test TLS")
    folder, bucket = tmp_path_factory.mktemp("services"), object_storage.new_bucket()
    filesystem = object_storage.filesystem()
    for path in scans.glob("*_ct.nii.gz"):
        filesystem.put_file(str(path), f"{bucket}/scans/{path.name}")
    subprocess.run(["sh", ROOT / "infra" / "certificates.sh", folder / "certificates"], check=True, capture_output=True)
    passwords = {"DATABASE_PASSWORD": secrets.token_hex(8), "PREFECT_PASSWORD": secrets.token_hex(8),
                 "S3_KEY": object_storage.key, "S3_SECRET": object_storage.secret}  # fmt: skip
    prefect, dask = free_port(), free_port()
    with ExitStack() as stack:
        database = stack.enter_context(postgres(passwords["DATABASE_PASSWORD"]))
        proxy = stack.enter_context(s3_proxy(object_storage.endpoint))
        instead = {
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - what is replaced
            "database:5432": f"127.0.0.1:{database}",
            "http://prefect:4200": f"http://127.0.0.1:{prefect}",
            "scheduler:8786": f"127.0.0.1:{dask}", "http://s3:8333": proxy.endpoint,
            "/certificates/": f"{folder}/certificates/", "8GiB": "1500MiB",
        }  # fmt: skip

        def start(service: str, *more: str) -> None:
            stack.enter_context(started(service, folder, secrets=passwords, instead=instead, more=more))

        start("prefect", "--port", str(prefect))
        start("scheduler", "--host", "127.0.0.1", "--port", str(dask))
        start("worker")
        address = f"http://127.0.0.1:{prefect}/api"
        api = stack.enter_context(httpx.Client(base_url=address, auth=("admin", passwords["PREFECT_PASSWORD"])))
        _wait_for(api, folder)
        start("runner")
        deployment = _deploy(api, folder, f"admin:{passwords['PREFECT_PASSWORD']}", bucket, instead)
        yield Deployed(api, deployment, bucket, object_storage, proxy, folder, tuple(passwords.values()))


def _wait_for(api: httpx.Client, folder: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if api.get("/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"Prefect's server did not start:\n{(folder / 'prefect.log').read_text()[-3000:]}")


def _deploy(api: httpx.Client, folder: Path, password: str, bucket: str, instead: dict[str, str]) -> str:
    """Deploy infra/prefect.yaml with another source, store and scheduler; the deployment's id."""
    content = yaml.safe_load((ROOT / "infra" / "prefect.yaml").read_text())
    cohort = content["deployments"][0]["parameters"]["cohort"]
    cohort |= {"source": f"s3://{bucket}/scans", "store": f"s3://{bucket}/store"}
    for there, here in instead.items():
        cohort["cluster"] = cohort["cluster"].replace(there, here)
    (folder / "prefect.yaml").write_text(yaml.safe_dump(content))
    deploy = ["--no-prompt", "deploy", "--prefect-file", folder / "prefect.yaml", "--all"]  # as prefect.yaml says
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(folder), "PREFECT_HOME": str(folder / "cli"), "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(ROOT), "PREFECT_API_URL": str(api.base_url).rstrip("/"), "PREFECT_API_AUTH_STRING": password,
    }  # fmt: skip
    _wait_for_pool(api)
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *deploy], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (deployment,) = api.post("/deployments/filter", json={}).raise_for_status().json()
    assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert [schedule["schedule"]["cron"] for schedule in deployment["schedules"]] == ["0 2 * * *"]
    return str(deployment["id"])


def _wait_for_pool(api: httpx.Client) -> None:
    """The runner makes the pool."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and api.get("/work_pools/spinetally").status_code != 200:
        time.sleep(0.5)


def test_a_run_begun_through_the_api_runs_to_its_end(deployed: Deployed) -> None:
    run = deployed.begin()
    state = deployed.end_of(run)
    assert state["type"] == "COMPLETED", state["message"]
    assert deployed.ask("SELECT status, count(*) AS n FROM series GROUP BY ALL") == [{"status": "ok", "n": N_SCANS}]
    assert deployed.ask("SELECT count(*) AS n FROM scans") == [{"n": N_SCANS}]


def test_no_secret_is_in_what_prefect_holds_or_anybody_says(deployed: Deployed) -> None:
    held = [deployed.api.post(f"/{what}/filter", json={}).raise_for_status().text for what in ASKED]
    said = [log.read_text(errors="replace") for log in deployed.folder.glob("*.log")]
    assert all(text != "[]" for text in held)
    assert len(said) == 4
    assert "$AWS_SECRET_ACCESS_KEY" in held[0], "by name"
    assert not [text for text in held + said for canary in deployed.secrets if canary in text]


def test_a_night_without_news_costs_one_listing_and_a_second_run_is_not_begun(deployed: Deployed) -> None:
    deployed.proxy.calm()
    first, second = deployed.begin(), deployed.begin()
    ends = sorted((deployed.end_of(run) for run in (first, second)), key=lambda state: str(state["type"]))
    assert [end["type"] for end in ends] == ["CANCELLED", "COMPLETED"]
    assert "concurrency limit" in ends[0]["message"].lower()
    asked = [(method, path.removeprefix(f"/{deployed.bucket}")) for method, path in deployed.proxy.requests]
    of_scans = [path for _, path in asked if path.startswith("/scans") or "prefix=scans" in path]
    assert len(of_scans) == 1, "the source is listed, and nothing of it is read"
    assert "list-type" in of_scans[0]
    assert {method for method, _ in asked} == {"GET", "HEAD"}, "nothing is written"
    assert len(asked) < 50, "what the store holds, whatever number of scans its few files have"


def test_nobody_gets_in_without_the_password(deployed: Deployed) -> None:
    for auth in (None, ("admin", "guessed")):
        answer = httpx.post(f"{deployed.api.base_url}deployments/filter", json={}, auth=auth)
        assert answer.status_code == 401
