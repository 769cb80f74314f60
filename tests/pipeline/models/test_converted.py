"""A network is converted once on a machine: what is kept gives the same scores, and nothing is taken on trust."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.models import registry
from pipeline.models.files import CACHE_VARIABLE, cache_folder
from pipeline.models.formats import torch_files
from pipeline.models.network import Made, VoxelNetwork
from pipeline.models.predictor import LesionSettings
from pipeline.models.registry import load
from tests.pipeline.models.networks import PATCH, save_safetensors, save_torchscript, small_scan

WINDOWS = torch.rand(1, 1, *PATCH)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and a process that has opened nothing yet."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(registry, "_loaded", {})
    return tmp_path / "cache"


def _counting() -> tuple[Callable[[], Made], list[int]]:
    calls, module = list[int](), torch.nn.Conv3d(1, 2, 3, padding=1)

    def make() -> Made:
        calls.append(1)
        return module, None

    return make, calls


def test_made_once_and_the_same_afterwards() -> None:
    make, calls = _counting()
    first, second = (VoxelNetwork.made_by(make, patch=PATCH, key="a") for _ in range(2))
    assert len(calls) == 1
    assert torch.equal(first(WINDOWS), second(WINDOWS))


@pytest.mark.parametrize(
    ("key", "patch"), [("b", PATCH), ("a", (16, 16, 32))], ids=["another model", "windows of another size"]
)
def test_another_is_made_anew(key: str, patch: tuple[int, int, int]) -> None:
    make, calls = _counting()
    VoxelNetwork.made_by(make, patch=PATCH, key="a")
    VoxelNetwork.made_by(make, patch=patch, key=key)
    assert len(calls) == 2


def test_without_a_key_nothing_is_kept(cache: Path) -> None:
    make, calls = _counting()
    for _ in range(2):
        VoxelNetwork.made_by(make, patch=PATCH)
    assert len(calls) == 2
    assert not cache.exists()


def test_what_was_damaged_is_made_again_and_said(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    make, calls = _counting()
    expected = VoxelNetwork.made_by(make, patch=PATCH, key="a")(WINDOWS)
    (kept,) = cache.rglob("model.xml")
    kept.write_text("<net")
    assert torch.equal(VoxelNetwork.made_by(make, patch=PATCH, key="a")(WINDOWS), expected)
    assert len(calls) == 2
    assert "is made again" in caplog.text


def test_a_machine_that_keeps_nothing_still_runs(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    make, calls = _counting()
    for _ in range(2):
        VoxelNetwork.made_by(make, patch=PATCH, key="a")(WINDOWS)
    assert len(calls) == 2


def test_a_user_without_a_home_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under any number of user."""
    for name in (CACHE_VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", _nowhere)
    make, calls = _counting()
    for _ in range(2):
        VoxelNetwork.made_by(make, patch=PATCH, key="a")(WINDOWS)
    assert len(calls) == 2
    with pytest.raises(ModelError, match="set SPINETALLY_CACHE"):
        cache_folder("models")


def _nowhere() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_what_does_not_run_is_not_kept(cache: Path) -> None:
    def make() -> Made:
        return torch.nn.Conv3d(2, 2, 1), None

    with pytest.raises(ModelError, match="does not run"):
        VoxelNetwork.made_by(make, patch=PATCH, key="a")
    with pytest.raises(ModelError, match="does not run"):
        VoxelNetwork.made_by(make, patch=PATCH, key="a")
    assert not cache.exists()


def test_a_later_process_builds_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save_safetensors(tmp_path)
    first = load(str(folder)).lesions(small_scan(), modality="CT", within=None, settings=LesionSettings(threshold=0.5))
    registry._loaded.clear()
    monkeypatch.setattr(torch_files, "monai_network", lambda *_: pytest.fail("MONAI was asked for the network"))
    again = load(str(folder)).lesions(small_scan(), modality="CT", within=None, settings=LesionSettings(threshold=0.5))
    assert first.instances.any()
    np.testing.assert_array_equal(again.instances, first.instances)


def test_trust_is_asked_for_each_time(tmp_path: Path) -> None:
    folder = save_torchscript(tmp_path)
    load(str(folder), trust=True)
    registry._loaded.clear()
    with pytest.raises(ModelError, match="trust: true"):
        load(str(folder))
