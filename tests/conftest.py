"""What all tests share: the real scans, and a place to work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans; a test that needs it is skipped where it is missing."""
    folder = Path(os.environ.get("SPINETALLY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder.name!r}: set SPINETALLY_TEST_DATA to their folder")
    return folder
