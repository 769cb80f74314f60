"""Everything soft around the spine: skin, fat, muscles, lungs, vessels and organs, coarse but in their places."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pipeline.grid import Floats
from pipeline.phantom.appearance import Style, Tissues
from pipeline.phantom.canvas import Canvas
from pipeline.phantom.landmarks import arm, height, middle_at
from pipeline.phantom.shapes import Coords, Field, Patch, Point, capsule, ellipse, ellipsoid
from pipeline.phantom.spine import Spine

_RANKS = (-4.0, -1.0, 2.0, 4.5, 6.5, 8.0, 10.0, 13.0, 17.0, 22.0, 25.0, 29.0, 33.0)
"""Ranks where the outline is given: head, C2, C4, C6, T1, T3, T6, T10, L3, S1, coccyx, hips."""
_WIDTH = (70.0, 74.0, 68.0, 62.0, 80.0, 165.0, 180.0, 160.0, 155.0, 152.0, 168.0, 180.0, 165.0)
_DEPTH = (90.0, 92.0, 75.0, 60.0, 70.0, 85.0, 100.0, 112.0, 114.0, 112.0, 110.0, 105.0, 95.0)
_BACK = (85.0, 85.0, 62.0, 55.0, 62.0, 68.0, 72.0, 76.0, 78.0, 84.0, 78.0, 70.0, 70.0)
"""How far the skin lies behind the middle of the bodies."""


class Profile:
    """A quantity along the body's axis, looked up in steps of 1 mm; flat beyond its ends."""

    def __init__(self, z: Floats, values: Floats) -> None:
        order = np.argsort(z)
        self.start = float(z[order[0]])
        steps = np.arange(self.start, float(z[order[-1]]) + 1.0)
        self.table: Field = np.interp(steps, z[order], values[order]).astype(np.float32)

    def __call__(self, w: Field) -> Field:
        """The value at the height of each voxel."""
        index = np.clip(w - np.float32(self.start), 0, len(self.table) - 1).astype(np.int32)
        return self.table[index]

    def at(self, z: float) -> float:
        """The value at one height."""
        return float(self.table[int(np.clip(z - self.start, 0, len(self.table) - 1))])


@dataclass(frozen=True)
class Blob:
    """An ellipsoid of one tissue in the patient's frame, mm."""

    centre: Point
    radii: Point
    wall: float
    """HU of its outside."""
    content: float
    """HU of its inside."""
    wall_mm: float = 0.0
    """Thickness of the wall; 0: all is content."""
    edge_mm: float = 0.0
    """How blurred its edge is; 0: over one voxel."""


@dataclass(frozen=True)
class Tube:
    """Something round that follows the spine from one rank to another."""

    ranks: tuple[float, float]
    """First and last."""
    start: tuple[float, float]
    """Offset x, y from the middle of the first body, mm."""
    stop: tuple[float, float]
    """Offset at the last; linear between."""
    radius: tuple[float, float]
    """At the first and the last, mm."""
    hu: float
    """Its tissue."""


@dataclass(frozen=True)
class Torso:
    """The soft outline of one patient."""

    girth: float
    """Width against a medium adult."""
    fat_mm: float
    """Thickness of the fat below the skin."""
    wall_mm: float
    """Thickness of the muscles around the belly."""
    furrow: float
    """How strongly the fat's thickness varies around the body, 0 to 1."""
    organs: tuple[Blob, ...]
    """Painted in this order."""
    dome: float
    """Rank of the top of the diaphragm."""
    arms_raised: bool
    """Whether the arms lie above the head instead of beside the body."""

    def cage(self, spine: Spine) -> float:
        """Size of the rib cage against a medium adult: as the spine's, but within the skin."""
        return min(spine.scale, (160 * self.girth - self.fat_mm - 10) / 134)


