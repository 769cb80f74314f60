"""A real cluster of worker processes and a real Prefect server for the tests of the flows."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest
from distributed import Client

from flows.cluster import Capacity, open_client
from flows.prefect_server import TemporaryServer, prefect_api
from schemas.config import CohortConfig

CAPACITY = Capacity(workers=2, slots=1, threads=1, memory_bytes=1 << 30)


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Two worker processes of one slot."""
    with open_client(CohortConfig(source="s", store="t"), CAPACITY) as client:
        yield client


@pytest.fixture(scope="session")
def cluster_address(client: Client) -> str:
    """The scheduler's address."""
    return str(client.scheduler.address)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[TemporaryServer]:
    """A Prefect server for all flows of the session."""
    with prefect_api() as server:
        assert isinstance(server, TemporaryServer)
        server.wait()
        yield server
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Prefect's clients leave sockets to the garbage collector, which may find them in any test after it."""
    for item in items:
        if "tests/flows/" in str(item.path):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))
