"""How far bone differs from what is expected, at several scales: a matched filter against the scan's own spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.models.builtin.ct_lesions.bone import BODY_KIND, STEP_MM, Bone, Field
from pipeline.models.builtin.ct_lesions.reference import Reference

SCALES_MM = (2.0, 3.5, 6.0)
"""Standard deviations of the Gaussians."""
_FINE_MM, _BROAD_MM = 1.2, 2.4
_MOST_HU = 500.0
"""A single voxel's difference counts no more than this."""
_CORE_MM = 4.0
_SIGMA = 1.4826


@dataclass(frozen=True)
class Deviation:
    """Differences from the reference, [z, y, x]; above 0 is denser."""

    fine_hu: Field
    """HU, hardly smoothed: where a lesion's border is."""
    z: Field
    """At each voxel the scale's z that is farthest from 0, in standard deviations of the scan's normal bone."""
    broad_hu: Field
    """HU, smoothed so that noise is gone and what barely touches falls apart."""
    either_hu: Field
    """HU, the smoothed size of the difference, whatever its sign."""


def deviate(bone: Bone, reference: Reference, device: torch.device) -> Deviation:
    """Compare bone with its reference."""
    difference = np.clip(bone.hu - reference.expected, -_MOST_HU, _MOST_HU)
    d, inside, s = (
        torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).to(device)
        for x in (difference, bone.inside, reference.spread)
    )
    weight = inside / s.square()
    core = torch.from_numpy((bone.kind == BODY_KIND) & (bone.depth >= _CORE_MM)).to(device)
    core = core if int(core.sum()) > 100 else inside > 0
    best = torch.zeros_like(d)
    for scale in SCALES_MM:
        mean = blur(weight * d, scale) / blur(weight, scale).clamp_min(1e-12)
        power = blur(weight, scale / 2**0.5).clamp_min(1e-12)
        snr = mean * blur(weight, scale) / power.sqrt() * inside
        z = snr / _spread(snr[core])
        best = torch.where(z.abs() > best.abs(), z, best)
    fine, broad = (_within(d, inside, scale) for scale in (_FINE_MM, _BROAD_MM))
    either = _within(fine.abs(), inside, _FINE_MM)
    return Deviation(*(x.cpu().numpy() for x in (fine, best, broad, either)))


def _within(x: Tensor, inside: Tensor, scale_mm: float) -> Tensor:
    """Mean of `x` about each voxel over bone alone; 0 outside it."""
    return blur(inside * x, scale_mm) / blur(inside, scale_mm).clamp_min(1e-3) * inside


def _spread(values: Tensor) -> float:
    middle = values.median()
    return max(float((values - middle).abs().median()) * _SIGMA, 1e-6)


def blur(x: Tensor, sigma_mm: float) -> Tensor:
    """Gaussian blur of [z, y, x], 0 outside."""
    sigma = sigma_mm / STEP_MM
    reach = max(1, round(3 * sigma))
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=x.device) / sigma) ** 2)
    taps = taps / taps.sum()
    out = x
    for axis in range(3):
        padding = [0] * 6
        padding[4 - 2 * axis] = padding[5 - 2 * axis] = reach
        wide, n = F.pad(out, padding), x.shape[axis]
        out = torch.zeros_like(x)
        for k, tap in enumerate(taps.tolist()):
            out.add_(wide.narrow(axis, k, n), alpha=tap)
    return out
