"""The sacrum with the coccyx: five fused segments along a bent line, wings, canal, foramina and crest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from pipeline.phantom.shapes import Coords, Field, Point, blend, capsule, ellipsoid
from pipeline.phantom.spine import Vertebra
from pipeline.phantom.vertebra import body_distance

_LEAN = (0.0, 8.0, 2.0, -22.0, -50.0, -75.0)
"""Pitch of S1 ... S5 and the coccyx against S1, degrees."""
_HEIGHT = (27.0, 24.0, 20.0, 17.0, 15.0, 26.0)
_HALF_WIDTH = (57.0, 50.0, 40.0, 30.0, 21.0, 7.0)
_HALF_DEPTH = (15.0, 13.0, 10.0, 7.5, 5.5, 4.0)


def sacrum_extent(sacrum: Vertebra) -> tuple[Point, Point]:
    """Two corners in the frame of S1 between which all of the sacrum lies, mm."""
    k = sacrum.sizes.width / 52
    return (-64 * k, -75 * k, -125 * k), (64 * k, 62 * k, 34 * k)


def sacrum_shape(sacrum: Vertebra, at: Coords) -> Field:
    """Distance to the sacrum at the points `at` of the frame of S1."""
    k = sacrum.sizes.width / 52
    side: Coords = (np.abs(at[0]), at[1], at[2])
    centres = _centres(k)
    shape, _ = body_distance(sacrum, at)
    for i, centre in enumerate(centres):
        turned = _turned(side, centre, _LEAN[i])
        radii = (_HALF_WIDTH[i] * k, _HALF_DEPTH[i] * k, _HEIGHT[i] * k * (0.62 if i else 0.5))
        shape = blend(
            shape, ellipsoid(turned, (0.0, 6.0 * k if i < 2 else 2.0 * k, -2.0 * k if i == 0 else 0.0), radii), 5.0
        )
        if 1 <= i < 4:
            rear = ellipsoid(turned, (0.0, 15 * k - i * 2, 0.0), (_HALF_WIDTH[i] * k * 0.5, 9 * k - i, radii[2] * 1.1))
            shape = blend(shape, rear, 4.0)
    shape = np.maximum(blend(shape, _rear_of_s1(sacrum, side, centres, k), 3.0), -_canal(sacrum, side, centres, k))
    return _with_foramina(shape, side, centres, k)


def _centres(k: float) -> list[tuple[float, float]]:
    """Middles of the segments (v, w) in the frame of S1."""
    out = [(0.0, 0.0)]
    for i in range(1, 6):
        step = [(_HEIGHT[j] * k / 2, np.radians(_LEAN[j])) for j in (i - 1, i)]
        out.append(
            (
                out[-1][0] + sum(float(length * np.sin(lean)) for length, lean in step),
                out[-1][1] - sum(float(length * np.cos(lean)) for length, lean in step),
            )
        )
    return out


def _turned(at: Coords, centre: tuple[float, float], lean: float) -> Coords:
    """Coordinates in the frame of one segment."""
    c, s = np.float32(np.cos(np.radians(lean))), np.float32(np.sin(np.radians(lean)))
    v, w = at[1] - np.float32(centre[0]), at[2] - np.float32(centre[1])
    return at[0], c * v + s * w, c * w - s * v


def _rear_of_s1(sacrum: Vertebra, side: Coords, centres: list[tuple[float, float]], k: float) -> Field:
    """Laminae, crest and the facets that carry the last lumbar vertebra."""
    s = sacrum.sizes
    rear = s.depth / 2 + s.canal_depth
    arch = capsule(side, (24 * k, s.depth / 2 + 6, -4.0), (0.0, rear + 2, -8.0), 3.5, tall=2.2)
    nodes: list[Point] = [(0.0, rear + 3, -8.0)]
    nodes += [(0.0, centres[i][0] + (26.0 - 3.5 * i) * k, centres[i][1]) for i in (1, 2, 3)]
    for a, b in pairwise(nodes):
        arch = blend(arch, capsule(side, a, b, 3.2, end=2.8), 3.0)
    facet = capsule(
        side, (s.articular_x + 1, s.depth / 2 + 11, -4.0), (s.articular_x + 2, s.depth / 2 + 11, 19 * k), 6.5, end=4.5
    )
    return blend(arch, facet, 2.0)


def _canal(sacrum: Vertebra, side: Coords, centres: list[tuple[float, float]], k: float) -> Field:
    rear = sacrum.sizes.depth / 2 + sacrum.sizes.canal_depth / 2
    nodes: list[Point] = [(0.0, rear, 40.0), (0.0, rear - 1, 0.0)]
    nodes += [(0.0, v + (15 - 2 * i) * k, w) for i, (v, w) in enumerate(centres[1:4], 1)]
    radii = (8.0, 7.5, 5.5, 4.0, 2.5)
    tubes = [
        capsule((side[0] * np.float32(0.75), *side[1:]), nodes[i], nodes[i + 1], radii[i] * k, end=radii[i + 1] * k)
        for i in range(4)
    ]
    return np.minimum.reduce(tubes)


def _with_foramina(shape: Field, side: Coords, centres: list[tuple[float, float]], k: float) -> Field:
    for i in range(4):
        v = (centres[i][0] + centres[i + 1][0]) / 2
        w = (centres[i][1] + centres[i + 1][1]) / 2
        x = (24 - 2.5 * i) * k
        hole = capsule(side, (x, v - 30, w - 6), (x, v + 30, w + 4), (5.5 - 0.6 * i) * k)
        shape = np.maximum(shape, -hole)
    return shape
