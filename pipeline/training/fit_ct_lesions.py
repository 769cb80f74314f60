"""Fit the score of `builtin/ct-lesions`: `python -m pipeline.training.fit_ct_lesions --n 160 --seed 1100000`.

Phantoms of both sites are drawn, levels predicted by `builtin/ct-levels`, places proposed and described; a few networks
of one hidden layer learn from the descriptions how much of a true lesion a place holds. What is collected stays in a
folder, a file per phantom, so that a fit can be made again in a minute. Printed are the operating points of a
cross-validation over phantoms; the networks that are written are fitted on all of them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.engine.preprocess import crop
from pipeline.engine.resample import nearest_labels
from pipeline.models.builtin.ct_lesions.bone import STEP_MM, lay_out
from pipeline.models.builtin.ct_lesions.predictor import look
from pipeline.models.builtin.ct_lesions.score import Scorer, write_scorer
from pipeline.models.predictor import Predictor
from pipeline.models.registry import load
from pipeline.phantom.anatomy import Phantom
from pipeline.phantom.protocols import SITES
from pipeline.training.evaluate_builtin import draw_scan
from pipeline.training.figures import HIT_IOU
from pipeline.training.operating_points import Places, operating_points, rank

HIDDEN, NETWORKS, FOLDS = 16, 8, 4
EPOCHS, BATCH = 40, 512
_GOOD_IOU = 0.6
"""Overlap from which a place counts as the whole lesion."""
_PER_LESION, _MOST_WEIGHT = 12.0, 6.0
"""What all places of one lesion weigh together, and the most that one of them may."""
_JITTER = 0.05
"""Noise on the standardised numbers, so that no network leans on one of them."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Examples:
    """What is learned from: places of many phantoms."""

    described: Numbers
    """(places, numbers)."""
    goal: Numbers
    """(places) 0 to 1."""
    weight: Numbers
    """(places)."""


def collect(phantom: Phantom, levels_model: Predictor) -> Places | None:
    """The places of a phantom, their descriptions and overlaps; None where no vertebra is seen."""
    volume = phantom.volume
    bone = lay_out(volume, levels_model.levels(volume, modality="CT"))
    if bone is None:
        return None
    places, described, _ = look(bone, torch.device("cpu"))
    truth = nearest_labels(phantom.lesions[bone.box], crop(volume, bone.box).grid, bone.grid).astype(np.int64)
    voxels = [lesion.volume_mm3 / STEP_MM**3 for lesion in phantom.lesion_table]
    iou = np.zeros((len(places), len(voxels)))
    flat = []
    for k, place in enumerate(places):
        shared = np.bincount(truth[place.box][place.mask], minlength=len(voxels) + 1)
        for j, lesion in enumerate(phantom.lesion_table):
            iou[k, j] = shared[lesion.instance] / (place.mask.sum() + voxels[j] - shared[lesion.instance])
        index = np.argwhere(place.mask) + [part.start for part in place.box]
        flat.append(np.ravel_multi_index(tuple(index.T), bone.grid.shape).astype(np.int64))
    volumes = np.array([lesion.volume_mm3 for lesion in phantom.lesion_table])
    return Places(described, iou, volumes, tuple(flat), bone.grid.shape)


def examples(scans: Sequence[Places]) -> Examples:
    """Goals and weights: each lesion weighs the same, however many of its places were proposed."""
    goals, weights = [], []
    for scan in scans:
        if not scan.iou.shape[1]:
            goals.append(np.zeros(len(scan.iou)))
            weights.append(np.ones(len(scan.iou)))
            continue
        best, lesion = scan.iou.max(axis=1), scan.iou.argmax(axis=1)
        goal = np.where(best >= HIT_IOU, np.clip(best / _GOOD_IOU, 0, 1), 0.0)
        weight = np.ones(len(goal))
        for j in range(scan.iou.shape[1]):
            own = (lesion == j) & (goal > 0)
            weight[own] = min(_PER_LESION / max(float(goal[own].sum()), 1e-9), _MOST_WEIGHT)
        goals.append(goal)
        weights.append(weight)
    return Examples(np.concatenate([s.described for s in scans]), np.concatenate(goals), np.concatenate(weights))


