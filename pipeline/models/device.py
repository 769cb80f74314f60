"""Devices: which there are, one lock for each, and how long a scan waited for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

import torch

from pipeline.errors import ModelError

Backend = Literal["torch", "torch-bfloat16", "openvino"]


@dataclass
class Clock:
    """Seconds of one scan at its device."""

    wait_s: float = 0.0
    """Waiting for the lock."""
    busy_s: float = 0.0
    """With the lock held: the network ran."""


_clock: ContextVar[Clock | None] = ContextVar("clock", default=None)
_locks: dict[str, threading.RLock] = {}
_making = threading.Lock()


@contextmanager
def clocked() -> Iterator[Clock]:
    """Measure what this thread waits for devices and uses of them."""
    clock = Clock()
    token = _clock.set(clock)
    try:
        yield clock
    finally:
        _clock.reset(token)


@contextmanager
def occupy(device: torch.device | str) -> Iterator[None]:
    """Hold the device alone; waiting and holding count to the scan's `Clock`."""
    asked = time.perf_counter()
    with _lock(str(device)):
        got = time.perf_counter()
        try:
            yield
        finally:
            if clock := _clock.get():
                clock.wait_s += got - asked
                clock.busy_s += time.perf_counter() - got


def choose_device(name: str = "auto") -> torch.device:
    """`auto` is the first GPU, else the CPU; `cpu`, `cuda` and `cuda:1` are taken as they are.

    Raises:
        ModelError: no such device here.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda:0" if cuda else "cpu"
    allowed = ["cpu", "cuda"][: 1 + bool(cuda)] + [f"cuda:{i}" for i in range(cuda)]
    if name not in allowed:
        raise ModelError(f"no device {name!r} here; there are: auto, {', '.join(allowed)}")
    return torch.device("cuda:0" if name == "cuda" else name)


def choose_backend(name: str, device: torch.device) -> Backend:
    """`auto` is OpenVINO on a CPU and torch on a GPU: by kind of device, never by a timing.

    `torch-bfloat16` is torch with convolutions and products in half precision (autocast) and channels last in memory,
    what tensor cores of a GPU are made for. It gives other numbers in the last digits, so it is never chosen by itself.

    Raises:
        ModelError: OpenVINO is asked for on a GPU, or the name is unknown.
    """
    if name == "auto":
        return "openvino" if device.type == "cpu" else "torch"
    if name == "torch":
        return "torch"
    if name == "torch-bfloat16":
        return "torch-bfloat16"
    if name == "openvino" and device.type == "cpu":
        return "openvino"
    raise ModelError(
        f"backend {name!r} does not run on {device.type}; allowed are auto, torch, torch-bfloat16 and, on a CPU, "
        "openvino"
    )


def device_name(device: torch.device) -> str:
    """`cpu`, or the name of the GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def release_cached_memory() -> None:
    """Give back what torch keeps of the GPUs' memory for later use; nothing without a GPU."""
    torch.cuda.empty_cache()


def _lock(name: str) -> threading.RLock:
    with _making:
        return _locks.setdefault(name, threading.RLock())