def draw_torso(rng: np.random.Generator, spine: Spine, tissues: Tissues, style: Style) -> Torso:
    """A body around a spine."""
    girth = float(np.clip(rng.normal(1.05, 0.12), 0.85, 1.4)) * spine.scale
    organs = _organs(rng, spine, tissues, girth)
    if style is Style.TRAINING and rng.random() < 0.5:
        organs += _strangers(rng, spine)
    return Torso(
        girth=girth,
        fat_mm=float(rng.uniform(6, 14)) + max(0.0, girth - 0.9) * 60,
        wall_mm=float(rng.uniform(9, 18)),
        furrow=float(rng.uniform(0.05, 0.25)),
        organs=tuple(organs),
        dome=float(rng.uniform(15.5, 18.0)),
        arms_raised=bool(rng.random() < 0.75),
    )


def _organs(rng: np.random.Generator, spine: Spine, t: Tissues, girth: float) -> list[Blob]:
    def blob(
        x: float, y: float, rank: float, radii: Point, hu: float, wall: float | None = None, mm: float = 0.0
    ) -> Blob:
        """An organ at x, y mm from the spine at the height of a level, its place and radii (mm) jittered.

        `hu` is the density inside; `wall` that of a wall `mm` thick, where it has one.
        """
        z = height(spine, rank)
        middle = middle_at(spine, z)
        jitter = rng.normal(0, 5, 3)
        size = rng.uniform(0.85, 1.15, 3) * girth
        centre = (middle[0] + x * girth + jitter[0], middle[1] + y * girth + jitter[1], z + jitter[2])
        return Blob(centre, tuple(float(r * f) for r, f in zip(radii, size, strict=True)), wall or hu, hu, mm)  # type: ignore[arg-type]

    gas = -850.0
    out = [
        blob(25, -85, 15.0, (52, 48, 55), t.heart),
        blob(-62, -50, 18.2, (75, 80, 62), t.liver),
        blob(-20, -85, 19.0, (75, 40, 35), t.liver),
        blob(88, -15, 18.5, (30, 42, 48), t.spleen),
        blob(45, -70, 19.0, (42, 34, 40), gas if rng.random() < 0.5 else t.bowel_content, t.spleen, 5.0),
        blob(60, 8, 20.6, (27, 26, 54), t.kidney),
        blob(-60, 8, 21.2, (27, 26, 54), t.kidney),
        blob(0, -95, 29.0, (45, 35, 40), t.fluid, t.bowel, 4.0),
        blob(0, -15, 28.0, (18, 18, 40), t.bowel_content, t.bowel, 4.0),
    ]
    for _ in range(int(rng.integers(22, 45))):
        content = gas if rng.random() < 0.3 else t.bowel_content
        radii = tuple(float(r) for r in rng.uniform(11, 30, 3))
        x, rank = float(rng.uniform(-105, 105)), float(rng.uniform(20.5, 27))
        y = float(rng.uniform(-120, -48)) + (40.0 if abs(x) > 75 else 0.0)
        out.append(blob(x, y, rank, radii, content, t.bowel, 3.0))  # type: ignore[arg-type]
    return out


def _strangers(rng: np.random.Generator, spine: Spine) -> list[Blob]:
    """Ellipsoids of any HU anywhere around the spine: what no anatomy explains."""
    track = spine.track()
    out = []
    for _ in range(int(rng.integers(2, 14))):
        base = track[int(rng.integers(len(track)))]
        centre = base + rng.uniform((-90, -110, -15), (90, 70, 15))
        hu = float(rng.choice([rng.uniform(-150, 200), rng.uniform(100, 1200), rng.uniform(-950, -100)]))
        radii = rng.uniform(5, 26, 3)
        out.append(Blob(tuple(centre), tuple(radii), hu, hu, 0.0, float(rng.choice([0.0, 8.0]))))
    return out


