"""A phantom: a CT volume of a spine and everything around it, with the truth about every voxel.

The patient's frame is LPS (x left, y posterior, z superior) with the middle of L3 at the origin. Labels come from the
shapes at the centres of the asked grid's voxels, so finer grids converge to the same anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.grid import Grid, Triple, Volume
from pipeline.phantom.appearance import Style, Tissues, draw_tissues
from pipeline.phantom.bones import paint_spine
from pipeline.phantom.canvas import Canvas
from pipeline.phantom.extras import paint_hardware, paint_table
from pipeline.phantom.field_of_view import Fov, draw_extent, draw_fov, extent_of_levels, grid_of
from pipeline.phantom.lesions import LesionPlan, PhantomLesion, paint_lesions
from pipeline.phantom.planning import plan_lesions
from pipeline.phantom.scanner import Scanner, draw_scanner, scan
from pipeline.phantom.shapes import Lattice
from pipeline.phantom.skeleton import paint_skeleton
from pipeline.phantom.spine import Spine, draw_spine
from pipeline.phantom.torso import Torso, draw_torso, paint_torso


@dataclass(frozen=True)
class Phantom:
    """One scan of one phantom, with its truth."""

    volume: Volume
    """float32 HU before the scanner's quantisation; axes z, y, x."""
    levels: npt.NDArray[np.uint8]
    """[z, y, x] numbers of `schemas.spine`: whole vertebrae with their processes; the sacrum with the coccyx is 26."""
    parts: npt.NDArray[np.uint8]
    """[z, y, x] values of `Part`."""
    lesions: npt.NDArray[np.uint16]
    """[z, y, x] instances from 1."""
    lesion_table: tuple[PhantomLesion, ...]
    """A row per instance."""


@dataclass(frozen=True)
class Patient:
    """One body: what stays the same from one study to the next."""

    spine: Spine
    """Vertebrae and sacrum."""
    torso: Torso
    """Soft tissue."""
    tissues: Tissues
    """HU of each structure."""
    hardware: bool
    """Whether there are screws."""
    table: bool
    """Whether the scanner's table is in the picture."""
    seed: int
    """Of textures and small shapes that stay the same."""


def draw_patient(seed: int, style: Style) -> Patient:
    """The body of a seed."""
    rng = np.random.default_rng((seed, 1))
    spine, tissues = draw_spine(rng), draw_tissues(rng, style)
    torso = draw_torso(rng, spine, tissues, style)
    hardware = bool(rng.random() < (0.07 if style is Style.TRAINING else 0.0))
    return Patient(spine, torso, tissues, hardware, bool(rng.random() < 0.7), seed)


def draw_phantom(
    seed: int,
    *,
    style: Style = Style.TRAINING,
    spacing_mm: Triple = (3.0, 3.0, 3.0),
    fov: Fov | None = None,
    levels: tuple[str, str] | None = None,
    in_plane_mm: tuple[float, float] = (170.0, 170.0),
    n_lesions: int | None = None,
    min_contrast_hu: float = 120.0,
    min_lesion_mm3: float = 500.0,
) -> Phantom:
    """The phantom of a seed: same arguments, same voxels.

    Args:
        seed: decides everything that the other arguments leave open.
        style: how wide appearance varies.
        spacing_mm: of the grid, along z, y, x.
        fov: what the scan covers; drawn where None.
        levels: first and last level that the scan must hold, instead of `fov`; then `in_plane_mm` (y, x) is its width.
        in_plane_mm: see `levels`.
        n_lesions: how many to plan; drawn (0 to 8) where None. Fewer fit where the field of view is small.
        min_contrast_hu: least difference of a lesion to trabecular bone.
        min_lesion_mm3: least volume of a lesion within its bone.

    Raises:
        ValueError: the spine of this seed lacks one of `levels`.
    """
    patient = draw_patient(seed, style)
    rng = np.random.default_rng((seed, 2))
    if levels is not None:
        extent = extent_of_levels(patient.spine, *levels, in_plane_mm)
    else:
        extent = draw_extent(rng, patient.spine, fov or draw_fov(rng))
    grid = grid_of(extent, spacing_mm)
    count = int(rng.choice([0, int(rng.integers(1, 9))], p=[0.25, 0.75])) if n_lesions is None else n_lesions
    plans = plan_lesions(
        rng, patient.spine, grid, patient.tissues, count, min_contrast_hu=min_contrast_hu, min_lesion_mm3=min_lesion_mm3
    )
    return render(patient, grid, plans, draw_scanner(rng, style, spacing_mm), seed=seed)


def render(
    patient: Patient, grid: Grid, plans: tuple[LesionPlan, ...], scanner: Scanner, *, seed: int,
    pose: npt.NDArray[np.float64] | None = None,
) -> Phantom:  # fmt: skip
    """A scan of a patient with lesions on any grid; `seed` is of its noise, `pose` turns the patient about LPS 0."""
    lattice = Lattice.of(grid, np.eye(3) if pose is None else pose)
    # One generator for each painter: what one draws must not depend on how many voxels another has filled.
    streams = [np.random.default_rng((patient.seed, 3, i)) for i in range(5)]
    canvas = Canvas(lattice, streams[0])
    if patient.table:
        paint_table(canvas, patient.spine, streams[1])
    paint_torso(canvas, patient.spine, patient.torso, patient.tissues)
    paint_skeleton(canvas, patient.spine, patient.tissues, streams[2], patient.torso)
    trabecular = paint_spine(canvas, patient.spine, patient.tissues, streams[3])
    painted = paint_lesions(canvas, patient.spine, plans, trabecular, patient.tissues.cortex_mm)
    if patient.hardware:
        paint_hardware(canvas, patient.spine, patient.tissues, streams[4])
    hu = scan(canvas.hu, grid.spacing_mm, scanner, np.random.default_rng((seed, 4)))
    table = tuple(_row(instance, number, plans[number], canvas.lesions, grid) for instance, number in painted)
    return Phantom(Volume(hu, grid), canvas.levels, canvas.parts, canvas.lesions, table)


def _row(instance: int, number: int, plan: LesionPlan, lesions: npt.NDArray[np.uint16], grid: Grid) -> PhantomLesion:
    index = np.argwhere(lesions == instance)
    x, y, z = grid.to_lps(index.mean(axis=0))
    centre = (float(x), float(y), float(z))
    volume = len(index) * grid.voxel_mm3
    return PhantomLesion(instance, plan.kind, plan.level, centre, volume, plan.contrast_hu, number)
