"""What lesions do from one study to the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.grid import Floats, Grid
from pipeline.phantom.anatomy import Patient
from pipeline.phantom.lesions import LesionPlan
from pipeline.phantom.planning import plan_lesions
from pipeline.phantom.shapes import IDENTITY

_FACTOR = {"stable": 1.0, "grown": 1.22, "shrunk": 0.84}
"""On the half axes: +82 % and -41 % of volume."""


def change_lesions(
    rng: np.random.Generator, patient: Patient, grid: Grid, before: dict[str, LesionPlan], *, prefix: str,
    pose: Floats = IDENTITY,
) -> tuple[dict[str, LesionPlan], dict[str, str]]:  # fmt: skip
    """The lesions of a follow-up by the name of their track, and what each did: stable, grown, shrunk or new.

    The first grows, the second is gone, others do as they like, one is new (named `prefix`-n).
    """
    plans: dict[str, LesionPlan] = {}
    changes: dict[str, str] = {}
    for i, (track, plan) in enumerate(before.items()):
        if i == 1:
            continue
        change = "grown" if i == 0 else str(rng.choice(list(_FACTOR)))
        x, y, z = (r * _FACTOR[change] for r in plan.radii)
        plans[track], changes[track] = replace(plan, radii=(x, y, z)), change
    new = plan_lesions(
        rng, patient.spine, grid, patient.tissues, 1, min_contrast_hu=140.0, min_lesion_mm3=600.0, pose=pose,
        others=tuple(before.values()),
    )  # fmt: skip
    for i, plan in enumerate(new, len(before) + 1):
        plans[f"{prefix}-{i}"], changes[f"{prefix}-{i}"] = plan, "new"
    return plans, changes
