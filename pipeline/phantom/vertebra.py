"""The shape of one vertebra: its body and its posterior elements as signed distances in its own frame.

The frame has its origin in the middle of the body; u to the left, v to the back, w up, all in mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom.shapes import Coords, Field, Point, blend, capsule, ellipse, ellipsoid
from pipeline.phantom.spine import Sizes, Vertebra


@dataclass(frozen=True)
class VertebraShape:
    """Distances of a patch's voxels to the parts of one vertebra, mm."""

    body: Field
    """To the vertebral body."""
    whole: Field
    """To the body and all processes together."""
    canal: Field
    """To the spinal canal, a tube without ends."""
    endplate: Field
    """Depth below the nearer endplate, positive inside the body."""


def extent(vertebra: Vertebra) -> tuple[Point, Point]:
    """Two corners in its own frame between which all of the vertebra lies, mm."""
    s = vertebra.sizes
    reach = max(s.transverse_x + 8, s.width / 2 + 10)
    back = s.depth / 2 + s.canal_depth + s.spinous + 12
    return (-reach, -s.depth / 2 - 14, -s.height / 2 - s.disc - s.spinous * 0.9 - 12), (reach, back, s.height / 2 + 24)


def shape_of(vertebra: Vertebra, at: Coords) -> VertebraShape:
    """The shape at the points `at` of its own frame."""
    s = vertebra.sizes
    canal = canal_distance(s, at)
    if vertebra.name == "C1":
        ring = _atlas(s, at)
        return VertebraShape(np.full_like(ring, 99.0), np.maximum(ring, -canal), canal, np.full_like(ring, -99.0))
    body, endplate = body_distance(vertebra, at)
    arch = np.maximum(_arch(vertebra, at), -canal)
    if vertebra.rank <= 7:
        arch = _with_foramina(s, at, arch)
    if vertebra.name == "C2":
        body = blend(body, _dens(s, at), 3.0)
    return VertebraShape(body, blend(body, arch, 2.0), canal, endplate)


def canal_distance(s: Sizes, at: Coords) -> Field:
    """Distance to the canal, an elliptic tube along w."""
    middle = np.float32(s.depth / 2 + s.canal_depth / 2 - 0.5)
    return ellipse(at[0], at[1] - middle, s.canal_width / 2, s.canal_depth / 2)


def body_distance(vertebra: Vertebra, at: Coords) -> tuple[Field, Field]:
    """Distance to the body, and the depth below its nearer endplate.

    In section an ellipse in front and squarer behind, waisted, with hollow endplates; a wedge lowers its front.
    """
    s, wear = vertebra.sizes, vertebra.wear
    u, v, w = at
    half = np.float32(s.height / 2)
    level = np.minimum(np.abs(w) / half, 1.3)
    swell = 1 - np.float32(0.10) * (1 - level * level) + np.float32(wear.rim / s.width) * level**4
    p, q = u / (np.float32(s.width / 2) * swell), v / (np.float32(s.depth / 2) * swell)
    q = q + np.where(q > 0, np.float32(0.14) * np.maximum(1 - 2 * p * p, 0), 0)
    p2, q2 = p * p, q * q
    size = np.where(v < 0, np.sqrt(p2 + q2), np.sqrt(np.sqrt(p2 * p2 + q2 * q2)))
    ripple = np.float32(0.5) * np.sin(u * np.float32(0.35) + np.float32(vertebra.phase)) * np.sin(v * np.float32(0.3))
    wall = (size - 1) * np.float32((s.width + s.depth) / 4) + ripple
    hollow = np.float32(vertebra.concavity + wear.middle_loss * s.height / 2) * np.clip(1 - size * size, 0, 1)
    tilt = np.float32(wear.front_loss * s.height / 2) * np.clip(0.5 - v / np.float32(s.depth), 0, 1.2)
    top = half - hollow - tilt
    endplate = np.minimum(top - w, w + half - hollow - tilt * np.float32(0.3))
    body = _rounded(wall, -endplate, 1.6)
    for across, along, end, deep in wear.dents:
        dent = (across * s.width / 2, along * s.depth / 2, end * s.height / 2)
        body = np.maximum(body, -ellipsoid(at, dent, (deep * 1.2, deep * 1.2, deep + vertebra.concavity)))
    for spur in wear.osteophytes:
        body = blend(body, _osteophyte(s, at, spur), 2.0)
    return body, endplate


def _rounded(a: Field, b: Field, radius: float) -> Field:
    """The intersection of two shapes with a rounded edge."""
    r = np.float32(radius)
    p, q = np.maximum(a + r, 0), np.maximum(b + r, 0)
    return np.minimum(np.maximum(a, b), -r) + np.sqrt(p * p + q * q)


