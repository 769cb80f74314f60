"""Networks that OpenVINO reads: ONNX (`model.onnx`) and OpenVINO IR (`model.xml` with `model.bin` beside it)."""

from __future__ import annotations

import re
from pathlib import Path

import openvino

from pipeline.errors import ModelError
from pipeline.models.classes import Classes
from pipeline.models.converted import openvino_run, windows_at_once
from pipeline.models.device import choose_backend
from pipeline.models.formats.torch_files import weights_file
from pipeline.models.network import VoxelNetwork
from pipeline.models.place import Place
from pipeline.models.predictor import Predictor
from pipeline.models.voxelwise import VoxelwiseModel
from schemas.model import ModelSpec


def open_model(spec: ModelSpec, place: Place) -> Predictor:
    """A model of the formats onnx or openvino; it runs on the CPU.

    Raises:
        ModelError: the file is damaged, its input is not [n, 1, z, y, x], or its size stays open.
    """
    if place.device.type != "cpu" or choose_backend(place.backend, place.device) != "openvino":
        raise ModelError(
            f"model {spec.name!r} ({spec.format}) runs on OpenVINO on a CPU; got backend {place.backend!r} on "
            f"{place.device.type}: set `backend: auto` and a worker without GPU, or convert the model to torch"
        )
    classes = Classes.of(spec)
    model = _read(weights_file(spec, place), spec)
    patch, channels = _fix_size(model, spec)
    at_once = windows_at_once(patch)
    network = VoxelNetwork(
        openvino_run(model, at_once), device=place.device, backend="openvino", channels=channels, batch=at_once
    )
    return VoxelwiseModel(spec.model_copy(update={"patch": patch}), network, classes)


def _read(path: Path, spec: ModelSpec) -> openvino.Model:
    ending = {"onnx": ".onnx", "openvino": ".xml"}[spec.format]
    if path.suffix != ending:  # OpenVINO goes by it, and would take a program of TensorFlow's for another
        raise ModelError(f"model {spec.name!r}: format {spec.format} needs a file that ends with {ending}")
    try:
        return openvino.Core().read_model(path)
    except Exception as failure:  # OpenVINO raises RuntimeError and a class of its own
        raise ModelError(f"model {spec.name!r}: OpenVINO cannot read {path.name}: {_said(failure)}") from failure


def _said(failure: Exception) -> str:
    """The last line of what OpenVINO says, without folders: the first ones are places in its own source."""
    lines = [line.strip() for line in str(failure).splitlines() if line.strip()]
    return re.sub(r"[^\s\"']*/", "", lines[-1])[:200] if lines else type(failure).__name__


def _fix_size(model: openvino.Model, spec: ModelSpec) -> tuple[tuple[int, int, int], int]:
    """Give the input its size [1, c, *patch]; the patch and the channels."""
    if len(model.inputs) != 1:
        raise ModelError(f"model {spec.name!r} has {len(model.inputs)} inputs, one [n, 1, z, y, x] is allowed")
    shape = model.input().get_partial_shape()
    if shape.rank.is_dynamic or len(shape) != 5:
        raise ModelError(f"model {spec.name!r} takes {shape}; five axes [n, 1, z, y, x] are needed")
    channels = 1 if shape[1].is_dynamic else int(shape[1].get_length())
    if channels != 1:
        raise ModelError(f"model {spec.name!r} takes {channels} images of a scan; one is supported")
    own = [0 if axis.is_dynamic else int(axis.get_length()) for axis in list(shape)[2:]]
    z, y, x = patch = spec.patch or own
    if 0 in patch:
        raise ModelError(
            f"model {spec.name!r} has dynamic axes {shape} and its model.yaml gives no `patch`: set it, such as "
            "`patch: [96, 96, 96]`"
        )
    try:
        model.reshape([1, channels, *patch])
    except RuntimeError as failure:
        raise ModelError(f"model {spec.name!r} takes {shape}, not windows {list(patch)}: {_said(failure)}") from failure
    return (z, y, x), int(channels)
