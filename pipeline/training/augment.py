"""A training window cut from a phantom: turned, stretched, mirrored, and its intensities altered.

The alterations break what a phantom would teach wrongly: that a tissue has one density, that bone is bright, that the
field of view never ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from pipeline.training.samples import Sample

OUTSIDE_HU = -1000.0
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A window of a sample after augmentation."""

    hu: Tensor
    """(z, y, x) float32."""
    parts: Tensor
    """(z, y, x) int64 classes."""
    levels: Tensor
    """(z, y, x) int64 level numbers."""
    centres: Tensor
    """(64, 3) z, y, x in voxels of the window; NaN for absent levels."""


def cut(sample: Sample, shape: tuple[int, int, int], rng: np.random.Generator) -> Window:
    """A random window of `shape` voxels with altered geometry and intensities."""
    matrix = _turn(rng)
    focus = _focus(sample, rng) + rng.uniform(-0.35, 0.35, 3) * np.asarray(shape)
    middle = (np.asarray(shape) - 1) / 2
    where = _grid(matrix, focus, middle, shape, np.asarray(sample.hu.shape))
    hu = _sampled(sample.hu, where, "bilinear", shift=-OUTSIDE_HU) + OUTSIDE_HU
    parts = _sampled(sample.parts, where, "nearest").long()
    levels = _sampled(sample.levels, where, "nearest").long()
    centres = (sample.centres - focus) @ np.linalg.inv(matrix).T + middle
    window = Window(hu, parts, levels, torch.from_numpy(centres.astype(np.float32)))
    return _shorten(_recolour(window, rng), rng)


def _turn(rng: np.random.Generator) -> Floats:
    """3 x 3, a window's z, y, x to a sample's: rotation, stretch, and half the time left for right."""
    a, b, c = np.radians(rng.normal(0, (6.0, 6.0, 8.0)))
    about_z = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_x = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    stretch = np.exp(rng.normal(0, 0.08)) * np.exp(rng.normal(0, 0.05, 3))
    mirror = np.array([1, 1, rng.choice((-1, 1))])
    return about_z @ about_y @ about_x @ np.diag(stretch * mirror)


def _focus(sample: Sample, rng: np.random.Generator) -> Floats:
    """Where to look: mostly at a vertebra or the sacrum, sometimes anywhere."""
    present = np.flatnonzero(np.isfinite(sample.centres[:, 0]))
    choice = rng.random()
    if choice < 0.70 and present.size:
        return sample.centres[rng.choice(present)].astype(np.float64)
    sacrum = np.argwhere(sample.parts[::4, ::4, ::4] == 3)
    if choice < 0.88 and len(sacrum):
        return sacrum[rng.integers(len(sacrum))] * 4.0
    return rng.uniform(0, 1, 3) * np.asarray(sample.hu.shape)


def _grid(matrix: Floats, focus: Floats, middle: Floats, shape: tuple[int, int, int], size: Floats) -> Tensor:
    """Sampling positions for `grid_sample`, (1, z, y, x, 3) in x, y, z from -1 to 1."""
    slope = matrix * (2 / np.maximum(size - 1, 1))[:, None]
    start = (focus - matrix @ middle) * 2 / np.maximum(size - 1, 1) - 1
    steps = [torch.arange(n, dtype=torch.float32) for n in shape]
    axes = []
    for axis in (2, 1, 0):
        z, y, x = (float(slope[axis, k]) * steps[k] for k in range(3))
        axes.append(z[:, None, None] + y[None, :, None] + x[None, None, :] + float(start[axis]))
    return torch.stack(axes, dim=-1)[None]


def _sampled(array: npt.NDArray[np.generic], where: Tensor, mode: str, shift: float = 0.0) -> Tensor:
    """Values at the positions; 0 (before `shift` is taken off again by the caller) outside."""
    source = torch.from_numpy(array.astype(np.float32))[None, None] + shift
    return F.grid_sample(source, where, mode=mode, padding_mode="zeros", align_corners=True)[0, 0]


def _recolour(window: Window, rng: np.random.Generator) -> Window:
    hu = window.hu
    hu = hu + _tissue_shifts(window.parts, rng)
    if rng.random() < 0.35:
        hu = _distractors(hu, window.parts, rng)
    hu = _resolution(hu, rng)
    hu = hu * float(rng.normal(1, 0.06)) + float(rng.normal(0, 15))
    sigma = float(rng.gamma(1.5, 18.0))
    noise = torch.from_numpy(rng.standard_normal(hu.shape, dtype=np.float32)) * sigma
    if rng.random() < 0.5:
        noise = _blur(noise, (0.5, 0.6, 0.6)) * 2.2
    return Window(hu + noise, window.parts, window.levels, window.centres)


