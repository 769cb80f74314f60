"""What OpenVINO makes of a torch network: converted once, held against torch once, and kept for later processes.

Each worker opens its models anew. Converting takes seconds, and so does the import of the package that builds the
network; the kept form needs neither. It holds numbers and operations, no code.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch

from pipeline.errors import ModelError, first_line
from pipeline.models.files import cache_folder
from schemas.versions import DETECT

Run = Callable[[torch.Tensor], torch.Tensor]
Size = tuple[int, int, int]

_TOLERANCE = 1e-3
"""Largest difference between OpenVINO and torch, as a share of the range of the scores, before it is refused."""

_SMALL_WINDOW = 64**3
"""Voxels of a window up to which the features of two fit anywhere: 240 MB."""

_MAKERS = ("openvino", "torch", "monai")
"""Packages that build and convert networks: another version of one, and the network is converted again."""

_log = logging.getLogger(__name__)


def convert(source: Any, reference: Run, *, patch: Size | None, channels: int, traced: Size | None) -> openvino.Model:
    """A torch module or torch.export program as OpenVINO's model, its scores of one window held against torch's.

    Args:
        source: what is converted.
        reference: what torch makes of windows.
        patch: size of the windows along z, y, x; None where any size may come.
        channels: input channels.
        traced: smaller windows to follow the module on (see `VoxelNetwork.of_module`).

    Raises:
        ModelError: it does not run on such windows, cannot be converted, or gives other scores than torch.
    """
    example = torch.randn(1, channels, *(patch or (32, 32, 32)), generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            expected = reference(example)
    except (RuntimeError, AssertionError, IndexError, TypeError, ValueError) as failure:
        raise ModelError(
            f"the network does not run on {list(example.shape)}: {first_line(failure)}; set `patch` in its model.yaml "
            "to a size that it takes"
        ) from failure
    if not torch.isfinite(expected).all():
        raise ModelError("the network gives scores that are not finite (NaN or infinite) for numbers drawn at random")
    shape = [1, channels, *patch] if patch else [-1, channels, -1, -1, -1]
    followed = torch.randn(1, channels, *traced) if traced else example
    try:
        with warnings.catch_warnings():  # its way through torch.jit.trace is deprecated by torch
            warnings.simplefilter("ignore")
            model = openvino.convert_model(source, example_input=followed, input=[(shape, openvino.Type.f32)])
    except Exception as failure:  # the converter raises a class of its own for each operation
        raise ModelError(
            f"OpenVINO cannot convert the network ({first_line(failure)}); set `backend: torch`"
        ) from failure
    difference = (openvino_run(model)(example) - expected).abs().max()
    share = float(difference / (expected.max() - expected.min()).clamp_min(1e-6))
    if not share < _TOLERANCE:
        raise ModelError(
            f"OpenVINO's scores differ from torch's by {share:.2g} of their range, allowed is {_TOLERANCE:g}; "
            "set `backend: torch`"
        )
    return model


def kept_or_made(key: str | None, make: Callable[[], openvino.Model]) -> openvino.Model:
    """The model kept under this key on this machine, else a new one, which is then kept.

    Args:
        key: says all that the model was made of; the versions of the packages that make it are added. None keeps none.
        make: converts it.
    """
    if key is None:
        return make()
    made_of = [key, f"detect {DETECT}", *(f"{name} {_version(name)}" for name in _MAKERS)]
    try:
        kept = cache_folder("converted")
    except ModelError:
        return make()
    folder = kept / hashlib.sha256("\n".join(made_of).encode()).hexdigest()
    if folder.is_dir():
        try:
            return openvino.Core().read_model(folder / "model.xml")
        except RuntimeError as failure:  # a disk that lost it: made again beside it, not instead of it
            _log.warning("the kept form of a network cannot be read and is made again: %s", first_line(failure))
            return make()
    model = make()
    _keep(model, folder)
    return model


def windows_at_once(patch: Size | None) -> int:
    """Windows that a CPU works on side by side: two small ones, each on half of the threads, which then wait less for
    one another. Of larger ones the features of two would be too much memory.
    """
    return 2 if patch and math.prod(patch) <= _SMALL_WINDOW else 1


def openvino_run(model: openvino.Model, at_once: int = 1) -> Run:
    """A compiled OpenVINO model as a call, in full precision, on as many threads as torch has; `at_once` windows of a
    batch are worked on side by side.
    """
    threads = torch.get_num_threads()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": at_once}
    compiled = openvino.compile_model(model, "CPU", settings)

    def run(windows: torch.Tensor) -> torch.Tensor:
        """Class scores [n, k, z, y, x] of windows [n, c, z, y, x]."""
        array = np.ascontiguousarray(windows.numpy(), dtype=np.float32)
        requests = [compiled.create_infer_request() for _ in array]  # one each: outputs are given away, not copied
        for i, request in enumerate(requests):
            request.start_async([array[i : i + 1]], share_inputs=True)
        for request in requests:
            request.wait()
        outputs = [request.get_output_tensor(0).data for request in requests]
        return torch.from_numpy(outputs[0] if len(outputs) == 1 else np.concatenate(outputs))

    return run


def _keep(model: openvino.Model, folder: Path) -> None:
    """Written beside and then renamed: nobody reads half of it. A machine that keeps nothing loses only time."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent))
    except OSError:
        return
    try:
        openvino.save_model(model, beside / "model.xml", compress_to_fp16=False)
        beside.rename(folder)
    except (OSError, RuntimeError):  # no room, or another process was first
        shutil.rmtree(beside, ignore_errors=True)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
