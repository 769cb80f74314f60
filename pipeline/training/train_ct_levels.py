"""Train the network of `builtin/ct-levels` on phantoms: `python -m pipeline.training.train_ct_levels --minutes 240`.

A second process draws phantoms into a ring of files; this one cuts windows from them and steps. The learning rate
follows one cycle over the given time, whatever the speed of the machine. Every few minutes the averaged weights are
written, ready to ship, and a checkpoint from which `--resume` goes on. `--start-from` takes weights as they ship and
trains them through another cycle.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.models.builtin.ct_levels.network import LevelsNetwork, channels_last
from pipeline.training.augment import Window, cut
from pipeline.training.loss import loss, targets
from pipeline.training.samples import draw

BATCH = 2
PATCH = (64, 48, 48)
PEAK_RATE = 4e-3
AVERAGE_OVER = 80
SAVE_EVERY_S = 180.0
DRAW_PAUSE_S = 0.4
"""Between two samples: as many are drawn as a training on two cores takes windows, and no more."""


@dataclass
class Progress:
    """How far a training has come."""

    step: int = 0
    """Steps taken."""
    seconds: float = 0.0
    """Time spent."""


def rate_at(share: float) -> float:
    """The learning rate after a share of the time: a steep rise, then half a cosine down to a hundredth."""
    if share < 0.05:
        return PEAK_RATE * (0.1 + 0.9 * share / 0.05)
    return PEAK_RATE * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (share - 0.05) / 0.95))))


def batch(folder: Path, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """HU (n, 1, z, y, x), classes, centre scores and offsets of `BATCH` windows."""
    windows: list[Window] = [cut(draw(folder, rng), PATCH, rng) for _ in range(BATCH)]
    wanted = [targets(window) for window in windows]
    return (
        torch.stack([window.hu for window in windows])[:, None],
        torch.stack([window.parts for window in windows]),
        torch.stack([bells for bells, _ in wanted]),
        torch.stack([offsets for _, offsets in wanted]),
    )


def average(mean: nn.Module, network: nn.Module, step: int) -> None:
    """Move the running mean of the weights and of the normalisation's statistics towards the network's."""
    share = max(1 / AVERAGE_OVER, 1 / (step + 1))
    with torch.no_grad():
        for kept, new in zip(mean.state_dict().values(), network.state_dict().values(), strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, share)
            else:
                kept.copy_(new)


def save_weights(network: nn.Module, path: Path) -> None:
    """The weights as half precision safetensors: what ships."""
    state = {k: v.half().contiguous() for k, v in network.state_dict().items() if v.is_floating_point()}
    save_file(state, str(path))


def train(folder: Path, *, minutes: float, resume: bool, seed: int, start_from: Path | None = None) -> None:
    """Train for `minutes` in `folder`, which holds the samples, the checkpoint, the log and the weights."""
    rng = np.random.default_rng([seed, int(time.time())])
    network = channels_last(LevelsNetwork())
    if start_from is not None:
        network.load_state_dict({k: v.float() for k, v in load_file(str(start_from)).items()}, strict=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, weight_decay=1e-2, betas=(0.9, 0.98))
    mean, progress = deepcopy(network), Progress()
    checkpoint = folder / "checkpoint.pt"
    if resume and checkpoint.exists():
        stored = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(stored["network"])
        mean.load_state_dict(stored["mean"])
        optimizer.load_state_dict(stored["optimizer"])
        progress = Progress(stored["step"], stored["seconds"])
    last_save = before = time.monotonic()
    while progress.seconds < 60 * minutes:
        values = step(network, optimizer, batch(folder / "samples", rng), rate_at(progress.seconds / 60 / minutes))
        average(mean, network, progress.step)
        now = time.monotonic()
        progress = Progress(progress.step + 1, progress.seconds + now - before)
        before = now
        _log(folder / "log.txt", progress, values)
        if now - last_save > SAVE_EVERY_S:
            last_save = now
            _save(checkpoint, network, mean, optimizer, progress)
    _save(checkpoint, network, mean, optimizer, progress)


def step(
    network: nn.Module, optimizer: torch.optim.Optimizer, data: tuple[Tensor, Tensor, Tensor, Tensor], rate: float
) -> dict[str, float]:
    """One step at a learning rate; the parts of the loss."""
    hu, parts, bells, offsets = data
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    total, values = loss(network(hu), parts, bells, offsets)
    total.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return values


def _save(
    path: Path, network: nn.Module, mean: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    state = {"network": network.state_dict(), "mean": mean.state_dict(), "optimizer": optimizer.state_dict()}
    temporary = path.with_suffix(".part")
    torch.save({**state, "step": progress.step, "seconds": progress.seconds}, temporary)
    temporary.replace(path)
    save_weights(mean, path.with_name("weights.safetensors"))


def _log(path: Path, progress: Progress, values: dict[str, float]) -> None:
    line = " ".join(f"{name} {value:.4f}" for name, value in values.items())
    with path.open("a") as file:
        file.write(f"{progress.step} {progress.seconds:.0f}s {line}\n")


def main() -> None:
    """Parse the command line, start drawing, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("training-ct-levels"), help="where to work")
    parser.add_argument("--minutes", type=float, default=240.0, help="time to train, over all resumed runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    parser.add_argument("--ring", type=int, default=400, help="samples kept on disk")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start-from", type=Path, default=None, help="weights.safetensors to begin with")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the folder")
    parser.add_argument("--no-draw", action="store_true", help="use the samples that are there, draw no more")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    drawing = None if args.no_draw else _start_drawing(args.folder / "samples", args.ring, args.seed)
    try:
        _wait_for_samples(args.folder / "samples", drawing)
        train(args.folder, minutes=args.minutes, resume=args.resume, seed=args.seed, start_from=args.start_from)
    finally:
        if drawing is not None:
            drawing.terminate()


def _start_drawing(folder: Path, ring: int, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "pipeline.training.draw_samples", str(folder), "--ring", str(ring)]
    return subprocess.Popen([*command, "--seed", str(seed), "--pause", str(DRAW_PAUSE_S)])


def _wait_for_samples(folder: Path, drawing: subprocess.Popen[bytes] | None, least: int = 8) -> None:
    while len(list(folder.glob("*.npz"))) < least:
        if drawing is None or drawing.poll() is not None:
            raise SystemExit(f"{least} samples are needed to start and nothing draws them: run without --no-draw")
        time.sleep(1)


if __name__ == "__main__":
    main()