def _osteophyte(s: Sizes, at: Coords, spur: tuple[float, float, float]) -> Field:
    azimuth, side, size = spur
    x, y = np.cos(np.radians(azimuth)) * s.width / 2, np.sin(np.radians(azimuth)) * s.depth / 2
    z = side * (s.height / 2 - 1)
    tip = (x * 1.0 + x / s.width * 2 * size, y + y / s.depth * 2 * size, z + side * size * 0.8)
    return capsule(at, (x * 0.9, y * 0.9, z), tip, min(size, 3.0), end=0.8)


def _arch(vertebra: Vertebra, at: Coords) -> Field:
    """Pedicles, laminae, articular, transverse and spinous processes; both sides at once by symmetry."""
    s = vertebra.sizes
    side: Coords = (np.abs(at[0]), at[1], at[2])
    wall, rear = s.depth / 2, s.depth / 2 + s.canal_depth
    high = s.height * (0.05 if vertebra.rank < 8 else 0.19)
    x = s.canal_width / 2 + s.pedicle * 0.6
    root: Point = (x, wall + s.canal_depth * 0.55, high - 1)
    neck: Point = (x, wall + s.canal_depth * 0.35, high - 1)
    low = -s.height * 0.2
    crest: Point = (0.0, rear + s.lamina + 0.5, low)
    inner: Point = (min(x, s.width * 0.40), wall - 4, high)
    arch = capsule(side, inner, root, s.pedicle, tall=s.pedicle_height / s.pedicle)
    lamina = capsule(side, (x - 1, root[1] + 2, low * 0.6), crest, s.lamina, tall=s.lamina_height / s.lamina)
    arch = blend(arch, lamina, 3.0)
    tip: Point = (s.transverse_x - s.transverse, wall + s.transverse_y - s.transverse, s.transverse_z)
    arch = blend(arch, capsule(side, neck, tip, s.transverse * 0.85, end=s.transverse, tall=1.25), 3.0)
    arch = blend(arch, _facets(s, side, root), 2.0)
    return blend(arch, _spinous(s, at, crest), 3.0)


def _facets(s: Sizes, side: Coords, root: Point) -> Field:
    x, y, high = s.articular_x, root[1], root[2]
    upper = capsule(
        side, (x, y, high), (x + 1, y + 0.5, s.height / 2 + s.disc * 0.6 + 3), s.articular, end=s.articular * 0.7
    )
    back = y + s.articular * 1.25
    lower = capsule(
        side,
        (x * 0.85, back - 1, -s.height * 0.1),
        (x * 0.78, back + 0.5, -s.height / 2 - s.disc * 0.9 - 1),
        s.articular * 0.75,
        end=s.articular * 0.65,
    )
    return np.minimum(upper, lower)


def _spinous(s: Sizes, at: Coords, crest: Point) -> Field:
    drop = np.radians(s.spinous_drop)
    tip = (0.0, crest[1] + s.spinous * float(np.cos(drop)), crest[2] - s.spinous * float(np.sin(drop)))
    half = max(1.8, s.spinous_height * 0.28)
    return capsule(at, crest, tip, half, end=half * 1.15, tall=s.spinous_height / half)


def _with_foramina(s: Sizes, at: Coords, arch: Field) -> Field:
    """The holes of the cervical transverse processes for the vertebral arteries."""
    hole = np.hypot(np.abs(at[0]) - np.float32(s.width / 2 + 5.0), at[1] - np.float32(s.depth / 2 - 4.0))
    return np.maximum(arch, np.float32(2.6) - hole)


def _dens(s: Sizes, at: Coords) -> Field:
    return capsule(
        at, (0.0, -1.0, s.height / 2 - 4), (0.0, -1.0, s.height / 2 + 13), s.width * 0.30, end=s.width * 0.26
    )


def _atlas(s: Sizes, at: Coords) -> Field:
    """C1: lateral masses, two arches and transverse processes; no body."""
    k = s.width / 17
    side: Coords = (np.abs(at[0]), at[1], at[2])
    ring = ellipsoid(side, (17 * k, -1 * k, 0), (8 * k, 9.5 * k, 8 * k))
    ring = blend(ring, capsule(side, (14 * k, -7 * k, 0), (0, -13.5 * k, 0), 2.8, tall=1.6), 2.0)
    ring = blend(ring, capsule(side, (18 * k, 5 * k, 0), (14 * k, 20 * k, 0), 3.2, tall=1.3), 2.0)
    ring = blend(ring, capsule(side, (14 * k, 20 * k, 0), (0, 28 * k, 0), 3.2, tall=1.4), 2.0)
    return blend(ring, capsule(side, (18 * k, 0, 0), (36 * k, 2 * k, -2), 4.2, end=4.8), 2.0)
