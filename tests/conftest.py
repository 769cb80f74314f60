"""What all tests share: the real scans, and a place to work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import pipeline  # noqa: F401  # before anything else loads torch, whose threads then wait as they do in our programs
from tests.servers import ObjectStorage, seaweedfs

# a busy machine is no failure
settings.register_profile("spinetally", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spinetally")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans; a test that needs it is skipped where it is missing."""
    folder = Path(os.environ.get("SPINETALLY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder.name!r}: set SPINETALLY_TEST_DATA to their folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is taken from this user's cache of models, nor left in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPINETALLY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def object_storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStorage]:
    """A real S3 server."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as storage:
        yield storage