def paint_torso(canvas: Canvas, spine: Spine, torso: Torso, tissues: Tissues) -> None:
    """Paint the body from the skin inwards, without bones."""
    patch = canvas.lattice.everything
    at = canvas.at
    track = spine.track()
    middle = Profile(track[:, 2], track[:, 0]), Profile(track[:, 2], track[:, 1])
    skin = _outline(spine, torso, middle, at)
    patches = canvas.patches
    _paint_arms(canvas, spine, torso, tissues)
    canvas.paint(patch, skin, np.float32(tissues.fat) + 6 * patches)
    canvas.paint(patch, skin + 1, tissues.muscle, edge_mm=1.5)
    canvas.paint(patch, skin + 2.2, np.float32(tissues.fat) + 6 * patches)
    fat = np.float32(torso.fat_mm) * (1 + np.float32(torso.furrow) * np.clip(patches, -1.5, 1.5))
    muscle = np.float32(tissues.muscle) + 8 * patches
    canvas.paint(patch, skin + fat, muscle)
    inner = _cavity(spine, torso, middle, at, skin + fat)
    canvas.paint(patch, inner, np.float32(tissues.fat) + 10 * patches)
    folds = np.maximum(inner + 5, (np.float32(0.7) - np.roll(patches, 7, axis=0)) * 9)
    canvas.paint(patch, folds, np.float32(tissues.bowel) + 10 * patches, edge_mm=4.0)
    for blob in torso.organs:
        _paint_blob(canvas, blob, inner)
    _paint_lungs(canvas, patch, at, spine, torso, tissues, middle, inner)
    _paint_tubes(canvas, spine, tissues)


def _paint_arms(canvas: Canvas, spine: Spine, torso: Torso, tissues: Tissues) -> None:
    for side in (-1.0, 1.0):
        shoulder, elbow = arm(spine, side, raised=torso.arms_raised)
        found = canvas.between(shoulder, elbow, 50 * torso.girth)
        if found is not None:
            limb = capsule(found[1], shoulder, elbow, 48 * torso.girth, end=36 * torso.girth)
            canvas.paint(found[0], limb, tissues.fat)
            canvas.paint(found[0], limb + np.float32(torso.fat_mm * 0.6), tissues.muscle)


def _outline(spine: Spine, torso: Torso, middle: tuple[Profile, Profile], at: Coords) -> Field:
    u, v, w = at
    z = np.array([height(spine, rank) for rank in _RANKS])
    width, depth, back = (Profile(z, np.array(t) * torso.girth) for t in (_WIDTH, _DEPTH, _BACK))
    half = depth(w)
    rear = middle[1](w) + back(w) + np.float32(torso.fat_mm - 8)
    return ellipse(u - middle[0](w) * np.float32(0.6), v - (rear - half), width(w), half)


def _cavity(spine: Spine, torso: Torso, middle: tuple[Profile, Profile], at: Coords, muscle: Field) -> Field:
    """Chest and belly: within the wall, and in front of the back's muscles; closed at the neck."""
    u, v, w = at
    rear = (
        v - middle[1](w) - np.where(w > np.float32(spine.height_of(18.5)), np.float32(34), np.float32(24)) * spine.scale
    )
    beside = np.abs(u - middle[0](w))
    rear = rear + np.float32(0.006) * np.maximum(beside - 40, 0) ** 2 * np.float32(0.6)
    inner = np.maximum(np.maximum(muscle + np.float32(torso.wall_mm), rear), w - np.float32(spine.height_of(8.2)))
    brim = np.array([height(spine, rank) for rank in (23.0, 25.0, 27.0, 31.0)])
    return np.maximum(inner, beside - Profile(brim, np.array([200.0, 108.0, 80.0, 62.0]) * spine.scale)(w))


