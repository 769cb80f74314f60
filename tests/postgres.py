"""A PostgreSQL server for tests, as an account without rights, on a free port of the loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port

_PROGRAMS = ("initdb", "postgres", "psql", "pg_isready")


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None where they are not installed."""
    on_path = shutil.which("initdb")
    places = [Path(on_path).resolve().parent] if on_path else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)  # Debian's, which are on no path
    return next((place for place in places if all((place / name).exists() for name in _PROGRAMS)), None)


@contextmanager
def postgres(password: str) -> Iterator[int]:
    """The port of a server with the account and the database `prefect`."""
    place, account = programs(), _account()
    if place is None:
        raise FileNotFoundError("initdb is not installed: install postgresql")
    # not in pytest's folder, which another account may not enter
    with tempfile.TemporaryDirectory(prefix="spinetally-postgres-") as name:
        folder, port = Path(name), free_port()
        secret = folder / "password"
        secret.write_text(password)
        for path in (folder, secret):
            os.chown(path, account.pw_uid, account.pw_gid)
        run_as = {"user": account.pw_uid, "group": account.pw_gid, "cwd": folder} if os.getuid() == 0 else {}
        initialise = [place / "initdb", "-D", folder / "data", "-U", "prefect", "--auth=scram-sha-256", "--no-sync"]
        subprocess.run([*initialise, f"--pwfile={secret}"], check=True, capture_output=True, **run_as)
        serve = [place / "postgres", "-D", folder / "data", "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
        with (folder / "log").open("wb") as log, subprocess.Popen(serve, stdout=log, stderr=log, **run_as) as process:
            try:
                _wait_until_ready(place, port)
                asked = f"postgresql://prefect@127.0.0.1:{port}/postgres"
                create = [place / "psql", asked, "-c", "CREATE DATABASE prefect"]
                subprocess.run(create, check=True, capture_output=True, env=os.environ | {"PGPASSWORD": password})
                yield port
            finally:
                process.kill()
                process.wait()


def _account() -> pwd.struct_passwd:
    """PostgreSQL refuses to be run by root."""
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _wait_until_ready(place: Path, port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if subprocess.run([place / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]).returncode == 0:
            return
        time.sleep(0.2)
    raise RuntimeError("PostgreSQL did not start within 60 s")
