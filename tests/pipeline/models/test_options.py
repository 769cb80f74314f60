"""What stands under `options:` is known to the format, in a model.yaml and in a recipe, and does something."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelError, ScanError
from pipeline.models.check import check_model
from pipeline.models.predictor import LesionSettings
from pipeline.models.registry import find_spec, load
from pipeline.recipe import resolve_all
from schemas.config import CohortConfig
from schemas.model_options import check_options, options_class
from tests.pipeline.models.networks import SETTINGS, save_safetensors, small_scan, write_model

FORMATS = {
    "monai_network": "empty_below, fill, flip_axes, grid, smooth, unit",
    "torch_export": "empty_below, fill, flip_axes, grid, smooth, unit",
    "torchscript": "empty_below, fill, flip_axes, grid, smooth, unit",
    "onnx": "empty_below, fill, flip_axes, grid, smooth, unit",
    "openvino": "empty_below, fill, flip_axes, grid, smooth, unit",
    "monai_bundle": "checkpoint, config",
    "nnunet": "checkpoint, folds, mirroring",
    "command": "device_lock, memory_mb, timeout_s",
    "threshold": "fraction, rule, seed, suv",
}


def _network(folder: Path, **changes: object) -> Path:
    folder.mkdir(exist_ok=True)
    save_safetensors(folder)
    return write_model(folder, format="monai_network", weights="model.safetensors", network=SETTINGS, **changes)


def _recipe(**recipe: Any) -> Any:
    return resolve_all(CohortConfig.model_validate({"source": "s", "store": "t", "recipe": {"CT": recipe}}).recipe)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_refuses_what_it_does_not_know(tmp_path: Path, format_: str) -> None:
    modality = ["PT"] if format_ == "threshold" else ["CT"]
    folder = write_model(tmp_path, format=format_, modality=modality, options={"timeuot_s": 3})
    with pytest.raises(ModelError) as caught:
        find_spec(str(folder))
    said = str(caught.value)
    assert f"format {format_!r} knows no option 'timeuot_s' for lesions" in said
    assert said.endswith(f"it knows {FORMATS[format_]}")
    assert "\n" not in said


@pytest.mark.parametrize("task", ["levels", "lesions", "both", "characterise"])
def test_defaults_are_options(task: str) -> None:
    for format_ in FORMATS:
        known = options_class(format_, task)
        check_options(format_, task, known.of({}).model_dump())


@pytest.mark.parametrize(
    ("format_", "task", "options", "sentence"),
    [
        (
            "command",
            "levels",
            {"timeout_s": "30"},
            "timeout_s of format 'command': Input should be a valid number, got",
        ),
        ("command", "levels", {"timeout_s": 0}, "greater than 0, got 0"),
        ("onnx", "lesions", {"smooth": "yes"}, "valid boolean, got 'yes'"),
        ("onnx", "lesions", {"grid": "corner"}, "'corners' or 'centres', got 'corner'"),
        ("onnx", "lesions", {"flip_axes": [0, 0]}, "an axis is named twice"),
        ("onnx", "levels", {"unit": "SUV"}, "knows no option 'unit' for levels"),
        ("onnx", "characterise", {"smooth": True}, "for characterise; it knows channels"),
        ("nnunet", "levels", {"checkpoint": "../../secret"}, "a plain name is needed"),
        ("builtin", "levels", {"threshold": 1}, "it has none"),
        ("precomputed", "levels", {"label_table": "vers"}, "'verse', 'totalsegmentator'"),
        ("precomputed", "lesions", {"label_table": "verse"}, "it has none"),
    ],
)
def test_wrong_options_are_one_line(format_: str, task: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        check_options(format_, task, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"lesions": {"options": {"smoth": True}}}, r"recipe\.CT\.lesions\.options: .* did you mean 'smooth'"),
        (
            {"lesions": {}, "overrides": [{"when": {"site": "a"}, "lesions": {"options": {"smoth": True}}}]},
            r"recipe\.CT\.lesions\.options: .* did you mean 'smooth'",
        ),
        ({"levels": {"model": "builtin/ct-levels", "options": {"anchors": {}}}}, r"CT\.levels\.options: .* has none"),
        ({"levels": {"model": "precomputed", "options": {"label_tabel": "verse"}}}, "did you mean 'label_table'"),
    ],
)
def test_a_recipe_is_refused_before_anything_starts(tmp_path: Path, recipe: Any, sentence: str) -> None:
    if "lesions" in recipe:
        recipe = recipe | {"lesions": {"model": str(_network(tmp_path / "model")), **recipe["lesions"]}}
    with pytest.raises(ModelError, match=sentence) as caught:
        _recipe(**recipe)
    assert "\n" not in str(caught.value)


def test_options_of_a_recipe_go_before_the_models_own(tmp_path: Path) -> None:
    folder = str(_network(tmp_path / "model", options={"smooth": False}))
    masks = [
        load(folder, options=options)
        .lesions(small_scan(), modality="CT", within=None, settings=LesionSettings())
        .instances
        for options in ({}, {"smooth": True}, {"smooth": False})
    ]
    assert not np.array_equal(masks[0] > 0, masks[1] > 0)
    np.testing.assert_array_equal(masks[0], masks[2])


def test_a_programs_time_can_be_set_in_the_recipe(tmp_path: Path) -> None:
    waiting = [sys.executable, "-c", "import time; time.sleep(60)", "{input}", "{output}"]
    folder = str(write_model(tmp_path, format="command", patch=None, command=waiting))
    model = load(folder, options={"timeout_s": 0.2})
    with pytest.raises(ScanError, match=r"was ended after 0\.2 s"):
        model.lesions(small_scan(), modality="CT", within=None, settings=LesionSettings())


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    folder = _network(tmp_path / "model")
    text = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text + "task: levels\n")
    with pytest.raises(ModelError, match=r"model\.yaml of .* line \d+: 'task' stands twice") as caught:
        check_model(str(folder))
    assert "\n" not in str(caught.value)
