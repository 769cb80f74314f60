"""From a name, a folder or an s3:// address to a model: its spec, its digest and the model, opened once per process."""

from __future__ import annotations

import hashlib
import importlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError
from pipeline.models.device import choose_device
from pipeline.models.files import digest_of, local_folder
from pipeline.models.place import Opener
from pipeline.models.place import Place as Place
from pipeline.models.predictor import Characteriser, Predictor
from pipeline.models.spec_file import SPEC_FILE, read_spec
from schemas.model import ModelSpec
from schemas.model_options import check_options

_BUILTIN = Path(__file__).parent / "builtin"

_MODALITIES: Any = ["CT", "MR", "PT", "NM"]

_WITHOUT_FILES = {
    "precomputed": ModelSpec(name="precomputed", version="1", task="both", modality=_MODALITIES, format="precomputed"),
    "threshold": ModelSpec(
        name="threshold", version="1", task="lesions", modality=["PT", "NM"], format="threshold",
        limits="Takes physiological uptake for lesions where it is not limited to vertebrae.",
    ),
}  # fmt: skip


_OPENERS = {
    "threshold": "pipeline.models.formats.threshold",
    "monai_network": "pipeline.models.formats.torch_files",
    "torch_export": "pipeline.models.formats.torch_files",
    "torchscript": "pipeline.models.formats.torch_files",
    "onnx": "pipeline.models.formats.openvino_files",
    "openvino": "pipeline.models.formats.openvino_files",
    "monai_bundle": "pipeline.models.formats.bundle",
    "nnunet": "pipeline.models.formats.nnunet",
    "command": "pipeline.models.formats.command",
}
"""The module that opens a format, by its function `open_model(spec, place)`; a builtin's package has one too."""

_loaded: dict[tuple[str, str, str, str, bool], Predictor] = {}
_characterisers: dict[tuple[str, str, str, bool], Characteriser] = {}
_loading = threading.RLock()


def known_models() -> list[str]:
    """The names that need no folder: the built-in models, `precomputed` and `threshold`."""
    found = sorted(f"builtin/{path.parent.name.replace('_', '-')}" for path in _BUILTIN.glob(f"*/{SPEC_FILE}"))
    return [*found, *_WITHOUT_FILES]


def find_spec(name_or_uri: str, *, storage_options: dict[str, Any] | None = None) -> tuple[ModelSpec, str]:
    """What a model says of itself, and the digest of that and of its weights.

    Args:
        name_or_uri: one of `known_models`, or a folder with a model.yaml, local or s3://.
        storage_options: for fsspec.

    Raises:
        ModelError: no such model, or its model.yaml is wrong.
    """
    folder = _folder(name_or_uri, storage_options)
    spec = _WITHOUT_FILES[name_or_uri] if folder is None else _read_spec(folder, name_or_uri)
    weights = "" if folder is None or spec.weights is None else digest_of(folder / spec.weights)
    return spec, hashlib.sha256(f"{spec.model_dump_json()}{weights}".encode()).hexdigest()