def _paint_blob(canvas: Canvas, blob: Blob, inner: Field) -> None:
    reach = np.asarray(blob.radii) + blob.edge_mm
    found = canvas.between(blob.centre - reach, blob.centre + reach, 0.0)
    if found is None:
        return
    patch, at = found
    distance = ellipsoid(at, blob.centre, blob.radii)
    inside = np.maximum(distance, inner[patch.slices] + 2) if blob.edge_mm == 0 else distance
    edge = max(blob.edge_mm, canvas.lattice.blur_mm)
    if blob.wall_mm:
        canvas.paint(patch, inside, np.float32(blob.wall) + 6 * canvas.patches[patch.slices], edge_mm=edge)
    content = np.float32(blob.content) + 8 * canvas.patches[patch.slices]
    canvas.paint(patch, inside + np.float32(blob.wall_mm), content, edge_mm=edge)


def _paint_lungs(
    canvas: Canvas, patch: Patch, at: Coords, spine: Spine, torso: Torso, tissues: Tissues,
    middle: tuple[Profile, Profile], inner: Field,
) -> None:  # fmt: skip
    u, v, w = at
    top = np.float32(spine.height_of(torso.dome) + 10)
    if canvas.lattice.bounds[1][2] < top - 90:
        return
    x, y = u - middle[0](w), v - middle[1](w)
    dome = top - np.float32(0.006) * ((np.abs(x) - 65) ** 2 + (y + 50) ** 2) - w
    between = np.minimum(ellipse(x - 8, y + 75, 42.0, 85.0), ellipse(x, y - 8, 24.0, 30.0))
    lungs = np.maximum(np.maximum(inner + 3, dome), -between)
    heart = torso.organs[0]
    lungs = np.maximum(lungs, -ellipsoid(at, heart.centre, heart.radii))
    canvas.paint(patch, lungs, np.float32(tissues.lung) + 35 * canvas.patches + 30 * canvas.grain)


def _paint_tubes(canvas: Canvas, spine: Spine, t: Tissues) -> None:
    """Muscles, airways and vessels that follow the spine."""
    wet = t.muscle + (t.fat - t.muscle) * t.muscle_fat
    psoas = t.muscle + (t.fat - t.muscle) * t.muscle_fat * 0.3
    for side in (-1.0, 1.0):
        for tube in (
            Tube((19.5, 25), (side * 24, 4), (side * 41, -2), (7, 24), psoas),
            Tube((6, 25), (side * 20, 42), (side * 30, 50), (13, 20), wet),
            Tube((1, 12), (side * 22, 31), (side * 22, 42), (13, 12), wet),
            Tube((2, 7), (side * 32, -32), (side * 32, -32), (4, 4), t.aorta),
            Tube((23.2, 25), (side * 8, -26), (side * 44, -26), (6, 6), t.aorta),
        ):
            _paint_tube(canvas, spine, tube)
    for tube in (
        Tube((2, 12), (0, -32), (0, -44), (10, 9), t.bowel),
        Tube((2, 11), (0, -32), (0, -43), (7.5, 7.5), -950.0),
        Tube((9, 20), (2, -24), (2, -27), (7, 7), t.bowel),
        Tube((11, 23.3), (18, -16), (8, -28), (13, 10), t.aorta),
        Tube((16, 23.6), (-16, -24), (-16, -24), (11, 12), t.cava),
    ):
        _paint_tube(canvas, spine, tube)


def _paint_tube(canvas: Canvas, spine: Spine, tube: Tube) -> None:
    first, last = tube.ranks
    nodes = []
    for v in (*spine.vertebrae, spine.sacrum):
        if first <= v.rank <= last:
            x, y, radius = (
                float(np.interp(v.rank, tube.ranks, pair))
                for pair in (*zip(tube.start, tube.stop, strict=True), tube.radius)
            )
            nodes.append((v.centre + np.array([x, y, 0.0]) * spine.scale, radius * spine.scale))
    for (a, ra), (b, rb) in pairwise(nodes):
        found = canvas.between(a, b, max(ra, rb) + 1)
        if found is not None:
            patch, at = found
            value = np.float32(tube.hu) + 8 * canvas.patches[patch.slices]
            canvas.paint(patch, capsule(at, a, b, ra, end=rb), value)
