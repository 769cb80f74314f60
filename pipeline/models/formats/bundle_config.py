"""What a MONAI bundle's configuration says of inference, and what in it could run code.

A configuration is a program: `$...` is evaluated as Python, `%...` reads other files, and `_target_` may name anything
that can be imported. Without `trust`, what inference needs must be made of MONAI's own networks, transforms and
inferers, without expressions; the rest (handlers, evaluators) is not looked at by anyone.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle.config_item import ComponentLocator
from monai.bundle.config_parser import ConfigParser

from pipeline.engine.window import AS_MONAI, AS_MONAI_FLAT, SIGMA_OF_PATCH, Blending, Size
from pipeline.errors import ModelError, first_line

_PLACES = ("monai.networks.nets", "monai.transforms", "monai.inferers")
"""Packages that what is named may come from, without trust."""

_FILES = re.compile(r"(Load|Save|Write|Download)\w*")
"""Transforms that read or write files; they are left out."""

_NEEDED = ("network_def", "preprocessing", "postprocessing", "inferer")


@dataclass(frozen=True)
class Bundle:
    """The parts of a bundle that inference needs."""

    network: torch.nn.Module
    """Without its weights."""
    before: list[Any]
    """Transforms of a dictionary with `image`, in order."""
    after: list[Any]
    """Transforms of a dictionary with `image` and `pred`, in order."""
    roi_size: Size | None
    """Window along x, y, z; None takes the whole volume."""
    overlap: float
    """Share of a window that its neighbour covers too."""
    blending: Blending
    """How windows are blended."""
    fill: float
    """Value around a scan smaller than the window."""
    names: dict[int, str]
    """What metadata.json says of the output's channels, background left out."""


def read_bundle(folder: Path, name: str, *, trust: bool) -> Bundle:
    """A bundle's configuration `configs/<name>.json` or `.yaml`, instantiated by MONAI.

    Raises:
        ModelError: it lacks a part, a part needs what is not there, or what is not MONAI's own and is not trusted.
    """
    config = _without_files(_read(folder, name))
    if lacking := [part for part in _NEEDED[:3] if part not in config]:
        raise ModelError(f"the bundle's {name} configuration has no {lacking[0]!r}; it has {', '.join(config)}")
    if not trust and (found := next(_suspicious(config, [config[part] for part in _NEEDED if part in config]), None)):
        raise ModelError(
            f"the bundle needs {found}, which could run any code: set `trust: true` beside `model` in the cohort file "
            "if you trust who made it"
        )
    with _importing_from(folder if trust else None):
        parts = _instantiated(config)
    roi_size, overlap, blending, fill = _inferer(parts.get("inferer"))
    return Bundle(
        network=parts["network_def"],
        before=_transforms(parts["preprocessing"]),
        after=_transforms(parts["postprocessing"]),
        roi_size=roi_size,
        overlap=overlap,
        blending=blending,
        fill=fill,
        names=_channel_names(folder),
    )


def _read(folder: Path, name: str) -> dict[str, Any]:
    for path in (folder / "configs" / f"{name}{ending}" for ending in (".json", ".yaml", ".yml")):
        if path.is_file():
            try:
                content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML
            except (yaml.YAMLError, UnicodeDecodeError) as failure:
                raise ModelError(f"the bundle's configs/{path.name} is neither JSON nor YAML") from failure
            if isinstance(content, dict):
                return content
    raise ModelError(f"the bundle has no configs/{name}.json or .yaml with an object in it")