def load(
    name_or_uri: str,
    *,
    expected_digest: str | None = None,
    device: str = "cpu",
    backend: str = "auto",
    trust: bool = False,
    options: dict[str, Any] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Predictor:
    """The model itself; each is opened once per process, device and backend.

    Args:
        name_or_uri: as `find_spec`.
        expected_digest: what `find_spec` gave when the recipe was made; another one now is refused.
        device: cpu, cuda, cuda:1 or auto.
        backend: auto, torch, torch-bfloat16 or openvino.
        trust: allow code inside the weights to run (a pickle, TorchScript, a bundle's own transforms).
        options: go before those of its model.yaml.
        storage_options: for fsspec.

    Raises:
        ModelError: no such model, its weights differ from their digest, or it cannot be opened.
    """
    spec, digest = _expected(name_or_uri, expected_digest, storage_options)
    spec, chosen = _with_options(spec, options)
    if spec.task == "characterise":
        raise ModelError(f"model {spec.name!r} characterises lesions that others found; name it under `characterise`")
    key = (digest, chosen, str(choose_device(device)), backend, trust)
    with _loading:
        if key not in _loaded:
            place = _place(name_or_uri, device, backend, trust, storage_options)
            place = replace(place, identity=f"{digest} {chosen} {trust}")
            _check_weights(spec, place.folder)
            _loaded[key] = _opener(spec, place.folder)(spec, place)
        return _loaded[key]


def load_characteriser(
    name_or_uri: str,
    *,
    expected_digest: str | None = None,
    device: str = "cpu",
    trust: bool = False,
    options: dict[str, Any] | None = None,
    storage_options: dict[str, Any] | None = None,
) -> Characteriser:
    """The same for a model of the task `characterise`; it runs on torch.

    Raises:
        ModelError: as `load`, or the model does another task.
    """
    from pipeline.models.characterise import (
        open_characteriser,  # brings the formats, which listing models does not need
    )

    spec, digest = _expected(name_or_uri, expected_digest, storage_options)
    spec, chosen = _with_options(spec, options)
    key = (digest, chosen, str(choose_device(device)), trust)
    with _loading:
        if key not in _characterisers:
            place = _place(name_or_uri, device, "torch", trust, storage_options)
            _check_weights(spec, place.folder)
            _characterisers[key] = open_characteriser(spec, place)
        return _characterisers[key]


def _expected(name: str, digest: str | None, storage_options: dict[str, Any] | None) -> tuple[ModelSpec, str]:
    spec, found = find_spec(name, storage_options=storage_options)
    if digest is not None and found != digest:
        raise ModelError(
            f"model {spec.name!r} has changed since the recipe was made: digest {found[:12]} now, {digest[:12]} then; "
            "start the run again to make a new recipe"
        )
    return spec, found


def _with_options(spec: ModelSpec, options: dict[str, Any] | None) -> tuple[ModelSpec, str]:
    """The spec with a recipe's options before its own, and what names these."""
    try:
        check_options(spec.format, spec.task, options or {})
    except ValueError as failure:
        raise ModelError(f"model {spec.name!r}: {failure}") from None
    chosen = spec.options | (options or {})
    return spec.model_copy(update={"options": chosen}), json.dumps(chosen, sort_keys=True)


def _place(name_or_uri: str, device: str, backend: str, trust: bool, storage_options: dict[str, Any] | None) -> Place:
    folder = _folder(name_or_uri, storage_options) or _BUILTIN
    return Place(folder, choose_device(device), backend, trust, remote="://" in name_or_uri)


def _opener(spec: ModelSpec, folder: Path) -> Opener:
    if spec.format == "precomputed":
        raise ModelError("`precomputed` is no network: the masks that the manifest names are read, nothing is loaded")
    module = f"pipeline.models.builtin.{folder.name}" if spec.format == "builtin" else _OPENERS[spec.format]
    opener: Opener = importlib.import_module(module).open_model
    return opener


def _folder(name_or_uri: str, storage_options: dict[str, Any] | None) -> Path | None:
    """The model's folder on this machine; None for those without files."""
    if name_or_uri in _WITHOUT_FILES:
        return None
    if name_or_uri in known_models():
        return _BUILTIN / name_or_uri.removeprefix("builtin/").replace("-", "_")
    folder = local_folder(name_or_uri, storage_options)
    if folder is None or not (folder / SPEC_FILE).is_file():
        raise ModelError(
            f"no model {name_or_uri!r}: it is neither a folder (local or s3://) with a {SPEC_FILE} nor one of "
            f"{', '.join(known_models())}"
        )
    return folder


def _read_spec(folder: Path, name: str) -> ModelSpec:
    spec = read_spec(folder, name)
    if spec.format == "builtin" and folder.parent != _BUILTIN:
        raise ModelError(f"{name!r} says `format: builtin`; only models that come with spinetally may")
    return spec


def _check_weights(spec: ModelSpec, folder: Path) -> None:
    if spec.weights is None or spec.sha256 is None:
        return
    found = digest_of(folder / spec.weights)
    if found != spec.sha256.lower():
        raise ModelError(
            f"the weights of {spec.name!r} have the sha256 {found[:12]}..., not {spec.sha256[:12]}...; "
            "fetch them again, or correct the digest if you changed them yourself"
        )
