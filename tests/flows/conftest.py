"""A real cluster of worker processes for the tests of the flows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from distributed import Client

from flows.cluster import Capacity, open_client
from schemas.config import CohortConfig

CAPACITY = Capacity(workers=2, slots=1, threads=1, memory_bytes=1 << 30)


@pytest.fixture(scope="session")
def client() -> Iterator[Client]:
    """Two worker processes of one slot."""
    with open_client(CohortConfig(source="s", store="t"), CAPACITY) as client:
        yield client
