"""Bones beside the spine: ribs, pelvis, hips, skull, shoulders and sternum, each a union of capsules and plates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.grid import Floats
from pipeline.phantom.appearance import Tissues
from pipeline.phantom.bones import paint_bone
from pipeline.phantom.canvas import FAR_MM, Canvas, Part
from pipeline.phantom.landmarks import arm
from pipeline.phantom.shapes import Coords, Field, capsule, ellipsoid, rotation_xyz
from pipeline.phantom.spine import Spine, Vertebra
from pipeline.phantom.torso import Torso

_CAGE_AT = (8.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0)  # T1 T2 T4 T6 T8 T10 T12
_CAGE_WIDTH = (52.0, 72.0, 108.0, 124.0, 132.0, 134.0, 122.0)
_CAGE_DEPTH = (42.0, 54.0, 76.0, 90.0, 98.0, 98.0, 90.0)
_RIB_END = (150.0, 152.0, 155.0, 152.0, 148.0, 130.0, 62.0)
"""Where a rib ends, in degrees from the back."""


@dataclass(frozen=True)
class Rod:
    """A capsule in the patient's frame, mm."""

    a: Floats
    b: Floats
    radius: float
    end: float
    tall: float = 1.0


@dataclass(frozen=True)
class Plate:
    """A thick triangle in the patient's frame, mm."""

    corners: Floats
    """(3, 3)."""
    radius: float


