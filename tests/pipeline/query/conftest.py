"""Stores to ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.query import run_query
from pipeline.store import Store
from tests.pipeline.query.rows import add_scans, add_series, lesion, scan, series, vertebra
from tests.servers import ObjectStorage


@pytest.fixture(params=["disk", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store, on disk and on a real S3 server."""
    if request.param == "disk":
        return Store.create(str(tmp_path / "store"), cohort="test")
    storage: ObjectStorage = request.getfixturevalue("object_storage")
    return Store.create(f"s3://{storage.new_bucket()}/store", cohort="test", storage_options=storage.storage_options)


@pytest.fixture
def cohort(store: Store) -> Store:
    """Two patients, three studies, four series, five lesions."""
    later = {"study_date_shifted": series("p-s-a")["study_date_shifted"].replace(month=3)}
    add_series(
        store,
        series("p1-s1-a"),
        series("p1-s1-b", spacing_mm=[5.0, 0.5, 0.5]),
        series("p1-s2-a", **later),
        series("p2-s3-a", site="south", status="quarantined", reason_code="gap", reason="2 of 80 slices are missing"),
    )
    levels = [vertebra("T12"), vertebra("L1", n_lesions=1, lesion_load_mm3=100.0)]
    add_scans(
        store,
        scan("p1-s1-a", [lesion(1), lesion(2, level="none", lesion_type="blastic", volume_mm3=50.0)], vertebrae=levels),
        scan("p1-s1-b", [lesion(1)], vertebrae=levels),
        scan("p1-s2-a", [lesion(1), lesion(2, level="T12", level2="L1", level2_fraction=0.4)], vertebrae=levels),
    )
    return store


@pytest.fixture
def ask() -> Callable[[Store, str], list[dict[str, Any]]]:
    """The rows that answer a question."""
    return lambda store, sql: run_query(store, sql).to_pylist()
