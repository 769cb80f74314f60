"""Where lesions go: in vertebrae that are in view, large enough, and apart from one another."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.grid import Floats, Grid
from pipeline.phantom.appearance import Tissues
from pipeline.phantom.lesions import LesionPlan, draw_lesion, largest_piece, lesion_distance
from pipeline.phantom.sacrum import sacrum_shape
from pipeline.phantom.shapes import IDENTITY, Lattice
from pipeline.phantom.spine import Spine, Vertebra
from pipeline.phantom.vertebra import shape_of

_TRIES = 6


def plan_lesions(
    rng: np.random.Generator, spine: Spine, grid: Grid, tissues: Tissues, count: int, *,
    min_contrast_hu: float, min_lesion_mm3: float, pose: Floats = IDENTITY, others: tuple[LesionPlan, ...] = (),
) -> tuple[LesionPlan, ...]:  # fmt: skip
    """Up to `count` lesions in view, apart from one another and from `others`."""
    lattice = Lattice.of(grid, pose)
    named = {v.name: v for v in (*spine.vertebrae, spine.sacrum)}
    stack = [v for v in named.values() if _in_view(lattice, v.centre, 4.0)]
    taken = [(named[other.level].place(other.centre), max(other.radii)) for other in others]
    plans: list[LesionPlan] = []
    for _ in range(count * _TRIES if stack else 0):
        if len(plans) == count:
            break
        vertebra = stack[int(rng.integers(len(stack)))]
        mean = tissues.sacrum if vertebra.name == "SACRUM" else tissues.trabecular
        plan = draw_lesion(rng, vertebra, mean, min_contrast_hu=min_contrast_hu, min_lesion_mm3=min_lesion_mm3)
        fitted = _grown(plan, vertebra, min_lesion_mm3)
        if fitted is None:
            continue
        centre, reach = vertebra.place(fitted.centre), max(fitted.radii)
        if _in_view(lattice, centre, reach) and all(_apart(centre, reach, *other) for other in taken):
            plans.append(fitted)
            taken.append((centre, reach))
    return tuple(plans)


def _in_view(lattice: Lattice, point: Floats, margin_mm: float) -> bool:
    index = lattice.to_index @ (point - lattice.origin)
    margin = margin_mm / np.asarray(lattice.spacing_mm)
    return bool(((index >= margin) & (index <= np.asarray(lattice.shape) - 1 - margin)).all())


def _apart(a: Floats, reach_a: float, b: Floats, reach_b: float) -> bool:
    """Whether two lesions stay apart, also when both have grown by a quarter."""
    return float(np.linalg.norm(a - b)) > 1.25 * (reach_a + reach_b) + 4


def _grown(plan: LesionPlan, vertebra: Vertebra, min_mm3: float) -> LesionPlan | None:
    """The lesion, enlarged until enough of it lies in its bone; None where it does not fit."""
    for _ in range(4):
        volume = planned_volume(plan, vertebra)
        if volume >= min_mm3 * 1.05:
            return plan
        factor = float(np.clip(np.cbrt(min_mm3 * 1.15 / max(volume, 1.0)), 1.03, 1.3))
        plan = replace(plan, radii=(plan.radii[0] * factor, plan.radii[1] * factor, plan.radii[2] * factor))
    return None


def planned_volume(plan: LesionPlan, vertebra: Vertebra, step_mm: float = 1.25) -> float:
    """Volume in mm3 of the lesion within its bone, counted on a lattice of `step_mm` in the frame of the vertebra."""
    reach = max(plan.radii) * 1.4 + 1
    n = int(2 * reach / step_mm) + 1
    origin = np.asarray(plan.centre) - reach
    lattice = Lattice((n, n, n), np.eye(3)[:, ::-1] * step_mm, origin, (step_mm,) * 3)
    at = lattice.everything.coords()
    bone = sacrum_shape(vertebra, at) if vertebra.name == "SACRUM" else shape_of(vertebra, at).whole
    inside = largest_piece((bone <= 0) & (lesion_distance(plan, vertebra, at) <= 0))
    return float(np.count_nonzero(inside)) * step_mm**3