class Union:
    """Distance to many shapes, and the box that they touch."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self.distance: Field = np.full(canvas.lattice.shape, FAR_MM, dtype=np.float32)
        self.touched = False

    def add(self, shape: Rod | Plate) -> None:
        """Join a shape."""
        points = np.stack([shape.a, shape.b]) if isinstance(shape, Rod) else shape.corners
        reach = shape.radius * shape.tall if isinstance(shape, Rod) else shape.radius
        found = self.canvas.between(points.min(axis=0), points.max(axis=0), reach + 2)
        if found is None:
            return
        patch, at = found
        block = self.distance[patch.slices]
        np.minimum(block, _distance(shape, at), out=block)
        self.touched = True

    def carve(self, shape: Rod) -> None:
        """Take a shape away."""
        found = self.canvas.between(shape.a, shape.b, shape.radius + 2)
        if found is not None:
            patch, at = found
            block = self.distance[patch.slices]
            np.maximum(block, -_distance(shape, at), out=block)

    def paint(self, part: Part, inside: float, tissues: Tissues) -> None:
        """Lay the union on the canvas as bone."""
        if not self.touched:
            return
        near = np.flatnonzero((self.distance < 4).any(axis=(1, 2)))
        if not near.size:
            return
        patch = self.canvas.lattice.everything
        patch = type(patch)(patch.lattice, (slice(int(near[0]), int(near[-1]) + 1), *patch.slices[1:]))
        distance = self.distance[patch.slices]
        paint_bone(self.canvas, patch, distance, inside, tissues.cortex_other, tissues.cortex_other_mm, tissues)
        self.canvas.mark(patch, distance, part)


def _distance(shape: Rod | Plate, at: Coords) -> Field:
    if isinstance(shape, Rod):
        return capsule(at, shape.a, shape.b, shape.radius, end=shape.end, tall=shape.tall)
    return _plate(shape, at)


def _plate(shape: Plate, at: Coords) -> Field:
    """Distance to a triangle less its radius: to its plane above the triangle, else to the nearest edge."""
    a, b, c = shape.corners
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal)
    edges = [capsule(at, p, q, 0.0) for p, q in ((a, b), (b, c), (c, a))]
    above = np.ones((1, 1, 1), dtype=bool)
    for p, q in ((a, b), (b, c), (c, a)):
        inward = np.cross(normal, q - p)
        above = above & (_dot(at, inward, p) >= 0)
    return np.where(above, np.abs(_dot(at, normal, a)), np.minimum.reduce(edges)) - np.float32(shape.radius)


def _dot(at: Coords, direction: Floats, start: Floats) -> Field:
    d = direction.astype(np.float32)
    return at[0] * d[0] + at[1] * d[1] + at[2] * d[2] - np.float32(direction @ start)


def paint_skeleton(canvas: Canvas, spine: Spine, tissues: Tissues, rng: np.random.Generator, torso: Torso) -> None:
    """Paint ribs, pelvis with hips, skull, sternum, clavicles and scapulae as far as they are in view."""
    other = Union(canvas)
    for rod in _pelvis(spine.sacrum, spine.scale, other):
        other.add(rod)
    for shape in _head(spine):
        other.add(shape)
    for shape in _girdle(spine, torso):
        other.add(shape)
    _paint_skull(canvas, spine, tissues)
    other.paint(Part.OTHER_BONE, tissues.pelvis, tissues)
    ribs = Union(canvas)
    thickness = float(rng.uniform(2.6, 4.2)) * spine.scale
    for vertebra in spine.vertebrae:
        if 8 <= vertebra.rank < 20:
            for side in (-1.0, 1.0):
                for rod in _rib(vertebra, side, torso.cage(spine), thickness, float(rng.normal(1, 0.05))):
                    ribs.add(rod)
    ribs.paint(Part.RIB, tissues.rib, tissues)


def _rib(vertebra: Vertebra, side: float, scale: float, thickness: float, length: float) -> Iterator[Rod]:
    s = vertebra.sizes
    wall = s.depth / 2
    head = vertebra.place((side * (s.width / 2 + 1), wall - 5, s.height * 0.42))
    tubercle = vertebra.place((side * s.transverse_x, wall + s.transverse_y - 7, s.transverse_z - 1))
    width, depth = (float(np.interp(vertebra.rank, _CAGE_AT, t)) * scale for t in (_CAGE_WIDTH, _CAGE_DEPTH))
    last = float(np.interp(vertebra.rank, _CAGE_AT, _RIB_END)) * length
    middle = vertebra.centre + np.array([0.0, wall + 28 * scale - depth, 0.0])
    first = float(np.degrees(np.arcsin(min((s.transverse_x + 16) / width, 0.9))))
    angles = np.radians(np.linspace(first, last, 11))
    drop = np.interp(vertebra.rank, (8, 10, 19), (40, 75, 85)) * scale
    fall = drop * (1 - np.cos(angles - angles[0])) / 1.8
    curve = np.stack(
        [side * width * np.sin(angles), depth * np.cos(angles), tubercle[2] - middle[2] - 4 - fall], axis=1
    )
    nodes = [head, tubercle, *(middle + curve)]
    for i, (a, b) in enumerate(pairwise(nodes)):
        yield Rod(a, b, thickness, thickness, 1.0 if i < 1 else 1.5)


def _pelvis(sacrum: Vertebra, scale: float, union: Union) -> Iterator[Rod | Plate]:
    """Ilium, acetabulum, ischium, pubis and the upper femur of both sides, about the middle of S1."""
    pitch = float(np.degrees(np.arctan2(-sacrum.rotation[1, 2], sacrum.rotation[2, 2])))
    turn = rotation_xyz(0.5 * (pitch - 40.0), 0.0, 0.0)
    for side in (-1.0, 1.0):

        def at(x: float, y: float, z: float, side: float = side) -> Floats:
            return sacrum.centre + turn @ (np.array([side * x, y, z]) * scale)

        joint, crest, spine_front, roof = at(54, 30, -14), at(126, -8, 44), at(120, -64, -4), at(90, -26, -70)
        rear, notch, tail = at(48, 56, -22), at(60, 40, -48), at(72, 28, 22)
        for corners in (
            (joint, crest, roof),
            (crest, spine_front, roof),
            (joint, roof, notch),
            (joint, crest, tail),
            (joint, tail, rear),
        ):
            yield Plate(np.stack(corners), 4.8 * scale)
        for a, b, r in (
            (tail, crest, 6),
            (crest, spine_front, 6),
            (joint, rear, 10),
            (joint, tail, 8),
            (roof, joint, 8),
            (notch, roof, 10),
        ):
            yield Rod(a, b, r * scale, r * scale)
        yield from _hip(at, scale, union)


def _hip(place: Callable[[float, float, float], Floats], scale: float, union: Union) -> Iterator[Rod | Plate]:
    head, sit, front = place(90, -22, -98), place(62, 22, -165), place(12, -78, -132)
    union.add(Rod(head, head, 34 * scale, 34 * scale))
    union.carve(Rod(head + (place(60, 0, -40) - place(0, 0, 0)), head, 20 * scale, 26 * scale))
    union.carve(Rod(head, head, 26 * scale, 26 * scale))
    yield Rod(head, head, 23.5 * scale, 23.5 * scale)
    yield Rod(place(108, -16, -114), place(135, -6, -130), 15 * scale, 16 * scale)
    yield Rod(place(138, -2, -136), place(130, -2, -300), 16 * scale, 14 * scale)
    yield Rod(place(76, 8, -118), sit, 13 * scale, 14 * scale)
    yield Rod(place(72, -44, -104), front, 10 * scale, 9 * scale)
    yield Rod(front, sit, 8 * scale, 8 * scale)


def _head(spine: Spine) -> Iterator[Rod | Plate]:
    """Condyles, base of the skull and jaw."""
    atlas, k = spine.vertebrae[0], spine.scale
    for side in (-1.0, 1.0):
        yield Rod(atlas.place((side * 17 * k, 0, 14 * k)), atlas.place((side * 22 * k, 6, 20 * k)), 7 * k, 7 * k)
        yield Plate(
            np.stack([atlas.place(p) for p in ((side * 8, 20, 22), (side * 55, 30, 30), (side * 45, 75, 40))]), 3.5 * k
        )
        yield Rod(atlas.place((side * 50, -15, 15)), atlas.place((side * 42, -35, -25)), 5 * k, 7 * k)
        yield Rod(atlas.place((side * 42, -35, -25)), atlas.place((side * 8, -85, -40)), 7 * k, 7 * k, 1.6)


def _by(point: Floats, x: float, y: float, z: float) -> Floats:
    return point + np.array([x, y, z])


def _paint_skull(canvas: Canvas, spine: Spine, tissues: Tissues) -> None:
    """The vault with the brain in it."""
    k = spine.scale
    middle = spine.vertebrae[0].centre + np.array([0.0, 8.0, 92.0]) * k
    radii = np.array([74.0, 92.0, 74.0]) * k
    found = canvas.between(middle - radii, middle + radii, 2.0)
    if found is not None:
        patch, at = found
        vault = ellipsoid(at, middle, radii)
        canvas.paint(patch, vault, tissues.cortex_other)
        canvas.paint(patch, vault + np.float32(2.0), tissues.pelvis)
        canvas.paint(patch, vault + np.float32(4.5), tissues.cortex_other)
        canvas.paint(patch, vault + np.float32(7.0), tissues.brain)
        canvas.mark(patch, np.maximum(vault, -vault - np.float32(7.0)), Part.OTHER_BONE)


def _girdle(spine: Spine, torso: Torso) -> Iterator[Rod | Plate]:
    """Sternum, clavicles, scapulae and the heads of the arms."""
    top, low, back = spine.height_of(9.5), spine.height_of(16), spine.height_of(14)
    k = spine.scale
    chest = {v.name: v.centre for v in spine.vertebrae}
    x, y = float(chest["T3"][0]), float(chest["T3"][1])
    depth = float(chest["T8"][1]) - 150 * torso.cage(spine)
    notch, tip = np.array([x, y - 85 * k, top]), np.array([x, depth, low])
    yield Rod(notch, tip, 6 * k, 6 * k)
    for dx in (-9.0, 9.0):
        yield Rod(_by(notch, dx, 0, 0), _by(tip, dx, 0, 0), 6 * k, 6 * k)
    for side in (-1.0, 1.0):
        shoulder, elbow = arm(spine, side, raised=torso.arms_raised)
        yield Rod(_by(notch, side * 18, -2, 4), _by(shoulder, -side * 15, -15, 8), 6 * k, 6 * k)
        yield Rod(shoulder, shoulder, 23 * k, 23 * k)
        yield Rod(_by(shoulder, side * 6, 0, 0), elbow, 13 * k, 12 * k)
        low_tip = np.array([x + side * 85 * k, y + 62 * k, back])
        inner = np.array([x + side * 70 * k, y + 52 * k, top - 5])
        yield Plate(np.stack([_by(shoulder, -side * 30, 20, -8), low_tip, inner]), 3.0 * k)
        yield Rod(_by(shoulder, -side * 28, 20, -10), low_tip, 4.5 * k, 4.0 * k)
