"""The spine painted on the canvas: canal and cord, discs, vertebrae and the sacrum, with their labels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.phantom.appearance import Tissues
from pipeline.phantom.canvas import Canvas, Part
from pipeline.phantom.sacrum import sacrum_extent, sacrum_shape
from pipeline.phantom.shapes import Field, Patch, capsule, coverage, ellipse, ellipsoid
from pipeline.phantom.spine import Spine, Vertebra
from pipeline.phantom.vertebra import VertebraShape, body_distance, canal_distance, extent, shape_of


def paint_spine(canvas: Canvas, spine: Spine, tissues: Tissues, rng: np.random.Generator) -> dict[int, float]:
    """Paint all that is in view; gives the HU of trabecular bone of each level."""
    trabecular = {
        v.number: tissues.trabecular + float(rng.normal(0, tissues.trabecular_spread)) for v in spine.vertebrae
    }
    trabecular[spine.sacrum.number] = tissues.sacrum
    for vertebra in spine.vertebrae:
        _paint_canal(canvas, vertebra, tissues)
    _paint_cord(canvas, spine, tissues)
    for upper, lower in pairwise((*spine.vertebrae, spine.sacrum)):
        if upper.name != "C1":
            _paint_disc(canvas, upper, lower, tissues)
    _paint_sacrum(canvas, spine.sacrum, tissues)
    for vertebra in reversed(spine.vertebrae):
        _paint_vertebra(canvas, vertebra, tissues, trabecular[vertebra.number])
    return trabecular


def _paint_canal(canvas: Canvas, vertebra: Vertebra, tissues: Tissues) -> None:
    s = vertebra.sizes
    reach = s.height / 2 + s.disc + 3
    low = (-s.canal_width, s.depth / 2 - 4, -reach)
    high = (s.canal_width, s.depth / 2 + s.canal_depth + 4, reach)
    patch = canvas.lattice.box(low, high, centre=vertebra.centre, rotation=vertebra.rotation)
    if patch is None:
        return
    at = patch.coords(vertebra.centre, vertebra.rotation)
    tube = np.maximum(canal_distance(s, at), np.abs(at[2]) - np.float32(reach))
    canvas.paint(patch, tube, tissues.fat * 0.6)
    canvas.paint(patch, tube + np.float32(2.0), tissues.csf)
    canvas.mark(patch, tube, Part.CANAL)


def _paint_cord(canvas: Canvas, spine: Spine, tissues: Tissues) -> None:
    """The cord, from the skull to L1 or L2."""
    run = [v for v in spine.vertebrae if v.rank < 21]
    for upper, lower in pairwise(run):
        a, b = (v.place((0.0, v.sizes.depth / 2 + v.sizes.canal_depth / 2, 0.0)) for v in (upper, lower))
        found = canvas.between(a, b, 6.0)
        if found is not None:
            canvas.paint(found[0], capsule(found[1], a, b, 4.6), tissues.cord)


def _paint_disc(canvas: Canvas, upper: Vertebra, lower: Vertebra, tissues: Tissues) -> None:
    """A disc fills what two bodies leave between them; the bodies are painted over it."""
    s = upper.sizes
    bottom = upper.place((0.0, 0.0, -s.height / 2))
    top = lower.place((0.0, 0.0, lower.sizes.height / 2))
    middle, rotation = (bottom + top) / 2, upper.rotation
    half = s.disc / 2 + 4.5
    reach = (s.width / 2 + 4, s.depth / 2 + 4, half)
    patch = canvas.lattice.box([-r for r in reach], reach, centre=middle, rotation=rotation)
    if patch is None:
        return
    u, v, w = patch.coords(middle, rotation)
    bulge = 1.0 + 0.8 * (s.disc < 4)
    wall = ellipse(u, v, s.width / 2 + bulge, s.depth / 2 + bulge)
    disc = np.maximum(wall, np.abs(w) - np.float32(half))
    canvas.paint(patch, disc, tissues.disc)
    canvas.paint(patch, np.maximum(ellipse(u, v, s.width * 0.3, s.depth * 0.3), np.abs(w) - half), tissues.nucleus)
    if upper.wear.vacuum:
        gas = ellipse(u - 4, v + 3, s.width * 0.25, s.depth * 0.2)
        canvas.paint(patch, np.maximum(gas, np.abs(w) - np.float32(max(s.disc * 0.25, 0.7))), -600.0)
    canvas.mark(patch, disc, Part.DISC)


def _paint_vertebra(canvas: Canvas, vertebra: Vertebra, tissues: Tissues, trabecular: float) -> None:
    low, high = extent(vertebra)
    patch = canvas.lattice.box(low, high, centre=vertebra.centre, rotation=vertebra.rotation)
    if patch is None:
        return
    shape = shape_of(vertebra, patch.coords(vertebra.centre, vertebra.rotation))
    whole = np.maximum(shape.whole, np.float32(tissues.joint_gap_mm) - canvas.bone[patch.slices])
    canvas.paint(patch, whole - np.float32(0.8), tissues.cartilage, edge_mm=canvas.lattice.blur_mm)
    in_body = np.clip(np.float32(0.5) - shape.body / 3, 0, 1)
    inside = tissues.arch + in_body * np.float32(trabecular - tissues.arch)
    wall = tissues.cortex_arch + in_body * np.float32(tissues.cortex - tissues.cortex_arch)
    plate = np.clip(1 - shape.endplate / 3, 0, 1) * in_body
    body_mm = np.float32(tissues.cortex_mm) + plate * np.float32(tissues.endplate_mm - tissues.cortex_mm)
    thick = tissues.cortex_arch_mm + in_body * (body_mm - np.float32(tissues.cortex_arch_mm))
    inside = inside + np.clip(1 - shape.endplate / 6, 0, 1) * in_body * np.float32(vertebra.wear.endplate_sclerosis)
    paint_bone(canvas, patch, whole, inside, wall, thick, tissues)
    _paint_spots(canvas, patch, vertebra, shape.body, tissues)
    _label(canvas, patch, whole, shape, vertebra)


def _paint_spots(canvas: Canvas, patch: Patch, vertebra: Vertebra, body: Field, tissues: Tissues) -> None:
    """What looks like a lesion and is none: the vein's channel behind, and bone islands."""
    s, wear = vertebra.sizes, vertebra.wear
    if vertebra.name == "C1" or not (wear.vein or wear.islands):
        return
    at = patch.coords(vertebra.centre, vertebra.rotation)
    if wear.vein:
        channel = capsule(at, (0.0, s.depth / 2, 0.0), (0.0, s.depth * 0.12, 0.0), 2.2, end=0.8, tall=0.8)
        dark = canvas.hu[patch.slices] * np.float32(1 - wear.vein) + np.float32(wear.vein * tissues.cava)
        canvas.paint(patch, np.maximum(channel, body), np.minimum(dark, canvas.hu[patch.slices]))
    for x, y, z, radius in wear.islands:
        spot = ellipsoid(at, (x * s.width / 2, y * s.depth / 2, z * s.height / 2), (radius, radius, radius))
        canvas.paint(patch, np.maximum(spot, body), tissues.cortex)