def _without_files(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration on the CPU, without the transforms that read or write files."""
    config = {**config, "device": "cpu"}
    for part in ("preprocessing", "postprocessing"):
        chain = config.get(part)
        transforms = _followed(config, chain.get("transforms")) if isinstance(chain, dict) else None
        if isinstance(chain, dict) and isinstance(transforms, list):
            kept = [one for one in transforms if not _FILES.fullmatch(_target(one).rpartition(".")[2])]
            config[part] = {**chain, "transforms": kept}
    return config


def _followed(config: dict[str, Any], value: Any) -> Any:
    """What a value refers to, where it is a reference and no more (`@name`, and `$@name`, which means the same)."""
    for _ in range(10):
        if not (isinstance(value, str) and re.fullmatch(r"\$?@[\w#:]+", value)):
            return value
        value = _referred(config, value.removeprefix("$"))
    return value


def _target(part: Any) -> str:
    return str(part.get("_target_", "")) if isinstance(part, dict) else ""


def _suspicious(config: dict[str, Any], parts: list[Any]) -> Iterator[str]:
    """What in these parts, and in what they refer to, is more than MONAI's own, in words."""
    waiting, seen = list(parts), set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if "_target_" in part and not _is_monais(str(part["_target_"])):
                yield f"{str(part['_target_'])[:60]!r} from outside MONAI's networks, transforms and inferers"
            waiting += [value for key, value in part.items() if key != "_target_"]
        elif isinstance(part, list):
            waiting += part
        elif isinstance(part, str) and part[:1] in ("$", "%"):
            yield f"the expression {part[:60]!r}"
        elif isinstance(part, str) and part.startswith("@") and part not in seen:
            seen.add(part)
            waiting.append(_referred(config, part))


def _referred(config: Any, reference: str) -> Any:
    for key in re.split(r"#|::", reference[1:]):
        config = config[int(key)] if isinstance(config, list) and key.isdigit() else (config or {}).get(key)
    return config


def _is_monais(target: str) -> bool:
    module = target.rpartition(".")[0] or ComponentLocator().get_component_module_name(target) or ""
    modules = module if isinstance(module, list) else [module]
    return all(any(one == place or one.startswith(place + ".") for place in _PLACES) for one in modules)


@contextmanager
def _importing_from(folder: Path | None) -> Iterator[None]:
    """Let a trusted bundle import its own scripts."""
    if folder is None:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _instantiated(config: dict[str, Any]) -> dict[str, Any]:
    parser = ConfigParser(config)
    parts = {}
    for part in (part for part in _NEEDED if part in config):
        try:
            parts[part] = parser.get_parsed_content(part)
        except Exception as failure:  # whatever a class that the bundle names may raise
            cause: BaseException = failure
            while cause.__cause__ is not None:
                cause = cause.__cause__
            raise ModelError(f"the bundle's {part} cannot be made: {first_line(cause)}") from failure
    return parts


def _transforms(chain: Any) -> list[Any]:
    """The transforms of a chain without those that read or write files: an expression may have made it, too."""
    if not hasattr(chain, "transforms"):
        return [chain]
    chain.transforms = [one for one in chain.transforms if not _FILES.fullmatch(type(one).__name__)]
    return list(chain.transforms)


def _inferer(inferer: Any) -> tuple[Size | None, float, Blending, float]:
    """Window, overlap, blending and padding of an inferer; SimpleInferer, and none, take the whole volume."""
    kind = type(inferer).__name__
    if inferer is None or kind == "SimpleInferer":
        return None, 0.0, AS_MONAI, 0.0
    if kind not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt"):
        raise ModelError(f"the bundle's inferer {kind} is not supported; SlidingWindowInferer and SimpleInferer are")
    for name, wanted in (("sigma_scale", SIGMA_OF_PATCH), ("padding_mode", "constant")):
        found = getattr(inferer, name, wanted)
        if str(getattr(found, "value", found)) != str(wanted):
            raise ModelError(f"the bundle's inferer with {name} {found} is not supported; {wanted} is")
    roi = inferer.roi_size if not isinstance(inferer.roi_size, int) else (inferer.roi_size,) * 3
    overlap = inferer.overlap if isinstance(inferer.overlap, int | float) else max(inferer.overlap)
    if len(roi) != 3 or min(roi) < 1:
        raise ModelError(f"the bundle's inferer takes windows of {list(roi)}; three sizes from 1 up are needed")
    x, y, z = (int(size) for size in roi)
    blending = AS_MONAI if str(inferer.mode).endswith("gaussian") else AS_MONAI_FLAT
    return (x, y, z), float(overlap), blending, float(inferer.cval)


def _channel_names(folder: Path) -> dict[int, str]:
    """Class to name; where channel 0 is no background, channel k is class k + 1."""
    try:
        metadata = json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))
        channels = metadata["network_data_format"]["outputs"]["pred"]["channel_def"]
        names = {int(number): str(name) for number, name in channels.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    shift = 0 if names.get(0, "background").lower() in ("background", "bg") else 1
    return {number + shift: name for number, name in names.items() if number + shift > 0}
