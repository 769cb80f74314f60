"""One network behind one call: a batch of windows in, class scores out, on torch or OpenVINO, on a CPU or a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino
import torch

from pipeline.errors import GpuMemoryError, ModelError, ScanError
from pipeline.models.device import Backend, choose_backend, occupy
from schemas.reasons import Reason

Run = Callable[[torch.Tensor], torch.Tensor]

_TOLERANCE = 1e-3
"""Largest difference between OpenVINO and torch, as a share of the range of the scores, before it is refused."""


class VoxelNetwork:
    """A network of voxels: float32 windows [n, c, z, y, x] to class scores [n, k, z, y, x].

    One call holds the lock of the device. On a GPU that runs out of memory the batch is halved until it fits; where one
    window alone does not, `process_scan` may do the scan on the CPU.
    """

    def __init__(self, run: Run, *, device: torch.device, backend: Backend, channels: int = 1, batch: int = 1) -> None:
        self._run = run
        self.device = device
        self.backend = backend
        self.channels = channels
        """Input channels."""
        self.batch = batch
        """Windows at a time."""

    @classmethod
    def of_module(
        cls,
        module: torch.nn.Module,
        *,
        patch: tuple[int, int, int] | None,
        channels: int = 1,
        device: torch.device | None = None,
        backend: str = "auto",
        convertible: Any = None,
        traced: tuple[int, int, int] | None = None,
    ) -> VoxelNetwork:
        """From a torch module; on OpenVINO it is converted, compiled and compared with torch once.

        Args:
            module: takes [n, c, z, y, x]; of several outputs the first counts.
            patch: size of the windows along z, y, x; None where any size may come.
            channels: input channels.
            device: where it runs, the CPU by default.
            backend: auto, torch, torch-bfloat16 or openvino (see `choose_backend`).
            convertible: what OpenVINO converts, where that is not the module itself (a torch.export program).
            traced: smaller windows to follow the module on, where it does the same at any size: while torch follows it,
                the features of all its layers are in memory.

        Raises:
            ModelError: the module does not run on such windows, or OpenVINO gives other scores than torch.
        """
        device = device or torch.device("cpu")
        chosen = choose_backend(backend, device)
        run = torch_run(module, device, half=chosen == "torch-bfloat16")
        if chosen == "openvino":
            run = _converted(convertible or module, run, patch=patch, channels=channels, traced=traced)
        return cls(run, device=device, backend=chosen, channels=channels, batch=1 if device.type == "cpu" else 4)

    @torch.inference_mode()
    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Class scores [n, k, z, y, x] of windows [n, c, z, y, x], on the network's device.

        Raises:
            ScanError: MODEL_OUTPUT, where the scores are not finite or not of the windows' size.
            GpuMemoryError: one window alone does not fit the GPU's memory.
        """
        with occupy(self.device):
            scores = self._halving(windows.to(self.device, torch.float32, non_blocking=True))
        if scores.ndim != 5 or scores.shape[0] != windows.shape[0] or scores.shape[2:] != windows.shape[2:]:
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the network gave {list(scores.shape)} for windows {list(windows.shape)}; [n, classes, z, y, x] with "
                "the windows' own n, z, y, x is needed",
            )
        if not torch.isfinite(scores.sum()):
            raise ScanError(Reason.MODEL_OUTPUT, "the network gave scores that are not finite (NaN or infinite)")
        return scores

    def _halving(self, windows: torch.Tensor) -> torch.Tensor:
        try:
            return self._run(windows)
        except torch.cuda.OutOfMemoryError:
            if len(windows) == 1:
                raise GpuMemoryError(
                    Reason.OUT_OF_MEMORY,
                    "one window alone does not fit the GPU's memory: set `on_gpu_full: cpu` to have such scans done on "
                    "the CPU",
                ) from None
        except (RuntimeError, IndexError, TypeError, ValueError) as failure:
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the network does not run on windows {list(windows.shape)}: {first_line(failure)}",
            ) from failure
        torch.cuda.empty_cache()
        self.batch = max(1, len(windows) // 2)
        return torch.cat([self._halving(part) for part in torch.split(windows, self.batch)])


def torch_run(module: torch.nn.Module, device: torch.device, *, half: bool = False) -> Run:
    """A torch module as a call on a device, by `half` in bfloat16 where torch holds that safe; of several outputs the
    first counts.
    """
    module = module.to(device)
    if hasattr(module, "eval") and not isinstance(module, torch.fx.GraphModule):
        module = module.eval()

    def run(windows: torch.Tensor) -> torch.Tensor:
        """Class scores [n, k, z, y, x] of windows [n, c, z, y, x]."""
        if half:
            windows = windows.contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            return _first(module(windows)).float()

    return run


def _first(output: Any) -> torch.Tensor:
    """The scores, where a network gives several outputs (deep supervision, auxiliary heads)."""
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output


def _converted(source: Any, reference: Run, *, patch: Any, channels: int, traced: Any) -> Run:
    example = torch.randn(1, channels, *(patch or (32, 32, 32)), generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            expected = reference(example)
    except (RuntimeError, IndexError, TypeError, ValueError) as failure:
        raise ModelError(f"the network does not run on {list(example.shape)}: {first_line(failure)}") from failure
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
    run = openvino_run(model)
    difference = float((run(example) - expected).abs().max() / (expected.max() - expected.min()).clamp_min(1e-6))
    if not difference < _TOLERANCE:
        raise ModelError(
            f"OpenVINO's scores differ from torch's by {difference:.2g} of their range, allowed is {_TOLERANCE:g}; "
            "set `backend: torch`"
        )
    return run


def openvino_run(model: openvino.Model) -> Run:
    """A compiled OpenVINO model as a call, in full precision, on as many threads as torch has."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.compile_model(model, "CPU", settings)

    def run(windows: torch.Tensor) -> torch.Tensor:
        """Class scores [n, k, z, y, x] of windows [n, c, z, y, x], one window at a time."""
        array = np.ascontiguousarray(windows.numpy(), dtype=np.float32)
        outputs = []
        for i in range(len(array)):
            request = compiled.create_infer_request()  # one for each: its output is given away, not copied
            outputs.append(request.infer([array[i : i + 1]], share_outputs=True)[0])
        return torch.from_numpy(outputs[0] if len(outputs) == 1 else np.concatenate(outputs))

    return run


def first_line(failure: BaseException) -> str:
    """The first line of what a library says, at most 200 characters."""
    return str(failure).strip().splitlines()[0][:200] if str(failure).strip() else type(failure).__name__
