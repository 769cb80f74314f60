"""Lesions: planned in the frame of a vertebra, so that the same lesion can grow from one study to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import label, maximum_filter

from pipeline.phantom.canvas import Canvas
from pipeline.phantom.shapes import Coords, Field, Point, coverage, ellipsoid, rotation_xyz
from pipeline.phantom.spine import Spine, Vertebra

Kind = Literal["lytic", "blastic", "mixed"]
SOFT_TISSUE_HU = -10.0
"""No lytic lesion is darker than this."""


@dataclass(frozen=True)
class LesionPlan:
    """One lesion before it is painted."""

    level: str
    """Name of the vertebra."""
    kind: Kind
    """What it does to the bone."""
    centre: Point
    """In the frame of the vertebra, mm."""
    radii: Point
    """Half axes in mm."""
    turn: Point
    """Pitch, roll and yaw of its axes in the frame of the vertebra, degrees."""
    contrast_hu: float
    """HU against trabecular bone of its level: negative where lytic; where mixed, that of the dense part."""
    ripple: float = 0.0
    """Share of its size by which its surface bulges; 0 is an ellipsoid."""
    edge_mm: float = 0.0
    """How blurred its margin is; 0: over one voxel."""
    destroys_cortex: bool = True
    """Whether cortex within it is gone (lytic) or overgrown (blastic)."""
    grain: float = 0.1
    """Standard deviation of its texture as a share of its contrast."""


@dataclass(frozen=True)
class PhantomLesion:
    """One lesion as it is in the masks."""

    instance: int
    """Its value in `Phantom.lesions`."""
    kind: Kind
    """lytic, blastic or mixed."""
    level: str
    """Name of the level that it lies in."""
    centre_mm: Point
    """Centroid of its voxels in LPS."""
    volume_mm3: float
    """Of its voxels."""
    contrast_hu: float
    """Mean HU against trabecular bone of its level, as planned: of the dense part where it is mixed."""
    plan: int
    """Which of the plans it came from, from 0."""


def lesion_distance(plan: LesionPlan, vertebra: Vertebra, at: Coords) -> Field:
    """Distance to the lesion's surface at points of the frame of its vertebra, not yet cut by the bone's surface."""
    turn = rotation_xyz(*plan.turn)
    u, v, w = (x - np.float32(c) for x, c in zip(at, plan.centre, strict=True))
    x, y, z = (np.float32(a) * u + np.float32(b) * v + np.float32(c) * w for a, b, c in turn.T)
    own: Coords = (x, y, z)
    distance = ellipsoid(own, (0.0, 0.0, 0.0), plan.radii)
    if plan.ripple:
        wave = np.float32(2.6 / np.mean(plan.radii))
        phase = np.float32(vertebra.phase + plan.centre[0])
        bulge = np.sin(own[0] * wave + phase) + np.sin(own[1] * wave + 2 * phase) + np.sin(own[2] * wave + 3 * phase)
        distance = distance + bulge * np.float32(plan.ripple * np.mean(plan.radii) / 2)
    return distance


def paint_lesions(
    canvas: Canvas, spine: Spine, plans: tuple[LesionPlan, ...], trabecular: dict[int, float], cortex_mm: float
) -> list[tuple[int, int]]:
    """Paint lesions and number those that are in view, from 1; each is one connected piece of its level."""
    stack = {v.name: v for v in (*spine.vertebrae, spine.sacrum)}
    found: list[tuple[int, int]] = []
    for number, plan in enumerate(plans):
        vertebra = stack.get(plan.level)
        if vertebra is None:
            continue
        reach = np.full(3, max(plan.radii) * 1.4 + plan.edge_mm + 1)
        patch = canvas.lattice.box(-reach, reach, centre=vertebra.place(plan.centre))
        if patch is None:
            continue
        at = patch.coords(vertebra.centre, vertebra.rotation)
        distance = lesion_distance(plan, vertebra, at)
        own = canvas.levels[patch.slices] == vertebra.number
        inside = largest_piece((distance <= 0) & own & (canvas.lesions[patch.slices] == 0))
        if not inside.any():
            continue
        instance = len(found) + 1
        canvas.lesions[patch.slices][inside] = instance
        bone = canvas.bone[patch.slices]
        edge = max(plan.edge_mm, canvas.lattice.blur_mm)
        cover = np.minimum(
            coverage(distance, edge),
            coverage(bone + (0.0 if plan.destroys_cortex else cortex_mm), canvas.lattice.blur_mm),
        )
        block = canvas.hu[patch.slices]
        grain = canvas.grain[patch.slices]
        near = own & maximum_filter(inside, 3)
        block += cover * near * (_content(plan, trabecular[vertebra.number], distance, grain, block) - block)
        found.append((instance, number))
    return found


def largest_piece(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The largest 26-connected component: a lesion that the canal would cut in two stays on its larger side."""
    pieces, count = label(mask, structure=np.ones((3, 3, 3)))
    if count < 2:
        return mask
    return np.asarray(pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:])))


