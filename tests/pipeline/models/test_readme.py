"""The README's examples of model.yaml and of a recipe are what the code takes."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from schemas.config import CohortConfig
from schemas.model import ModelSpec

README = (Path(__file__).resolve().parents[3] / "README.md").read_text()


def _blocks() -> list[str]:
    models = README.split("\n## Models\n")[1].split("\n## ")[0]
    return re.findall(r"```yaml\n(.*?)```", models, re.DOTALL)


def test_models() -> None:
    specs = [ModelSpec.model_validate(one) for one in yaml.safe_load_all(_blocks()[0])]
    assert [spec.format for spec in specs] == ["onnx", "nnunet", "command"]


def test_recipe() -> None:
    config = CohortConfig.model_validate({"source": "s", "store": "t", **yaml.safe_load(_blocks()[1])})
    assert len(config.recipe["CT"].overrides) == 2