def paint_bone(
    canvas: Canvas, patch: Patch, whole: Field, inside: Any, wall: Any, thick: Any, tissues: Tissues
) -> None:
    """Trabecular bone of `inside` HU within a shell of `wall` HU that is `thick` mm, thinner than a voxel or not."""
    grain = canvas.grain[patch.slices] * np.float32(tissues.trabecular_grain)
    marrow = inside + grain + canvas.patches[patch.slices] * np.float32(tissues.marrow_patches)
    blur = canvas.lattice.blur_mm
    outer, inner = coverage(whole, blur), coverage(whole + thick, blur)
    block = canvas.hu[patch.slices]
    block += outer * (wall - block) + inner * (marrow - wall)


def _label(canvas: Canvas, patch: Patch, whole: Field, shape: VertebraShape, vertebra: Vertebra) -> None:
    inside = whole <= 0
    canvas.levels[patch.slices][inside] = vertebra.number
    canvas.parts[patch.slices][inside] = np.where(shape.body <= 0, Part.BODY, Part.ARCH)[inside]
    np.minimum(canvas.bone[patch.slices], whole, out=canvas.bone[patch.slices])


def _paint_sacrum(canvas: Canvas, sacrum: Vertebra, tissues: Tissues) -> None:
    low, high = sacrum_extent(sacrum)
    patch = canvas.lattice.box(low, high, centre=sacrum.centre, rotation=sacrum.rotation)
    if patch is None:
        return
    at = patch.coords(sacrum.centre, sacrum.rotation)
    shape = sacrum_shape(sacrum, at)
    canvas.paint(patch, shape - np.float32(max(tissues.joint_gap_mm, 0.2)), tissues.cartilage)
    body, _ = body_distance(sacrum, at)
    in_body = np.clip(np.float32(0.5) - body / 4, 0, 1)
    wall = tissues.cortex_arch * 0.7 + in_body * np.float32(tissues.cortex - tissues.cortex_arch * 0.7)
    thick = tissues.cortex_arch_mm * 0.6 + in_body * np.float32(tissues.endplate_mm - tissues.cortex_arch_mm * 0.6)
    paint_bone(canvas, patch, shape, tissues.sacrum, wall, thick, tissues)
    inside = shape <= 0
    canvas.levels[patch.slices][inside] = sacrum.number
    canvas.parts[patch.slices][inside] = Part.SACRUM
    np.minimum(canvas.bone[patch.slices], shape, out=canvas.bone[patch.slices])
