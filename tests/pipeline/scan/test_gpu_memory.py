"""A scan that does not fit a GPU's memory. A mock: there is no GPU here, only the error that torch raises on one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.models.network import VoxelNetwork
from pipeline.recipe import ResolvedRecipe, resolve_all
from pipeline.scan.finding import find_lesions
from pipeline.scan.process import ScanRequest, Workplace, process_scan
from pipeline.store import Store
from pipeline.store.volumes import read_labels, write_volume
from schemas.config import CohortConfig, OnGpuFull
from tests.pipeline.models.networks import save_safetensors, small_scan

GPU = "a GPU that is none"
ROW = {"series_key": "k", "study_key": "s", "patient_key": "p", "version": "v", "shard": "a", "modality": "CT",
       "intensity_unit": "HU", "volume_uri": "volumes/a.zarr/k/t", "shape": [20, 34, 28]}  # fmt: skip


def _full(windows: torch.Tensor) -> torch.Tensor:
    raise torch.cuda.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {windows.nbytes} bytes.")


def in_the_network() -> None:
    """Not even one window fits."""
    VoxelNetwork(_full, device=torch.device("cpu"), backend="torch", batch=4)(torch.zeros(4, 1, 2, 2, 2))


def beside_it() -> None:
    """What is blended does not."""
    _full(torch.zeros(1))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(str(tmp_path / "store"), cohort="one")
    write_volume(store, "volumes/a.zarr/k/t", small_scan(), attributes={})
    return store


@pytest.fixture
def recipe(tmp_path: Path) -> ResolvedRecipe:
    (tmp_path / "model").mkdir()
    recipe = {"CT": {"lesions": {"model": str(save_safetensors(tmp_path / "model"))}}}
    return resolve_all(CohortConfig.model_validate({"source": "s", "store": "t", "recipe": recipe}).recipe)["CT"]


@pytest.fixture(params=[in_the_network, beside_it])
def full_gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the device is not said, it is a GPU whose memory is full."""

    def find(*given: Any) -> Any:
        if given[-1].device != "cpu":
            request.param()
        return find_lesions(*given)

    monkeypatch.setattr("pipeline.scan.process.find_lesions", find)
    monkeypatch.setattr(
        "pipeline.scan.process.choose_device", lambda name: torch.device("cpu" if name == "cpu" else "cuda:0")
    )
    monkeypatch.setattr("pipeline.scan.process.device_name", lambda device: "cpu" if device.type == "cpu" else GPU)


def _row(store: Store, recipe: ResolvedRecipe, attempt: str, on_gpu_full: OnGpuFull, device: str = "auto") -> Any:
    place = Workplace(store, device=device, on_gpu_full=on_gpu_full)
    return process_scan(ScanRequest(ROW), recipe=recipe, attempt=attempt, workplace=place)


@pytest.mark.usefixtures("full_gpu")
def test_the_cpu_does_it_where_that_is_allowed_and_the_row_says_so(store: Store, recipe: ResolvedRecipe) -> None:
    row, on_cpu = _row(store, recipe, "1", "cpu"), _row(store, recipe, "2", "quarantine", device="cpu")
    assert (row["status"], row["device"], row["backend"]) == ("ok", "cpu", on_cpu["backend"])
    assert row["n_lesions"] > 0
    assert row["lesions"] == on_cpu["lesions"]
    masks = [read_labels(store, each["labels_uri"])[0] for each in (row, on_cpu)]
    np.testing.assert_array_equal(*masks)


@pytest.mark.usefixtures("full_gpu")
def test_else_it_is_a_row_that_says_what_to_set(store: Store, recipe: ResolvedRecipe) -> None:
    row = _row(store, recipe, "1", "quarantine")
    assert (row["status"], row["reason_code"], row["device"]) == ("quarantined", "out_of_memory", GPU)
    assert "on_gpu_full: cpu" in row["reason"]
