"""`check_model`: it runs what runs, and says in one line why something does not."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pipeline.errors import ModelError
from pipeline.models.check import check_model
from pipeline.models.check_scan import check_scan
from pipeline.recipe import resolve_all
from pipeline.scan.process import ScanRequest, Workplace, process_scan
from pipeline.store import Store
from pipeline.store.volumes import write_volume
from schemas.config import CohortConfig
from tests.pipeline.models.networks import (
    SETTINGS,
    save_onnx,
    save_safetensors,
    small_network,
    small_scan,
    write_model,
)


def test_a_good_model(tmp_path: Path) -> None:
    save_safetensors(tmp_path)
    report = check_model(str(tmp_path), device="cpu")
    assert report.problem is None
    assert report.lesions is not None
    assert report.lesions >= 1
    assert report.levels is None
    assert report.backend == "openvino"
    assert 0 < report.seconds["network"] <= report.seconds["run"]
    assert json.loads(json.dumps(report.as_dict()))["name"] == "small 1"


def test_models_without_a_network() -> None:
    assert check_model("precomputed").problem is None
    report = check_model("threshold")
    assert (report.problem, report.lesions, report.backend) == (None, 1, "none")


@pytest.mark.parametrize("modality", ["CT", "MR", "PT", "NM"])
def test_the_drawn_scan(modality: str) -> None:
    volume, levels, lesion = check_scan(modality)
    inside = volume.voxels[lesion.instances > 0].mean()
    bone = volume.voxels[(levels.levels > 0) & (lesion.instances == 0)].mean()
    assert abs(inside - bone) > 0.1 * abs(bone)
    assert set(range(18, 24)) <= set(np.unique(levels.levels).tolist())
    assert np.median(levels.levels[lesion.instances > 0]) in range(18, 24)


def test_a_model_of_levels_is_shown_vertebrae() -> None:
    report = check_model("builtin/ct-levels", device="cpu")
    assert report.problem is None
    assert report.vertebrae is not None
    assert [one.drawn for one in report.vertebrae][-3:] == ["L4", "L5", "SACRUM"]
    inner = [one for one in report.vertebrae if one.drawn in ("T12", "L1", "L2", "L3", "L4")]
    assert all(one.dice > 0.5 for one in inner), inner
    assert len({one.seen_as for one in inner}) == 5, "one to one"


def _nan(folder: Path) -> None:
    weights = small_network().state_dict()
    first = next(key for key, value in weights.items() if value.is_floating_point())
    weights = {key: value.clone() for key, value in weights.items()}
    weights[first].fill_(torch.nan)
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    write_model(folder, format="monai_network", weights="model.safetensors", network=SETTINGS)


def _changed(folder: Path, **changes: object) -> None:
    save_safetensors(folder)
    spec = {"format": "monai_network", "weights": "model.safetensors", "network": SETTINGS}
    write_model(folder, **(spec | changes))


def _dynamic(folder: Path) -> None:
    save_onnx(folder, dynamic=True)
    write_model(folder, format="onnx", weights="model.onnx", patch=None)


ANOTHER_GRID = "import sys, SimpleITK as s; i = s.ReadImage(sys.argv[1]); s.WriteImage(i[:, :, :5] > 0, sys.argv[2])"


def _bundle(folder: Path) -> None:
    """A MONAI bundle whose preprocessing is somebody's own code."""
    for name in ("configs", "models"):
        (folder / "bundle" / name).mkdir(parents=True)
    transforms = [{"_target_": "scripts.own.Transformd", "keys": "image"}]
    network = {key: value for key, value in SETTINGS.items() if key != "class"}
    config = {
        "network_def": {"_target_": "UNet", "spatial_dims": 3} | network,
        "preprocessing": {"_target_": "Compose", "transforms": transforms},
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16]},
        "postprocessing": {"_target_": "Compose", "transforms": []},
    }
    (folder / "bundle" / "configs" / "inference.json").write_text(json.dumps(config))
    (folder / "bundle" / "configs" / "metadata.json").write_text(json.dumps({}))
    safetensors.torch.save_file(small_network().state_dict(), folder / "bundle" / "models" / "model.safetensors")
    write_model(folder, format="monai_bundle", weights="bundle", patch=None, spacing_mm=None, intensity=None)


