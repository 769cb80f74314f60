"""Reading a model.yaml: every mistake in it is one line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.errors import ModelError
from schemas.model import ModelSpec

SPEC_FILE = "model.yaml"
"""What makes a folder a model."""


def read_spec(folder: Path, name: str) -> ModelSpec:
    """What the model.yaml of a folder says.

    Args:
        folder: holds it.
        name: of the model, for messages.

    Raises:
        ModelError: it is no YAML, or says what is not allowed; or the weights that it names are not there.
    """
    try:
        content = yaml.load((folder / SPEC_FILE).read_text(encoding="utf-8"), Loader=_EachKeyOnce)  # noqa: S506 a SafeLoader
        if not isinstance(content, dict):
            raise ModelError(f"{SPEC_FILE} of {name!r} must hold keys with values such as `name:` and `format:`")
        spec = ModelSpec.model_validate(content)
    except (yaml.YAMLError, UnicodeDecodeError) as failure:
        raise ModelError(f"{SPEC_FILE} of {name!r} is no YAML: {_sentence(failure)}") from failure
    except ValidationError as failure:
        raise ModelError(f"{SPEC_FILE} of {name!r}: {_problem(dict(failure.errors()[0]))}") from failure
    if spec.weights is not None:
        _check_place(folder, spec.weights, name)
    return spec


def _check_place(folder: Path, weights: str, name: str) -> None:
    if not (folder / weights).resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{SPEC_FILE} of {name!r}: `weights` must be a file or folder beside it, got {weights!r}")
    if not (folder / weights).exists():
        raise ModelError(f"{SPEC_FILE} of {name!r} names weights {weights!r}, and they are not there")


class _EachKeyOnce(yaml.SafeLoader):
    """YAML itself keeps the last of two equal keys, so that a class given twice would lose its first name."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping.

        Raises:
            ConstructorError: a key stands in it twice.
        """
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, key in enumerate(keys):
            if key in keys[:place]:
                mark = node.value[place][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice: keep one", mark)
        return super().construct_mapping(node, deep)


def _problem(detail: dict[str, Any]) -> str:
    place = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    where = f"{place}: " if place else ""
    if detail["type"] == "missing":
        return f"{place} is missing: add it"
    wrong = isinstance(detail["input"], str | int | float) and detail["type"] != "value_error"
    got = f", got {detail['input']!r}" if wrong else ""
    quoted = "; put it in quotes" if detail["type"] == "string_type" and got else ""
    return f"{where}{str(detail['msg']).removeprefix('Value error, ')}{got}{quoted}"


def _sentence(failure: Exception) -> str:
    if isinstance(failure, yaml.MarkedYAMLError) and failure.problem_mark is not None:
        return f"line {failure.problem_mark.line + 1}: {failure.problem}"
    return str(failure).splitlines()[0]
