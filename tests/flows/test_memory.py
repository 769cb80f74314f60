"""Memory is predicted, held against what is measured, and refused with both figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.alone import attempt_alone
from flows.memory import MIB, WORKER_BYTES, Need, plan_capacity, slot_bytes, slots_that_fit
from flows.stages import process_once
from flows.work import Job
from pipeline.errors import ConfigError
from pipeline.grid import Grid, Volume
from pipeline.recipe import resolve_all
from pipeline.scan import ScanRequest, Workplace, process_scan
from pipeline.store import Store
from pipeline.volumes import write_volume
from schemas.config import CohortConfig

GIB = 1 << 30
NEED = Need("0123abcd", (600, 512, 512), 2 * GIB)


def _config(**more: Any) -> CohortConfig:
    return CohortConfig.model_validate({"source": "s", "store": "t"} | more)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores and 16 GiB."""
    monkeypatch.setattr("dask.system.CPU_COUNT", 8)
    monkeypatch.setattr("flows.cluster.MEMORY_LIMIT", 16 * GIB)


@pytest.mark.usefixtures("machine")
def test_workers_hold_what_they_are_given() -> None:
    capacity = plan_capacity(_config(), NEED)
    assert capacity.workers < 8
    assert NEED.worker_bytes(capacity.slots) < capacity.memory_bytes


@pytest.mark.usefixtures("machine")
def test_slots_are_lowered_with_both_figures(caplog: pytest.LogCaptureFixture) -> None:
    capacity = plan_capacity(_config(workers=2, slots=6), NEED)
    assert (capacity.workers, capacity.slots) == (2, 3)
    assert "12.7 GiB of the 7.2 GiB" in caplog.text
    assert NEED.series_key in caplog.text


@pytest.mark.usefixtures("machine")
def test_what_fits_nowhere_is_refused_with_both_figures() -> None:
    with pytest.raises(ConfigError, match=r"0123abcd \(600 x 512 x 512 voxels\).*2\.7 GiB.*1\.7 GiB"):
        plan_capacity(_config(workers=8), NEED)


def test_slots_that_fit() -> None:
    assert [slots_that_fit(NEED, n * GIB) for n in (1, 3, 6)] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_prediction_is_near_what_is_measured(tmp_path: Path) -> None:
    shape, spacing = (150, 256, 256), (2.0, 1.5, 1.5)
    recipe = resolve_all(_config().recipe)["CT"]
    store = Store.create(str(tmp_path / "store"), cohort="memory")
    grid = Grid(shape, spacing, (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    voxels = np.random.default_rng(0).normal(40, 60, shape).astype(np.int16)
    voxels[20:130, 100:160, 100:160] += 250
    write_volume(store, "volumes/a.zarr/k/t", Volume(voxels, grid), attributes={})
    row = {"series_key": "k", "study_key": "s", "patient_key": "p", "version": "v", "shard": "a", "modality": "CT",
           "intensity_unit": "HU", "volume_uri": "volumes/a.zarr/k/t", "shape": list(shape)}  # fmt: skip
    arguments = {"process": process_scan, "recipe": recipe, "workplace": Workplace(store)}
    done = attempt_alone(ScanRequest(row), Job(process_once, arguments))
    assert done.outcome is not None
    assert done.outcome.row is not None
    assert done.outcome.row["status"] == "ok", done.outcome.row["reason"]
    specs = [model.spec for models in recipe.models.values() for model in models]
    predicted = (WORKER_BYTES + slot_bytes(shape, spacing, specs)) / MIB
    assert predicted == pytest.approx(done.outcome.row["peak_rss_mb"], rel=0.25)
