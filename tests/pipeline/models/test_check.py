"""`check_model`: it runs what runs, and says in one line why something does not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from pipeline.errors import ModelError
from pipeline.models.check import check_model, synthetic_scan
from tests.pipeline.models.networks import SETTINGS, save_onnx, save_safetensors, small_network, write_model


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
def test_the_synthetic_scan(modality: str) -> None:
    volume, levels, lesion = synthetic_scan(modality)
    inside = volume.voxels[lesion.instances > 0].mean()
    bone = volume.voxels[(levels.levels > 0) & (lesion.instances == 0)].mean()
    assert abs(inside - bone) > 0.1 * abs(bone)
    assert set(levels.levels[lesion.instances > 0].tolist()) <= set(range(18, 24))


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


BAD = {
    "missing label map": (lambda folder: _changed(folder, labels={}), "no class named 'lesion'"),
    "weights that do not fit": (
        lambda folder: _changed(folder, network={**SETTINGS, "channels": [4, 16]}), "do not fit its network",
    ),
    "wrong digest": (lambda folder: _changed(folder, sha256="1" * 64), "sha256"),
    "a network that gives NaN": (_nan, "not finite|differ"),
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
