"""What is not the patient's own: the scanner's table and spinal hardware with its streaks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pipeline.grid import Floats
from pipeline.phantom.appearance import Tissues
from pipeline.phantom.canvas import Canvas
from pipeline.phantom.shapes import capsule
from pipeline.phantom.spine import Spine, Vertebra


def paint_table(canvas: Canvas, spine: Spine, rng: np.random.Generator) -> None:
    """A shallow trough below the back: foam between two thin shells; it goes under the body, so paint it first."""
    middle = spine.track().mean(axis=0)
    low = float(middle[1]) + float(rng.uniform(105, 135))
    least, most = canvas.lattice.bounds
    found = canvas.between((middle[0] - 232, low - 52, least[2]), (middle[0] + 232, low + 28, most[2]), 0.0)
    if found is None:
        return
    patch, (u, v, _) = found
    depth = v - np.float32(low) + np.float32(0.0009) * (u - np.float32(middle[0])) ** 2
    beside = np.abs(u - np.float32(middle[0])) - np.float32(230)
    canvas.paint(patch, np.maximum(np.abs(depth - 12) - 12, beside), -930.0)
    for shell in (0.0, 24.0):
        canvas.paint(patch, np.maximum(np.abs(depth - np.float32(shell)) - np.float32(0.8), beside), -150.0)


def paint_hardware(canvas: Canvas, spine: Spine, tissues: Tissues, rng: np.random.Generator) -> None:
    """Pedicle screws and rods over two to four levels below T8, with streaks in their planes."""
    stack = [v for v in spine.vertebrae if v.rank > 15]
    first = int(rng.integers(0, len(stack) - 1))
    chosen = stack[first : first + int(rng.integers(2, 5))]
    for side in (-1.0, 1.0):
        heads = [_screw(canvas, vertebra, side, tissues) for vertebra in chosen]
        for a, b in pairwise(heads):
            _rod(canvas, a, b, 2.8, tissues.metal)
    for vertebra in chosen:
        _streaks(canvas, vertebra, rng)


def _screw(canvas: Canvas, vertebra: Vertebra, side: float, tissues: Tissues) -> Floats:
    s = vertebra.sizes
    x = s.canal_width / 2 + s.pedicle * 0.6
    tip = vertebra.place((side * x * 0.55, -s.depth * 0.2, s.height * 0.15))
    head = vertebra.place((side * (x + 6), s.depth / 2 + s.canal_depth + 10, s.height * 0.22))
    _rod(canvas, tip, head, 2.7, tissues.metal)
    _rod(canvas, head, head, 5.5, tissues.metal)
    return head


def _rod(canvas: Canvas, start: Floats, stop: Floats, radius: float, hu: float) -> None:
    found = canvas.between(start, stop, radius + 1)
    if found is not None:
        canvas.paint(found[0], capsule(found[1], start, stop, radius), hu)


def _streaks(canvas: Canvas, vertebra: Vertebra, rng: np.random.Generator) -> None:
    """Bright and dark rays about the screws of one level, fading with distance."""
    low, high = np.array([-110.0, -110, -7]), np.array([110.0, 110, 7])
    patch = canvas.lattice.box(low, high, centre=vertebra.centre)
    if patch is None:
        return
    u, v, w = patch.coords(vertebra.centre)
    fade = np.clip(1 - np.abs(w) / 8, 0, 1)
    for side in (-1.0, 1.0):
        x, y = u - np.float32(side * vertebra.sizes.width * 0.35), v - np.float32(vertebra.sizes.depth / 2 + 6)
        angle = np.arctan2(y, x)
        rays = np.sin(angle * np.float32(rng.integers(5, 11)) + np.float32(rng.uniform(0, 6)))
        rays = rays + np.sin(angle * np.float32(rng.integers(11, 21)))
        strength = np.float32(rng.uniform(40, 220))
        canvas.hu[patch.slices] += strength * rays * fade * np.exp(-np.hypot(x, y) / np.float32(35))
