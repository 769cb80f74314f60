"""One network behind one call: a batch of windows in, class scores out, on torch or OpenVINO, on a CPU or a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openvino
import torch

from pipeline.errors import GpuMemoryError, ScanError, first_line
from pipeline.models.converted import Run, convert, kept_or_made, openvino_run, windows_at_once
from pipeline.models.device import Backend, choose_backend, occupy
from schemas.reasons import Reason

Made = tuple[torch.nn.Module, Any]
"""The module that torch runs, and what OpenVINO converts where that is another object (a torch.export program)."""


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
    def made_by(
        cls,
        make: Callable[[], Made],
        *,
        patch: tuple[int, int, int] | None,
        channels: int = 1,
        device: torch.device | None = None,
        backend: str = "auto",
        traced: tuple[int, int, int] | None = None,
        key: str | None = None,
    ) -> VoxelNetwork:
        """From what makes a torch module; on OpenVINO that is converted, compiled and compared with torch once.

        Args:
            make: gives the module, which takes [n, c, z, y, x]; of several outputs the first counts. It is not called
                where the converted form was kept.
            patch: size of the windows along z, y, x; None where any size may come.
            channels: input channels.
            device: where it runs, the CPU by default.
            backend: auto, torch, torch-bfloat16 or openvino (see `choose_backend`).
            traced: smaller windows to follow the module on, where it does the same at any size: while torch follows it,
                the features of all its layers are in memory.
            key: says all that the module is made of; the converted form is kept under it for later processes.

        Raises:
            ModelError: the module does not run on such windows, or OpenVINO gives other scores than torch.
        """
        device = device or torch.device("cpu")
        chosen = choose_backend(backend, device)
        if chosen == "openvino":

            def converted() -> openvino.Model:
                module, source = make()
                reference = torch_run(module, device)
                return convert(source or module, reference, patch=patch, channels=channels, traced=traced)

            model = kept_or_made(key and f"{key} {patch} {channels} {traced}", converted)
            at_once = windows_at_once(patch)
            return cls(openvino_run(model, at_once), device=device, backend=chosen, channels=channels, batch=at_once)
        run = torch_run(make()[0], device, half=chosen == "torch-bfloat16")
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
        except (RuntimeError, AssertionError, IndexError, TypeError, ValueError) as failure:
            if "allocate memory" in str(failure):  # torch's way to say it on a CPU
                raise
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the network does not run on windows {list(windows.shape)}: {first_line(failure)}; set `patch` in its "
                "model.yaml to a size that it takes",
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
