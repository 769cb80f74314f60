"""A scheduler and a worker as processes of their own that speak mutual TLS, with the certificates of the deployment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dask
import pytest

from flows.cluster import Capacity, open_client
from flows.fan_out import fan_out
from flows.work import Job
from pipeline.errors import ConfigError, ServiceError
from schemas.config import CohortConfig
from tests.flows import fakes
from tests.servers import free_port

ROOT = Path(__file__).resolve().parents[2]
UNUSED = Capacity(workers=1, slots=1, threads=1, memory_bytes=1 << 30)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the script that deployments use."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: install it to test TLS")
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(["sh", str(ROOT / "infra" / "certificates.sh"), str(folder)], check=True, capture_output=True)
    return folder


def _settings(certificates: Path) -> dict[str, str]:
    """Dask's configuration by environment, as in infra/compose.yaml."""
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    roles = {f"{tls}{role}__CERT": str(certificates / "dask.pem") for role in ("SCHEDULER", "WORKER", "CLIENT")}
    keys = {f"{tls}{role}__KEY": str(certificates / "dask.key") for role in ("SCHEDULER", "WORKER", "CLIENT")}
    authority = {f"{tls}CA_FILE": str(certificates / "authority.pem")}
    return roles | keys | authority | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True"}


def _as_keys(settings: dict[str, str]) -> dict[str, str]:
    """The same for this process: `distributed.comm.tls.client.cert`."""
    return {name.removeprefix("DASK_").lower().replace("__", ".").replace("_", "-"): v for name, v in settings.items()}


@pytest.fixture(scope="module")
def scheduler(certificates: Path) -> Iterator[str]:
    """Address of a scheduler with one worker."""
    address = f"tls://127.0.0.1:{free_port()}"
    environment = os.environ | _settings(certificates) | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with ExitStack() as started:
        for arguments in (
            ["scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", address.rsplit(":", 1)[1]],
            ["worker", address, "--nthreads", "1", "--memory-limit", "1GiB"],
        ):
            command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
            process = started.enter_context(subprocess.Popen(command, env=environment))
            started.callback(process.terminate)
        yield address


def _config(address: str) -> CohortConfig:
    return CohortConfig(source="s", store="t", cluster=address)


def test_work_is_done_over_tls(scheduler: str, certificates: Path) -> None:
    with (
        dask.config.set(_as_keys(_settings(certificates))),
        open_client(_config(scheduler), UNUSED) as client,
    ):
        rows = fan_out(client, Job(fakes.double), range(4), blame=lambda *_: {}, on_row=lambda _row: None)
    assert rows == [{"value": 2 * i} for i in range(4)]


def test_without_a_certificate_nobody_gets_in(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cluster.CONNECT_SECONDS", 5)
    with pytest.raises(ConfigError, match="wants certificates"), open_client(_config(scheduler), UNUSED):
        pass
    plain = scheduler.replace("tls://", "tcp://")
    with pytest.raises(ServiceError, match="no Dask scheduler answers"), open_client(_config(plain), UNUSED):
        pass
