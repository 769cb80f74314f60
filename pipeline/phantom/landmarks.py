"""Where things lie along the body: heights of ranks, the middle of the spine at a height, shoulders and elbows."""

from __future__ import annotations

import numpy as np

from pipeline.grid import Floats
from pipeline.phantom.spine import Spine

RANK_MM = 23.0
"""Height of a rank above C1 and below S1."""


def height(spine: Spine, rank: float) -> float:
    """Height in mm of a rank (C1 = 1, T1 = 8, L1 = 20, S1 = 25), continued above and below the spine."""
    above, below = max(0.0, 1 - rank), max(0.0, rank - 25)
    return spine.height_of(min(max(rank, 1.0), 25.0)) + (above - below) * RANK_MM


def middle_at(spine: Spine, z: float) -> tuple[float, float]:
    """Left and posterior coordinate of the bodies' middles at a height, in mm."""
    track = spine.track()
    return float(np.interp(z, track[:, 2], track[:, 0])), float(np.interp(z, track[:, 2], track[:, 1]))


def arm(spine: Spine, side: float, *, raised: bool) -> tuple[Floats, Floats]:
    """Shoulder and elbow of one side (+1 left), beside the body or above the head."""
    k, z = spine.scale, height(spine, 9.0) + 14
    x, y = middle_at(spine, z)
    shoulder = np.array([x + side * 160 * k, y - 5, z])
    reach = (side * 5, -15, 250 * k) if raised else (side * 38 * k, 8, -260 * k)
    return shoulder, shoulder + np.array(reach)
