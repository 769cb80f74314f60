"""Networks that torch runs: MONAI network with safetensors, torch.export (.pt2), TorchScript.

What is opened without `trust`:

- safetensors: numbers alone.
- .pt2: only where `pipeline.models.formats.pt2` finds no pickled object, no expression and no operator but torch's own.
- TorchScript is a program: it may write files (`torch.save` is an operator), and it runs code of its own while it is
  read. PyTorch's security policy says to treat it like any unknown program, so it needs `trust: true`.
"""

from __future__ import annotations

import inspect
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from pipeline.errors import ModelError, first_line
from pipeline.models.classes import Classes
from pipeline.models.formats.pt2 import load_export
from pipeline.models.network import Made, VoxelNetwork
from pipeline.models.place import Place
from pipeline.models.predictor import Predictor
from pipeline.models.voxelwise import VoxelwiseModel
from schemas.model import ModelSpec


def open_model(spec: ModelSpec, place: Place) -> Predictor:
    """A model of the formats monai_network, torch_export or torchscript.

    Raises:
        ModelError: the weights do not fit the network, need trust, or are damaged.
    """
    classes = Classes.of(spec)
    network = VoxelNetwork.made_by(
        partial(open_module, spec, place),
        patch=spec.patch,
        device=place.device,
        backend=place.backend,
        key=place.identity,
    )
    return VoxelwiseModel(spec, network, classes)


def open_module(spec: ModelSpec, place: Place) -> Made:
    """The module in the weights.

    Raises:
        ModelError: another format, or as `open_model`.
    """
    if spec.format not in _MODULES:
        raise ModelError(f"model {spec.name!r} is {spec.format}; for this task {', '.join(_MODULES)} are allowed")
    return _MODULES[spec.format](spec, place)


def weights_file(spec: ModelSpec, place: Place) -> Path:
    """The file of weights that the spec names.

    Raises:
        ModelError: it names none, or a folder.
    """
    path = _weights(spec, place, "file")
    if not path.is_file():
        raise ModelError(f"model {spec.name!r}: `weights` is a folder; format {spec.format} needs a file")
    return path


def weights_folder(spec: ModelSpec, place: Place) -> Path:
    """The folder of weights that the spec names.

    Raises:
        ModelError: it names none, or a file.
    """
    path = _weights(spec, place, "folder")
    if not path.is_dir():
        raise ModelError(f"model {spec.name!r}: `weights` is a file; format {spec.format} needs a folder")
    return path


def _weights(spec: ModelSpec, place: Place, kind: str) -> Path:
    if spec.weights is None:
        raise ModelError(
            f"model {spec.name!r} names no `weights`; format {spec.format} needs a {kind} beside model.yaml"
        )
    return place.folder / spec.weights


def monai_network(settings: dict[str, Any] | None, name: str) -> torch.nn.Module:
    """A network of `monai.networks.nets` from {class: SegResNet, ...arguments}.

    Raises:
        ModelError: MONAI has no such network, or does not take these arguments.
    """
    from monai.networks import nets  # takes seconds, and only this format needs it

    settings = dict(settings or {})
    kind = settings.pop("class", None)
    found = getattr(nets, str(kind), None)
    if not (inspect.isclass(found) and issubclass(found, torch.nn.Module)):
        raise ModelError(
            f"model {name!r}: MONAI has no network {kind!r}; set `network: {{class: SegResNet, ...}}` to one of "
            "monai.networks.nets"
        )
    if "spatial_dims" in inspect.signature(found).parameters:
        settings.setdefault("spatial_dims", 3)
    try:
        module: torch.nn.Module = found(**settings)
    except (TypeError, ValueError, KeyError, AssertionError) as failure:
        raise ModelError(f"model {name!r}: MONAI's {kind} refuses its arguments: {first_line(failure)}") from failure
    return module


def fill_weights(module: torch.nn.Module, weights: dict[str, torch.Tensor], name: str) -> torch.nn.Module:
    """Put weights into a network; each must be there and of the right shape.

    Raises:
        ModelError: they do not fit; the first that does not is named.
    """
    own = module.state_dict()
    for key in sorted(own.keys() | weights.keys()):
        there, wanted = (list(d[key].shape) if key in d else "nothing" for d in (weights, own))
        if there != wanted:
            raise ModelError(f"model {name!r}: its weights do not fit its network: {key} is {there}, not {wanted}")
    module.load_state_dict(weights)
    return module.eval()


def _from_safetensors(spec: ModelSpec, place: Place) -> Made:
    module = monai_network(spec.network, spec.name)
    try:
        weights = safetensors.torch.load_file(weights_file(spec, place))
    except safetensors.SafetensorError as failure:
        raise ModelError(f"model {spec.name!r}: its weights are no safetensors: {first_line(failure)}") from failure
    return fill_weights(module, weights, spec.name), None


def _from_torchscript(spec: ModelSpec, place: Place) -> Made:
    if not place.trust:
        raise ModelError(
            f"model {spec.name!r} is TorchScript, a program that may do anything: set `trust: true` beside `model` in "
            "the cohort file if you trust who made it, or convert it to ONNX or safetensors"
        )
    try:
        with warnings.catch_warnings():  # torch.jit is deprecated, and models in it are still around
            warnings.simplefilter("ignore", DeprecationWarning)
            loaded: Any = torch.jit.load(weights_file(spec, place), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as failure:
        raise ModelError(f"model {spec.name!r}: its weights are no TorchScript: {first_line(failure)}") from failure
    return loaded.eval(), None


def _from_export(spec: ModelSpec, place: Place) -> Made:
    program = load_export(weights_file(spec, place), name=spec.name, trust=place.trust)
    _check_size(program, spec)
    return program.module(), program


def _check_size(program: torch.export.ExportedProgram, spec: ModelSpec) -> None:
    """Whether an exported program takes the windows of its model.yaml; where its axes are free, it tells when it runs.

    Raises:
        ModelError: it was exported for other windows, or for several images.
    """
    inputs = set(program.graph_signature.user_inputs)
    found = [node.meta["val"].shape for node in program.graph.nodes if node.op == "placeholder" and node.name in inputs]
    if len(found) != 1 or len(found[0]) != 5:
        raise ModelError(f"model {spec.name!r} takes {list(map(list, found))}; one [n, 1, z, y, x] is needed")
    _, channels, *sizes = found[0]
    if spec.task != "characterise" and isinstance(channels, int) and channels != 1:
        raise ModelError(f"model {spec.name!r} takes {channels} images of a scan; one is supported")
    for own, asked in zip(sizes, spec.patch or (), strict=bool(spec.patch)):
        if isinstance(own, int) and own != asked:
            raise ModelError(
                f"model {spec.name!r} was exported for windows {list(sizes)}, its `patch` is {list(spec.patch or ())}"
            )
    if spec.patch is None and any(isinstance(own, int) for own in sizes):
        raise ModelError(f"model {spec.name!r} was exported for windows {list(sizes)}: give that as its `patch`")


_MODULES = {"monai_network": _from_safetensors, "torchscript": _from_torchscript, "torch_export": _from_export}
