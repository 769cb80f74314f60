"""infra/compose.yaml without Docker: its services' own commands and variables, with other addresses, as processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())


def environment_of(service: str, secrets: Mapping[str, str]) -> dict[str, str]:
    """The variables of a service, with `${NAME:?}` filled in."""
    environment = COMPOSE["services"][service].get("environment", {})
    return {name: filled(str(value), secrets) for name, value in environment.items()}


def filled(text: str, secrets: Mapping[str, str]) -> str:
    """A text with `${NAME:?}` filled in, as Compose does it."""
    return re.sub(r"\$\{(\w+):\?\}", lambda found: secrets[found[1]], text)


@contextmanager
def started(
    service: str, folder: Path, *, secrets: Mapping[str, str], instead: Mapping[str, str], more: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A service as a process.

    Args:
        service: its name in compose.yaml.
        folder: its home and its log's.
        secrets: what infra/.env would hold.
        instead: parts of addresses and paths to what they are here.
        more: further arguments, such as a port.
    """

    def here(text: str) -> str:
        for there, place in instead.items():
            text = text.replace(there, place)
        return text

    command = [here(part) for part in COMPOSE["services"][service]["entrypoint"]]
    environment = {name: here(value) for name, value in environment_of(service, secrets).items()}
    environment |= {"PREFECT_HOME": str(folder / service), "PYTHONPATH": os.pathsep.join(sys.path), "DO_NOT_TRACK": "1"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "DASK_", "AWS_"))}
    module = [sys.executable, "-m", command[0], *command[1:], *more]
    with (
        (folder / f"{service}.log").open("wb") as log,
        subprocess.Popen(module, env=kept | environment, cwd=ROOT, stdout=log, stderr=log) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
