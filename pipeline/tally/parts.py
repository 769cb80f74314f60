"""Body and posterior elements of one vertebra, and what lesions take of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.grid import Floats, Grid
from pipeline.masks import BODY, POSTERIOR, LevelMask
from pipeline.regions import Bools, Labels, Region, mean_index
from pipeline.tally.collapse import body_heights

MIDLINE_MM = 5.0
"""Half the width of the midline: what lies in it (the spinous process) belongs to neither side. Fisher 2010 counts
facets, pedicles and costovertebral joints; the width is this project's own, to be confirmed."""


@dataclass(frozen=True)
class BodyParts:
    """One vertebra in its two parts."""

    body_heights: Floats | None
    """Of the body, in mm: anterior, middle, posterior; None without a body."""
    body_voxels: int
    """Voxels of the body."""
    body_involved_fraction: float | None
    """Share of the body that lesions take; None without a body, or where lesions were not looked for."""
    posterior_involvement: str | None
    """none, unilateral or bilateral; None where it cannot be told."""


def body_parts(region: Region, *, levels: LevelMask, lesions: Labels | None, grid: Grid) -> BodyParts | None:
    """The parts of a vertebra; None where the model does not tell them apart."""
    if levels.parts is None:
        return None
    parts = levels.parts[region.box]
    body, posterior = region.mask & (parts == BODY), region.mask & (parts == POSTERIOR)
    n_body = int(np.count_nonzero(body))
    heights = body_heights(body, grid) if n_body else None
    if lesions is None:
        return BodyParts(heights, n_body, None, None)
    lesion = lesions[region.box] > 0
    involved = float(np.count_nonzero(lesion & body)) / n_body if n_body else None
    return BodyParts(heights, n_body, involved, _involvement(body, posterior, lesion & posterior, grid))


def _involvement(body: Bools, posterior: Bools, lesion: Bools, grid: Grid) -> str | None:
    """On how many sides of the mid-sagittal plane lesions lie in posterior elements."""
    if not body.any() or not posterior.any():
        return None
    middle = np.asarray(mean_index(body))
    backwards = _displacement(np.asarray(mean_index(posterior)) - middle, grid)
    across = _displacement(np.argwhere(lesion) - middle, grid) @ _leftwards(backwards)
    n_sides = int((across > MIDLINE_MM).any()) + int((across < -MIDLINE_MM).any())
    return ("none", "unilateral", "bilateral")[n_sides]


def _leftwards(backwards: Floats) -> Floats:
    """Unit vector at right angles to the mid-sagittal plane, which holds superior and the line from body to arch."""
    left = np.cross(backwards, (0.0, 0.0, 1.0))
    length = float(np.linalg.norm(left))
    return left / length if length > 0 else np.array([1.0, 0.0, 0.0])


def _displacement(steps: Floats, grid: Grid) -> Floats:
    """Differences of array indices (..., 3) as x, y, z in mm."""
    return steps[..., ::-1] @ grid.matrix.T