def _tissue_shifts(parts: Tensor, rng: np.random.Generator) -> Tensor:
    """An offset for each class, and a smooth one inside bone."""
    if rng.random() < 0.25:
        return torch.zeros(parts.shape)
    spread = np.array([6, 55, 55, 55, 35, 45, 12, 45]) * (2.0 if rng.random() < 0.2 else 1.0)
    table = torch.from_numpy(rng.normal(0, spread).astype(np.float32))
    shift = table[parts]
    coarse = torch.from_numpy(rng.standard_normal((1, 1, *(max(2, n // 6) for n in parts.shape)), dtype=np.float32))
    smooth = F.interpolate(coarse, size=parts.shape, mode="trilinear")[0, 0] * float(rng.uniform(0, 60))
    shift = shift + torch.where((parts > 0) & (parts < 4), smooth, smooth * 0.15)
    return _blur(shift, (0.4, 0.4, 0.4))


def _distractors(hu: Tensor, parts: Tensor, rng: np.random.Generator) -> Tensor:
    """Bright blobs and tubes in soft tissue (contrast, bowel, calcification, metal)."""
    z, y, x = (torch.arange(n, dtype=torch.float32) for n in hu.shape)
    for _ in range(int(rng.integers(1, 5))):
        centre, radii = rng.uniform(0, 1, 3) * hu.shape, rng.uniform(1.5, 9, 3)
        if rng.random() < 0.4:
            radii[int(rng.integers(3))] *= 5
        reach = (
            ((z - float(centre[0])) / float(radii[0]))[:, None, None] ** 2
            + ((y - float(centre[1])) / float(radii[1]))[None, :, None] ** 2
            + ((x - float(centre[2])) / float(radii[2]))[None, None, :] ** 2
        )
        value = rng.uniform(100, 600) if rng.random() < 0.85 else rng.uniform(1500, 3000)
        free = (parts == 0) & (hu > -300)
        hu = torch.where((reach < 1) & free, torch.full_like(hu, float(value)), hu)
    return hu


def _resolution(hu: Tensor, rng: np.random.Generator) -> Tensor:
    """Thick slices, a soft or a sharp kernel."""
    choice = rng.random()
    if choice < 0.35:
        return _blur(hu, (float(rng.uniform(0.2, 1.1)), 0.3, 0.3))
    if choice < 0.55:
        return _blur(hu, (float(rng.uniform(0.3, 0.8)),) * 3)
    if choice < 0.75:
        return hu + (hu - _blur(hu, (0.7, 0.7, 0.7))) * float(rng.uniform(0.2, 0.8))
    return hu


def _blur(x: Tensor, sigma: tuple[float, float, float]) -> Tensor:
    """Gaussian blur with kernels of five taps."""
    out = x[None, None]
    for axis, width in enumerate(sigma):
        taps = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / max(width, 0.05)) ** 2)
        shape = [1, 1, 1, 1, 1]
        shape[2 + axis] = 5
        pad = [0, 0, 0, 0, 0, 0]
        pad[2 * (2 - axis)] = pad[2 * (2 - axis) + 1] = 2
        out = F.conv3d(F.pad(out, pad, mode="replicate"), (taps / taps.sum()).reshape(shape))
    return out[0, 0]


def _shorten(window: Window, rng: np.random.Generator) -> Window:
    """Sometimes let the field of view end inside the window."""
    if rng.random() > 0.3:
        return window
    inside = torch.ones(window.hu.shape, dtype=torch.bool)
    for axis, n in enumerate(window.hu.shape):
        if rng.random() < 0.5:
            low, high = int(rng.uniform(0, 0.35) * n), int(rng.uniform(0.65, 1.0) * n)
            keep = torch.zeros(n, dtype=torch.bool)
            keep[low:high] = True
            inside &= keep.reshape([-1 if k == axis else 1 for k in range(3)])
    zero = torch.zeros_like(window.parts)
    hu = torch.where(inside, window.hu, torch.full_like(window.hu, OUTSIDE_HU))
    return Window(hu, torch.where(inside, window.parts, zero), torch.where(inside, window.levels, zero), window.centres)