BAD = {
    "missing label map": (lambda folder: _changed(folder, labels={}), "no class named 'lesion'"),
    "weights that do not fit": (
        lambda folder: _changed(folder, network={**SETTINGS, "channels": [4, 16]}), "do not fit its network",
    ),
    "wrong digest": (lambda folder: _changed(folder, sha256="1" * 64), "sha256"),
    "a network that gives NaN": (_nan, "not finite"),
    "dynamic axes": (_dynamic, "dynamic axes"),
    "a patch that the network cannot take": (
        lambda folder: _changed(folder, patch=[15, 16, 16]), "does not run|windows' own",
    ),
    "two classes too many": (lambda folder: _changed(folder, labels={1: "lesion", 3: "L5"}), "2 channels"),
    "a program that fails": (
        lambda folder: write_model(folder, format="command", patch=None, command=["false", "{input}", "{output}"]),
        "ended with code 1",
    ),
    "a program that hangs": (
        lambda folder: write_model(
            folder, format="command", patch=None, command=["sleep", "60", "{input}{output}"], options={"timeout_s": 0.3}
        ),
        "was ended after|ended with code",
    ),
    "a program that writes another grid": (
        lambda folder: write_model(folder, format="command", patch=None, command=[sys.executable, "-c", ANOTHER_GRID,
                                                                                  "{input}", "{output}"]),
        "another grid",
    ),
    "a bundle that needs a transform from outside": (_bundle, "is no part of MONAI|trust: true"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("backend", ["torch", "auto"])
def test_one_clear_line(tmp_path: Path, case: str, backend: str) -> None:
    make, sentence = BAD[case]
    if case == "dynamic axes" and backend == "torch":
        pytest.skip("ONNX runs on OpenVINO only")
    make(tmp_path)
    report = check_model(str(tmp_path), device="cpu", backend=backend)
    assert report.problem is not None
    assert "\n" not in report.problem
    assert re.search(sentence, report.problem), report.problem


def test_no_such_model() -> None:
    with pytest.raises(ModelError, match="no model 'nowhere'"):
        check_model("nowhere")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store.create(str(tmp_path_factory.mktemp("bad") / "store"), cohort="one")
    write_volume(store, "volumes/a.zarr/k/t", small_scan(), attributes={})
    return store


@pytest.mark.parametrize("case", [*BAD, "weights that are gone"])
def test_in_a_run_the_scan_is_quarantined_with_the_same_line(tmp_path: Path, case: str, store: Store) -> None:
    make, sentence = BAD.get(case, (_changed, "names weights"))
    make(tmp_path)
    asked = {"source": "s", "store": "t", "recipe": {"CT": {"lesions": {"model": str(tmp_path)}}}}
    recipe = resolve_all(CohortConfig.model_validate(asked).recipe)["CT"]
    if case == "weights that are gone":
        (tmp_path / "model.safetensors").unlink()
    row = {
        "series_key": "k",
        "shard": "a",
        "modality": "CT",
        "intensity_unit": "HU",
        "volume_uri": "volumes/a.zarr/k/t",
    }
    done = process_scan(ScanRequest(row), recipe=recipe, attempt="1", workplace=Workplace(store, device="cpu"))
    assert done["status"] == "quarantined"
    assert done["reason_code"] in ("model_unfit", "model_output", "command_failed")
    assert "\n" not in done["reason"]
    assert re.search(sentence, done["reason"]), done["reason"]


def test_a_model_for_mr_given_a_ct_is_refused_before_anything_starts(tmp_path: Path) -> None:
    _changed(tmp_path, modality=["MR"])
    asked = {"source": "s", "store": "t", "recipe": {"CT": {"lesions": {"model": str(tmp_path)}}}}
    with pytest.raises(ModelError, match=r"recipe\.CT\.lesions: .* is made for MR, not for CT"):
        resolve_all(CohortConfig.model_validate(asked).recipe)
