"""What the benchmarks of the engine share: scans, models, processes whose memory is watched, and how rows are printed.

Sizes come from the environment, so that one can prove a benchmark in a minute and measure it in an hour:
SPINETALLY_BENCH_SCALE (default 1) stretches every axis of every scan, SPINETALLY_BENCH_REPEATS (default 5) is how often
each side runs, the two in turns. Peers that need an environment of their own are run from .venv-peers, which
`make bench` makes; SPINETALLY_BENCH_PEERS names another one.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import safetensors.torch
import SimpleITK as sitk
import torch
import yaml
from monai.networks.nets import UNet
from scipy import ndimage

ROOT = Path(__file__).resolve().parents[2]
SCALE = float(os.environ.get("SPINETALLY_BENCH_SCALE", "1"))
REPEATS = int(os.environ.get("SPINETALLY_BENCH_REPEATS", "5"))
PEERS = Path(os.environ.get("SPINETALLY_BENCH_PEERS", ROOT / ".venv-peers")) / "bin"
THREADS = torch.get_num_threads()
LEVELS = [*(f"C{i}" for i in range(1, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6))]
UNET = {"class": "UNet", "in_channels": 1, "out_channels": 2, "channels": [16, 32, 64], "strides": [2, 2],
        "num_res_units": 1, "norm": "instance"}  # fmt: skip


def needs_peers() -> pytest.MarkDecorator:
    """Skip where the peers' environment was not made."""
    return pytest.mark.skipif(not (PEERS / "python").exists(), reason="no .venv-peers: `make bench` makes it")


def sized(*shape: int) -> tuple[int, ...]:
    """A shape at the scale that was asked for."""
    return tuple(max(16, round(n * SCALE)) for n in shape)


def draw_ct(shape: Sequence[int], seed: int) -> np.ndarray:
    """HU [z, y, x], smooth as tissue is, in a body with air around it; int16."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 400, [n // 12 + 2 for n in shape])
    smooth = ndimage.zoom(coarse, [n / c for n, c in zip(shape, coarse.shape, strict=True)], order=1)[
        : shape[0], : shape[1], : shape[2]
    ]
    _, y, x = (np.linspace(-1, 1, n) for n in shape)
    inside = (y[:, None] / 0.8) ** 2 + (x[None] / 0.95) ** 2 < 1
    return np.where(inside, smooth + rng.normal(0, 15, shape), -1000).astype(np.int16)


def write_cts(folder: Path, count: int, shape: Sequence[int], spacing: tuple[float, float, float]) -> Path:
    """Scans as nnU-Net names them; `spacing` along z, y, x."""
    folder.mkdir(parents=True)
    for seed in range(count):
        image = sitk.GetImageFromArray(draw_ct(shape, seed))
        image.SetSpacing(spacing[::-1])
        sitk.WriteImage(image, folder / f"scan{seed}_0000.nii.gz")
    return folder


def write_spec(folder: Path, **spec: Any) -> Path:
    """A model.yaml of the task levels."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"name": "bench", "version": "1", "task": "levels", "modality": ["CT"]} | spec
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    return folder


def write_monai_model(folder: Path, patch: int) -> Path:
    """A UNet of MONAI, taught for seconds that L1 is where the neighbourhood is bright."""
    folder.mkdir(parents=True)
    safetensors.torch.save_file(_taught(unet()).state_dict(), folder / "model.safetensors")
    return write_spec(
        folder, format="monai_network", weights="model.safetensors", network=UNET, labels={1: "L1"},
        spacing_mm=[2.0, 2.0, 2.0], orientation="RAS", intensity={"clip": [-500, 500], "divide": 250},
        patch=[patch] * 3, options={"grid": "centres"},
    )  # fmt: skip


def _taught(network: torch.nn.Module, steps: int = 25) -> torch.nn.Module:
    optimiser = torch.optim.Adam(network.train().parameters(), lr=0.01)
    for _ in range(steps):
        values = torch.nn.functional.interpolate(torch.randn(1, 1, 6, 6, 6), size=(32, 32, 32), mode="trilinear")
        loss = torch.nn.functional.cross_entropy(network(values), (values[:, 0] > 0).long())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def unet() -> torch.nn.Module:
    """That network, with random weights, the same in every process."""
    torch.manual_seed(0)
    return UNet(spatial_dims=3, **{name: value for name, value in UNET.items() if name != "class"}).eval()


@dataclass(frozen=True)
class Run:
    """A process that ended well."""

    seconds: float
    """Wall time from its start to its end."""
    peak_mb: float
    """Largest memory of it and its children, pages that they share counted once, MiB; looked at every 50 ms."""
    answer: dict[str, Any]
    """JSON in the last line that it printed; empty where that is none."""


def run(words: Sequence[str | Path], **environment: str) -> Run:
    """Run a program to its end, on as many threads as this process has."""
    threads = {name: str(THREADS) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(
        [str(word) for word in words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | threads | environment,
    )  # fmt: skip
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.05)
    seconds, said = time.perf_counter() - start, process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"{words[0]} ended with code {process.returncode}:\n{said[-2000:]}")
    last = said.strip().splitlines()[-1] if said.strip() else ""
    return Run(seconds, peak / 2**20, json.loads(last) if last.startswith("{") else {})


def _resident(pid: int) -> int:
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(int(member.memory_full_info().pss) for member in family)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def in_turns(sides: Mapping[str, Callable[[], Any]], repeats: int = 0) -> dict[str, list[float]]:
    """Seconds of each side, each run as often, one after the other; the first round of all is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range((repeats or REPEATS) + 1):
        for name, work in sides.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> str:
    """How many times as fast we are: the median of the turns' ratios, and the least and the most."""
    each = sorted(a / b for a, b in zip(theirs, ours, strict=True))
    return f"{statistics.median(each):.2f} times as fast ({each[0]:.2f} to {each[-1]:.2f}, n={len(each)})"


def dice(ours: Path, theirs: Path, numbers: Mapping[int, int]) -> float:
    """Mean Dice over the classes that either has; `numbers` maps our levels to their classes."""
    a, b = (sitk.GetArrayFromImage(sitk.ReadImage(path)) for path in (ours, theirs))
    table = np.zeros(int(a.max()) + 1, np.int64)
    for level, number in numbers.items():
        if level < len(table):
            table[level] = number
    a = table[a]
    found = [
        2 * np.count_nonzero((a == c) & (b == c)) / total
        for c in numbers.values()
        if (total := np.count_nonzero(a == c) + np.count_nonzero(b == c))
    ]
    return float(np.mean(found)) if found else 1.0


def show(row: str, text: str, record: Callable[[str, object], None]) -> None:
    """Print a row of the table, and keep it in the test's report."""
    record(row, text)
    print(f"\n| {row} | {text} | {THREADS} threads, scale {SCALE:g} |", file=sys.stderr)


def versions(*names: str) -> str:
    """`monai 1.6.1, scipy 1.17.1`."""
    return ", ".join(f"{name} {version(name)}" for name in names)
