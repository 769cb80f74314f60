"""Memory is predicted, held against what is measured, and refused with both figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flows.memory import Need, plan_capacity, slot_bytes, slots_that_fit
from pipeline.errors import ConfigError
from pipeline.recipe import resolve_all
from pipeline.store import Store
from schemas.config import CohortConfig
from schemas.model import ModelSpec
from schemas.spine import level_name
from tests.flows.large_scan import drawn_ct, measure

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


def test_sums_of_many_classes_count() -> None:
    """A slab of 128 planes of 273 x 273 voxels: 128 * 273 * 273 * 4 bytes for each class more."""

    def planned(n_classes: int) -> int:
        labels = {number: level_name(number) for number in range(1, n_classes)}
        document = {"name": "spine", "version": "1", "task": "levels", "modality": ["CT"], "format": "onnx"}
        spec = ModelSpec.model_validate(
            document | {"weights": "w", "patch": [128] * 3, "spacing_mm": [1.5] * 3, "labels": labels}
        )
        return slot_bytes((1000, 512, 512), (1.0, 0.8, 0.8), [spec])

    assert planned(25) - planned(2) == pytest.approx(23 * 128 * (512 * 0.8 / 1.5) ** 2 * 4, rel=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_prediction_is_near_what_is_measured(tmp_path: Path) -> None:
    volume = drawn_ct((150, 256, 256), levels=("T10", "L5"), lesions=2)
    done = measure(Store.create(str(tmp_path / "store"), cohort="memory"), volume, resolve_all(_config().recipe)["CT"])
    assert done.row["n_levels_assessed"] > 3, "vertebrae are found, so that lesions are looked for and measured"
    assert done.predicted_mb == pytest.approx(done.peak_mb, rel=0.25)