def fit(learned: Examples, *, seed: int) -> Scorer:
    """Networks fitted on examples, all at once; the calibration is left at 1, 0."""
    torch.manual_seed(seed)
    mean, spread = learned.described.mean(axis=0), np.maximum(learned.described.std(axis=0), 1e-3)
    standard = np.clip((learned.described - mean) / spread, -3, 3)
    x, goal, weight = (torch.from_numpy(a).float() for a in (standard, learned.goal, learned.weight))
    networks = _Networks(x.shape[1])
    optimizer = torch.optim.AdamW(networks.parameters(), lr=8e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * math.ceil(len(x) / BATCH))
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x), BATCH):
            chosen = order[start : start + BATCH]
            seen = x[chosen] + _JITTER * torch.randn(NETWORKS, len(chosen), x.shape[1])
            wanted = goal[chosen].expand(NETWORKS, -1)
            losses = F.binary_cross_entropy_with_logits(networks(seen), wanted, reduction="none")
            optimizer.zero_grad()
            (losses * weight[chosen]).mean(dim=1).sum().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    hidden, hidden_bias, out, out_bias = (p.detach().double().numpy() for p in networks.parameters())
    return Scorer(mean, spread, hidden, hidden_bias, out, out_bias, np.array([1.0, 0.0]))


class _Networks(nn.Module):
    """`NETWORKS` networks of one hidden layer, side by side; the parameters in the order of `Scorer`."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.randn(NETWORKS, HIDDEN, numbers) * 0.5 / math.sqrt(numbers))
        self.hidden_bias = nn.Parameter(torch.zeros(NETWORKS, HIDDEN))
        self.out = nn.Parameter(torch.randn(NETWORKS, HIDDEN) * 0.5 / math.sqrt(HIDDEN))
        self.out_bias = nn.Parameter(torch.zeros(NETWORKS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (networks, places) for numbers (networks, places, f)."""
        hidden = torch.tanh(torch.einsum("nhf,npf->nph", self.hidden, x) + self.hidden_bias[:, None])
        return torch.einsum("nph,nh->np", hidden, self.out) + self.out_bias[:, None]


def cross_validated(scans: Sequence[Places], *, seed: int) -> list[Numbers]:
    """For each scan the raw scores of its places by networks that never saw it."""
    out: list[Numbers] = [np.zeros(0)] * len(scans)
    for fold in range(FOLDS):
        scorer = fit(examples([s for i, s in enumerate(scans) if i % FOLDS != fold]), seed=seed + fold)
        for i in range(fold, len(scans), FOLDS):
            out[i] = scorer.raw(scans[i].described)
    return out


def gathered(folder: Path, first: int, n: int) -> Iterator[Places]:
    """The places of `n` phantoms from `first` on; those that are in the folder are read."""
    levels_model: Predictor | None = None
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + n):
        path = folder / f"{seed}.npz"
        if not path.exists():
            levels_model = levels_model or load("builtin/ct-levels")
            found = collect(draw_scan(seed, SITES[seed % len(SITES)]), levels_model)
            if found is None:
                continue
            found.save(path)
        yield Places.read(path)


def main() -> None:
    """Parse the command line, collect, cross-validate, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("training-ct-lesions"), help="what was collected")
    parser.add_argument("--n", type=int, default=160, help="phantoms")
    parser.add_argument("--seed", type=int, default=1_100_000, help="seed of the first one; evaluations use others")
    parser.add_argument("--false-per-scan", type=float, default=1.0, help="where the score is to be 0.5")
    parser.add_argument("--to", type=Path, default=None, help="weights.safetensors; by default beside --folder's files")
    args = parser.parse_args()
    scans = list(gathered(args.folder, args.seed, args.n))
    ranked = rank(scans, cross_validated(scans, seed=1))
    for point in operating_points(ranked, (0.25, 0.5, 0.75, 1.0, 2.0)):
        print(f"{point.sensitivity:.3f} of {ranked.n_true} lesions at {point.false_per_scan:.2f} false per scan")
    scorer = fit(examples(scans), seed=99)
    final = Scorer(**{**vars(scorer), "calibration": ranked.calibration(args.false_per_scan)})
    write_scorer(final, args.to or args.folder / "weights.safetensors")


if __name__ == "__main__":
    main()
