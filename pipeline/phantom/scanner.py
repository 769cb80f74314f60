"""What a scanner makes of a body: blur of kernel and slice, noise and streaks, and for training a bent HU scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.phantom.appearance import Style
from pipeline.phantom.canvas import smooth_noise
from pipeline.phantom.shapes import Field

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Scanner:
    """One way of acquiring and reconstructing."""

    blur_mm: float
    """Standard deviation of the point spread in the plane, mm."""
    slice_mm: float
    """Thickness of a slice (the blur along z), mm."""
    sharpen: float
    """Overshoot of the kernel at edges: 0 soft, 1 strong."""
    noise_hu: float
    """Standard deviation of the noise."""
    noise_mm: float
    """Size of the noise's grains in the plane, mm; below a voxel: white."""
    streak_hu: float
    """Amplitude of streaks from side to side."""
    scale: float = 1.0
    """Factor on HU."""
    shift_hu: float = 0.0
    """Offset on HU."""
    bias_hu: float = 0.0
    """Amplitude of a smooth drift over the volume (cupping)."""
    gamma: float = 1.0
    """Exponent on the range of bone: 1 leaves it."""


def draw_scanner(rng: np.random.Generator, style: Style, spacing: Spacing) -> Scanner:
    """A scanner for volumes of a spacing."""
    if style is Style.REALISTIC:
        return Scanner(
            blur_mm=float(rng.uniform(0.4, 0.7)),
            slice_mm=spacing[0],
            sharpen=float(rng.choice([0.0, 0.3])),
            noise_hu=float(rng.uniform(8, 18)),
            noise_mm=float(rng.uniform(0.8, 1.6)),
            streak_hu=float(rng.uniform(0, 4)),
        )
    return Scanner(
        blur_mm=float(rng.uniform(0.2, 1.8)),
        slice_mm=spacing[0] * float(rng.uniform(0.3, 1.8)),
        sharpen=float(max(rng.uniform(-0.6, 0.9), 0)),
        noise_hu=float(np.exp(rng.uniform(np.log(2), np.log(45)))),
        noise_mm=float(rng.uniform(0, 4)),
        streak_hu=float(max(rng.uniform(-8, 14), 0)),
        scale=float(rng.uniform(0.85, 1.15)),
        shift_hu=float(rng.normal(0, 15)),
        bias_hu=float(max(rng.uniform(-20, 30), 0)),
        gamma=float(np.exp(rng.normal(0, 0.15))),
    )


def scan(hu: Field, spacing: Spacing, scanner: Scanner, rng: np.random.Generator) -> Field:
    """The HU that the scanner would show; `hu` is not changed."""
    out = _blurred(hu, (scanner.slice_mm / 2.355, scanner.blur_mm, scanner.blur_mm), spacing)
    if scanner.sharpen:
        out += np.float32(scanner.sharpen) * (out - _blurred(out, (0.0, 1.3, 1.3), spacing))
    out = _bent(out, scanner, rng)
    out += _noise(out.shape, spacing, scanner, rng)
    if scanner.streak_hu:
        z, y, x = spacing
        cells = (max(1.0, 3 / z), max(1.0, 3 / y), max(1.0, 90 / x))
        out += np.float32(scanner.streak_hu) * smooth_noise(rng, _triple(out.shape), cells)
    return np.maximum(out, np.float32(-1024), out=out)


def _triple(shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = shape
    return z, y, x


def _blurred(hu: Field, sigma_mm: Spacing, spacing: Spacing) -> Field:
    """Gaussian blur; less than a third of a voxel is none (shapes are already soft over a voxel)."""
    out = hu.copy()
    for axis, (sigma, step) in enumerate(zip(sigma_mm, spacing, strict=True)):
        # A painted surface is already soft over one voxel: that much of the blur has been done.
        rest = (sigma / step) ** 2 - 1 / 12
        if rest > 0.05:
            gaussian_filter1d(out, float(np.sqrt(rest)), axis=axis, output=out, truncate=2.5, mode="nearest")
    return out


def _bent(hu: Field, scanner: Scanner, rng: np.random.Generator) -> Field:
    if scanner.gamma != 1.0:
        bone: Field = np.clip(hu, 0, 1500) * np.float32(1 / 1500)
        bent: Field = np.power(bone, np.float32(scanner.gamma), dtype=np.float32)
        hu = hu + np.float32(1500) * (bent - bone)
    if scanner.scale != 1.0 or scanner.shift_hu:
        hu = (hu + 1000) * np.float32(scanner.scale) + np.float32(scanner.shift_hu - 1000)
    if scanner.bias_hu:
        z, y, x = _triple(hu.shape)
        hu = hu + np.float32(scanner.bias_hu) * smooth_noise(rng, (z, y, x), (z / 2, y / 2, x / 2))
    return hu


def _noise(shape: tuple[int, ...], spacing: Spacing, scanner: Scanner, rng: np.random.Generator) -> Field:
    noise: Field = rng.standard_normal(shape, dtype=np.float32)
    for axis in (1, 2):
        sigma = scanner.noise_mm / 2.355 / spacing[axis]
        if sigma > 0.3:
            gaussian_filter1d(noise, sigma, axis=axis, output=noise, truncate=2.5, mode="nearest")
    strength = float(noise[::2, ::2, ::2].std())
    return noise * np.float32(scanner.noise_hu / max(strength, 1e-6))
