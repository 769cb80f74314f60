"""A cohort file, read and checked: every mistake is one line that names the key, its line, and what is allowed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.errors import ConfigError
from schemas.config import CohortConfig, ModelUse
from schemas.strict import UNKNOWN_KEY

_ONE_SLASH = re.compile(r"[a-z][a-z0-9+]+:/[^/]")

Place = tuple[str | int, ...]
"""Where a value stands in the file: keys and positions from the top."""


def load_cohort(path: Path) -> CohortConfig:
    """Read a cohort file; relative paths in it are meant from its own folder.

    Raises:
        ConfigError: there is no such file, it is no YAML, or it says something that is not allowed.
    """
    return _absolute(_validated(*_parsed(path)), path.absolute().parent)


def _parsed(path: Path) -> tuple[Any, dict[Place, int], str]:
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Place, int] = {}
        if root is not None:
            _collect_lines(root, (), lines, path.name)
        return yaml.safe_load(text), lines, path.name
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}. Give the path of a cohort.yaml") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path.name} is not text in UTF-8: give a cohort.yaml") from error
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{path.name}{line}: no valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path.name}: no valid YAML: {str(error).splitlines()[0]}") from error
    except RecursionError:
        raise ConfigError(f"{path.name}: an alias (`*name`) stands inside of what it names: write it out") from None


def _collect_lines(node: yaml.Node, place: Place, lines: dict[Place, int], name: str) -> None:
    """Note the line of every value, and refuse a key that stands twice: YAML itself would drop the first."""
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigError(f"{name} line {key.start_mark.line + 1}: a key is a word, not a list or a mapping")
            inner = (*place, key.value)
            if inner in lines:
                raise ConfigError(
                    f"{name} line {key.start_mark.line + 1}: {_dotted(inner)} stands twice, first in line "
                    f"{lines[inner]}: keep one"
                )
            lines[inner] = key.start_mark.line + 1
            _collect_lines(value, inner, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            _collect_lines(value, (*place, position), lines, name)


def _validated(content: Any, lines: dict[Place, int], name: str) -> CohortConfig:
    if not isinstance(content, dict):
        raise ConfigError(f"{name}: should be keys with values such as `source:` and `store:`, got {_kind(content)}")
    try:
        return CohortConfig.model_validate(content)
    except ValidationError as error:
        problems = [_problem(dict(detail), lines, name) for detail in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None


def _problem(detail: dict[str, Any], lines: dict[Place, int], name: str) -> str:
    place: Place = tuple(detail["loc"])
    while place and place not in lines:  # pydantic names branches of a union, which the file does not have
        place = place[:-1]
    if detail["type"] == UNKNOWN_KEY:
        return f"{name} line {lines.get((*place, detail['ctx']['key']), 1)}{_named(place)}: {detail['msg']}"
    message = str(detail["msg"]).removeprefix("Value error, ")
    if detail["type"] == "missing":
        line = f" line {lines[place]}" if place else ""
        return f"{name}{line}: {_dotted(detail['loc'])} is missing and has no default: add it"
    where = f"{name} line {lines.get(place, 1)}{_named(place)}"
    plain = isinstance(detail["input"], str | int | float) and "storage_options" not in place
    got = f", got {detail['input']!r}" if plain and detail["type"] != "value_error" else ""
    return f"{where}: {message}{got}"


def _named(place: Place) -> str:
    return f": {_dotted(place)}" if place else ""


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _kind(content: Any) -> str:
    return "nothing" if content is None else {"list": "a list", "str": "a text"}.get(type(content).__name__, "a value")


def _absolute(config: CohortConfig, folder: Path) -> CohortConfig:
    changes: dict[str, Any] = {"source": _resolve(config.source, folder), "store": _resolve(config.store, folder)}
    if isinstance(config.cluster, str) and config.cluster.endswith((".yaml", ".yml")):
        changes["cluster"] = _resolve(config.cluster, folder)
    if config.truth is not None and config.truth.points is not None:
        changes["truth"] = config.truth.model_copy(update={"points": _resolve(config.truth.points, folder)})
    changes["recipe"] = {
        modality: use.model_copy(
            update={task: _absolute_model(value, folder) for task, value in use if isinstance(value, ModelUse)}
        )
        for modality, use in config.recipe.items()
    }
    return config.model_copy(update=changes)


def _absolute_model(use: ModelUse, folder: Path) -> ModelUse:
    return use.model_copy(
        update={
            "model": None if use.model is None else _model_name(use.model, folder),
            "models": None if use.models is None else [_model_name(name, folder) for name in use.models],
            "threshold_file": None if use.threshold_file is None else _resolve(use.threshold_file, folder),
        }
    )


def _model_name(name: str, folder: Path) -> str:
    """A model's folder beside the cohort file by its full path; a name such as `builtin/ct-levels` as it is."""
    is_folder = name.startswith((".", "/", "~")) or (folder / name).is_dir()
    return _resolve(name, folder) if is_folder and "://" not in name else name


def _resolve(address: str, folder: Path) -> str:
    if "://" in address:
        return address
    if _ONE_SLASH.match(address):
        raise ConfigError(f"{address!r} is neither a path nor an address: an address is written as s3://bucket/prefix")
    return str((folder / Path(address).expanduser()).absolute())
