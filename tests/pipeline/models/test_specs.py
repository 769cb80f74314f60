"""What a model.yaml may say, and what it says wrongly: refused before a voxel is touched, in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pipeline.errors import ModelError, ScanError
from pipeline.models.check import check_model
from pipeline.models.classes import Classes, plain_name
from pipeline.models.predictor import LesionSettings
from pipeline.models.registry import find_spec, load
from schemas.model import ModelSpec
from tests.pipeline.models.networks import SETTINGS, save_onnx, save_openvino, save_safetensors, small_scan, write_model


def _network(folder: Path, **changes: object) -> str:
    save_safetensors(folder)
    spec = {"format": "monai_network", "weights": "model.safetensors", "network": SETTINGS}
    return str(write_model(folder, **(spec | changes)))


def _spec(**changes: object) -> ModelSpec:
    said = {"name": "small", "version": "1", "task": "levels", "modality": ["CT"], "format": "onnx"}
    return ModelSpec.model_validate(said | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"orientation": "LPX"}, "'LPX' does not name three axes"),
        ({"orientation": "LRS"}, "'LRS' does not name three axes"),
        ({"patch": [0, 16, 16]}, r"patch\.0: Input should be greater than 0, got 0"),
        ({"patch": [-16, 16, 16]}, r"patch\.0: .* got -16"),
        ({"spacing_mm": [1, 0, 1]}, r"spacing_mm\.1: .* got 0"),
        ({"spacing_mm": [1, 1, -1]}, r"spacing_mm\.2: .* got -1"),
        ({"spacing_mm": [float("nan"), 1, 1]}, r"spacing_mm\.0: .* got nan"),
        ({"spacing_mm": [0.001, 1, 1]}, r"spacing_mm\.0: .* got 0.001"),
        ({"intensity": {"clip": [500, -500]}}, "the lowest value kept comes first"),
        ({"intensity": {"subtract": float("inf")}}, "a finite number is needed, got inf"),
        ({"version": 3}, "version: Input should be a valid string, got 3; put it in quotes"),
        ({"labels": {1.5: "lesion"}}, r"labels\.1\.5: Input should be a valid integer"),
        ({"labels": {1: "lesion"}, "label_table": "verse"}, "give one of them"),
        ({"format": "threshold", "modality": ["CT"]}, "in PT and NM; got modality CT"),
        ({"modality": ["ct"]}, r"modality\.0: .* got 'ct'"),
    ],
)
def test_refused_in_one_line(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    folder = _network(tmp_path, **changes)
    with pytest.raises(ModelError, match=sentence) as caught:
        find_spec(folder)
    assert "\n" not in str(caught.value)
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n", "just a word"])
def test_no_keys(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(ModelError, match="must hold keys with values"):
        find_spec(str(tmp_path))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = Path(_network(tmp_path))
    content = yaml.safe_load((folder / "model.yaml").read_text())
    del content["task"]
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ModelError, match="task is missing: add it"):
        find_spec(str(folder))


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("L5", "L5"), ("l5", "L5"), ("vertebrae_L5", "L5"), ("vertebrae L5", "L5"), ("Vertebra_T12", "T12"),
        ("Th3", "T3"),
        ("sacrum", "SACRUM"), ("S1", "SACRUM"), ("vertebrae_S1", "SACRUM"), ("T13", "T13"), ("V3", "V3"),
        ("disc", "disc"), ("rib_left_1", "rib_left_1"), ("spinal cord", "spinal cord"),
    ],
)  # fmt: skip
def test_names_of_levels(given: str, plain: str) -> None:
    assert plain_name(given, "small") == plain


@pytest.mark.parametrize("name", ["L7", "C8", "T14", "vertebrae_L7", "V41"])
def test_what_looks_like_a_level_and_is_none(name: str) -> None:
    with pytest.raises(ModelError, match=f"model 'small' names a class '{name}'"):
        Classes.of(_spec(labels={1: "L1", 2: name}))


def test_background_may_be_named() -> None:
    assert Classes.of(_spec(labels={0: "background", 1: "L1"})).names == {1: "L1"}
    with pytest.raises(ModelError, match="names class 0 'L1'; 0 is background"):
        Classes.of(_spec(labels={0: "L1", 1: "L2"}))


@pytest.mark.parametrize("channels", [25, 26, 27, 29])
def test_a_network_need_not_know_every_level_of_a_table(channels: int) -> None:
    values = Classes.of(_spec(label_table="verse")).level_values(channels)
    np.testing.assert_array_equal(values, np.arange(channels))


@pytest.mark.parametrize(
    ("table", "channels"), [("verse", 24), ("totalsegmentator", 26), ("spineps", 2), ("vista3d", 50)]
)
def test_but_all_from_c1_to_l5(table: str, channels: int) -> None:
    with pytest.raises(ScanError, match=f"gives {channels} channels"):
        Classes.of(_spec(label_table=table)).level_values(channels)


def test_scores_that_are_no_probabilities(tmp_path: Path) -> None:
    model = load(_network(tmp_path, activation="none"))
    with pytest.raises(ScanError, match="`activation: none`, for probabilities: say softmax or sigmoid"):
        model.lesions(small_scan(), modality="CT", within=None, settings=LesionSettings())


def test_a_value_that_the_table_does_not_know(tmp_path: Path) -> None:
    read = "import sys, SimpleITK as s; i = s.ReadImage(sys.argv[1]); "
    write = "s.WriteImage(s.Cast(i > 0, s.sitkUInt8) * 150, sys.argv[2])"
    command = [sys.executable, "-c", read + write, "{input}", "{output}"]
    folder = write_model(
        tmp_path, format="command", patch=None, command=command, task="levels", labels=None,
        label_table="totalsegmentator",
    )  # fmt: skip
    with pytest.raises(ScanError, match="wrote the value 150, which label_table 'totalsegmentator' does not know"):
        load(str(folder)).levels(small_scan(), modality="CT")


def _two_channels(folder: Path) -> None:
    """An ONNX that takes two images."""
    module = torch.nn.Conv3d(2, 2, 1)
    torch.onnx.export(module, (torch.zeros(1, 2, 16, 16, 16),), folder / "model.onnx", dynamo=False)
    write_model(folder, format="onnx", weights="model.onnx")


def _exported_for(size: int, channels: int = 1, **changes: object) -> Callable[[Path], None]:
    """A .pt2 for windows of one size."""

    def make(folder: Path) -> None:
        module = torch.nn.Conv3d(channels, 2, 3, padding=1).eval()
        program = torch.export.export(module, (torch.zeros(1, channels, size, size, size),))
        torch.export.save(program, folder / "m.pt2")
        write_model(folder, format="torch_export", weights="m.pt2", **changes)

    return make


def _no_bin(folder: Path) -> None:
    save_openvino(folder)
    (folder / "ir" / "model.bin").unlink()


def _text(name: str, **changes: object) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / name).write_text("hello")
        write_model(folder, weights=name, **changes)

    return make


def _folder(folder: Path) -> None:
    (folder / "weights").mkdir()
    write_model(folder, format="monai_network", weights="weights", network=SETTINGS)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_two_channels, "takes 2 images of a scan; one is supported"),
        (_exported_for(8), "was exported for windows [8, 8, 8], its `patch` is [16, 16, 16]"),
        (_exported_for(16, patch=None), "was exported for windows [16, 16, 16]: give that as its `patch`"),
        (_exported_for(16, channels=2), "takes 2 images of a scan; one is supported"),
        (_no_bin, "cannot read model.xml: Empty weights data"),
        (_text("m.onnx", format="onnx"), "cannot read m.onnx: Unable to read the model"),
        (_text("m.bin", format="onnx"), "needs a file that ends with .onnx"),
        (_text("m.pt2", format="torch_export"), "no torch.export archive"),
        (_text("m", format="nnunet"), "`weights` is a file; format nnunet needs a folder"),
        (_text("m", format="monai_bundle"), "`weights` is a file; format monai_bundle needs a folder"),
        (_folder, "`weights` is a folder; format monai_network needs a file"),
    ],
)
def test_weights_that_are_something_else(tmp_path: Path, make: Callable[[Path], None], sentence: str) -> None:
    make(tmp_path)
    problem = check_model(str(tmp_path), device="cpu").problem
    assert problem is not None
    assert sentence in problem
    assert "\n" not in problem
    assert str(tmp_path) not in problem


def test_whatever_happens_a_check_ends_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_onnx(tmp_path)

    def break_down(*_: object) -> None:
        raise MemoryError("as it happens")

    monkeypatch.setattr("pipeline.models.check._seen", break_down)
    assert check_model(str(tmp_path), device="cpu").problem == "MemoryError: as it happens"
