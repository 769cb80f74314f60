"""What the network of ct-levels is trained to minimise."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.models.builtin.ct_levels.network import N_CLASSES, OFFSET_MM, SPACING_MM
from pipeline.training.augment import Window

CENTRE_SIGMA_MM = 5.0
"""Width of the bell about a vertebra's centre."""
_ATLAS = 1
"""C1 has its centre in the canal."""
_WEIGHTS = (0.6, 1.0, 1.6, 1.0, 1.6, 1.2, 1.0, 0.8)


def targets(window: Window) -> tuple[Tensor, Tensor]:
    """The centre score (z, y, x) and the offsets (3, z, y, x) in `OFFSET_MM`; offsets are NaN outside vertebrae."""
    z, y, x = (torch.arange(n, dtype=torch.float32) for n in window.hu.shape)
    bells = torch.zeros(window.hu.shape)
    width = 2 * (CENTRE_SIGMA_MM / SPACING_MM) ** 2
    for centre in window.centres[_seen(window)]:
        fz, fy, fx = (torch.exp(-((a - c) ** 2) / width) for a, c in zip((z, y, x), centre, strict=True))
        bells = torch.maximum(bells, fz[:, None, None] * fy[None, :, None] * fx[None, None, :])
    goal = window.centres[window.levels].permute(3, 0, 1, 2)
    here = torch.stack(torch.meshgrid(z, y, x, indexing="ij"))
    vertebra = (window.parts == 1) | (window.parts == 2)
    offsets = torch.where(vertebra, (goal - here) * (SPACING_MM / OFFSET_MM), torch.full_like(goal, float("nan")))
    return bells, offsets


def _seen(window: Window) -> Tensor:
    """Which levels (64,) have their centre in the window's field of view."""
    seen = torch.zeros(len(window.centres), dtype=torch.bool)
    for number in window.levels.unique():  # type: ignore[no-untyped-call]
        centre = window.centres[number]
        place = centre.round().long()
        inside = bool((place >= 0).all()) and all(p < n for p, n in zip(place.tolist(), window.hu.shape, strict=True))
        if inside and not bool(centre.isnan().any()):
            seen[number] = number == _ATLAS or bool(window.levels[tuple(place.tolist())] == number)
    return seen


def loss(output: Tensor, parts: Tensor, bells: Tensor, offsets: Tensor) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy and soft Dice of the classes, plus the centre score, plus the offsets inside vertebrae."""
    scores, centre, shift = output[:, :N_CLASSES], output[:, N_CLASSES], output[:, N_CLASSES + 1 :]
    entropy = F.cross_entropy(scores, parts, weight=torch.tensor(_WEIGHTS))
    dice = _dice_loss(scores.softmax(1), parts)
    weight = 1 + 15 * bells
    bell = (F.binary_cross_entropy_with_logits(centre, bells, reduction="none") * weight).mean()
    inside = torch.isfinite(offsets)
    offset = F.smooth_l1_loss(shift[inside], offsets[inside], beta=0.2) if bool(inside.any()) else shift.sum() * 0
    total = entropy + dice + 2 * bell + offset
    values = {"entropy": entropy, "dice": dice, "bell": bell, "offset": offset, "total": total}
    return total, {name: float(value.detach()) for name, value in values.items()}


def _dice_loss(probabilities: Tensor, parts: Tensor) -> Tensor:
    """1 less the mean soft Dice of the classes but background, over the batch."""
    truth = F.one_hot(parts, N_CLASSES).permute(0, 4, 1, 2, 3).to(probabilities.dtype)
    axes = (0, 2, 3, 4)
    both, sizes = (probabilities * truth).sum(axes), (probabilities + truth).sum(axes)
    present = truth.sum(axes) > 0
    present[0] = False
    dice = (2 * both + 20) / (sizes + 20)
    return 1 - dice[present].mean() if bool(present.any()) else probabilities.sum() * 0