def _content(plan: LesionPlan, trabecular: float, distance: Field, grain: Field, block: Field) -> Field:
    texture = grain * np.float32(plan.grain * abs(plan.contrast_hu))
    value = np.float32(trabecular + plan.contrast_hu) + texture
    if plan.kind == "lytic":
        return np.minimum(value, block + 50)
    if plan.kind == "blastic":
        return np.maximum(value, block)
    core = np.float32(max(trabecular - abs(plan.contrast_hu), SOFT_TISSUE_HU)) + texture
    rim = coverage(np.abs(distance + np.float32(min(plan.radii) * 0.2)) - np.float32(min(plan.radii) * 0.25), 2.0)
    return core + rim * (value - core)


def draw_lesion(
    rng: np.random.Generator, vertebra: Vertebra, trabecular: float, *, min_contrast_hu: float, min_lesion_mm3: float
) -> LesionPlan:
    """A lesion of a vertebra, lytic only where its bone is dense enough to be darker by `min_contrast_hu`."""
    room = trabecular - SOFT_TISSUE_HU
    kinds: list[Kind] = ["lytic", "blastic", "mixed"] if room > min_contrast_hu else ["blastic"]
    kind = kinds[int(rng.choice(len(kinds), p=[0.45, 0.4, 0.15] if len(kinds) == 3 else [1.0]))]
    if kind == "blastic":
        contrast = float(min_contrast_hu + rng.gamma(2.0, 110.0))
    elif kind == "lytic":
        contrast = -float(rng.uniform(min_contrast_hu, min(room, min_contrast_hu + 180)))
    else:
        contrast = float(rng.uniform(min_contrast_hu * 1.2, min_contrast_hu * 1.2 + 250))
    s = vertebra.sizes
    size = float(np.cbrt(min_lesion_mm3 * 3 / (4 * np.pi))) * float(rng.uniform(1.08, 1.0 + 1.0 * s.width / 45))
    stretch = rng.uniform(0.8, 1.25, 3)
    radii = size * stretch / np.cbrt(np.prod(stretch))
    return LesionPlan(
        level=vertebra.name,
        kind=kind,
        centre=_site(rng, vertebra, radii),
        radii=(float(radii[0]), float(radii[1]), float(radii[2])),
        turn=(float(rng.uniform(-40, 40)), float(rng.uniform(-40, 40)), float(rng.uniform(-90, 90))),
        contrast_hu=contrast,
        ripple=float(rng.uniform(0, 0.25)),
        edge_mm=float(rng.uniform(0, 4)),
        destroys_cortex=bool(rng.random() < 0.6),
        grain=float(rng.uniform(0.03, 0.2)),
    )


def _site(rng: np.random.Generator, vertebra: Vertebra, radii: object) -> Point:
    """Mostly in the body, sometimes about a pedicle or in a process (C1: a lateral mass; sacrum: body or wing)."""
    s = vertebra.sizes
    side = float(rng.choice((-1, 1)))
    if vertebra.name == "C1":
        return side * s.width, -1.0, 0.0
    if vertebra.name == "SACRUM" and rng.random() < 0.6:
        return side * float(rng.uniform(22, 42)), float(rng.uniform(0, 8)), float(rng.uniform(-22, -4))
    where = rng.random()
    if where < 0.12:
        return side * s.canal_width * 0.55, s.depth / 2 + s.canal_depth * 0.3, s.height * 0.15
    if where < 0.2 and s.spinous > 18:
        return 0.0, s.depth / 2 + s.canal_depth + s.spinous * 0.35, -s.height * 0.25
    spread = np.array([s.width, s.depth, s.height]) / 2 - 0.7 * np.asarray(radii)
    x, y, z = rng.uniform(-1, 1, 3) * np.maximum(spread, 0.5)
    return float(x), float(y), float(z)
