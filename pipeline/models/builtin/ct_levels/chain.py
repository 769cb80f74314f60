"""The vertebrae of a scan in order: middles of bodies, joined from the head down by the best chain.

A chain is scored by the seed scores of its members less a penalty for every step without a disc in it or too long
for one vertebra, so that doubles within a body, hips and vessels stay out. Points are z, y, x in mm on the network's
grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.grid import Floats
from pipeline.models.builtin.ct_levels.fields import Fields
from pipeline.models.builtin.ct_levels.network import SPACING_MM

_LEAST_SCORE, _LEAST_CENTRE = 0.12, 0.3
_COST = 0.10
"""What a member must bring at least."""
_NEAREST_MM, _FARTHEST_MM = 12.0, 62.0
_USUAL_MM = 42.0
"""Lumbar bodies with their disc are rarely higher."""
_MOST_SEEDS = 200
_DEEP_MM = 9.0
"""Half the height of a body, about."""
_NO_DISC = 0.8
"""Penalty of a step without a disc."""


@dataclass(frozen=True)
class Chain:
    """Vertebrae from the head down."""

    points: Floats
    """(n, 3) middles as z, y, x in mm."""
    gaps: tuple[int, ...]
    """Steps i -> i + 1 that seem to miss a vertebra."""

    @property
    def whole(self) -> bool:
        """Whether no vertebra seems to be missing in between."""
        return not self.gaps


def find_chain(fields: Fields) -> Chain:
    """The vertebrae in view, head first; empty where there is none."""
    points, scores = _seeds(fields)
    if not len(points):
        return Chain(np.zeros((0, 3)), ())
    order = np.argsort(-points[:, 0])
    points, scores = points[order], scores[order]
    picked = _best_path(points, scores, Between(fields))
    return _filled(points[picked], fields)


def _seeds(fields: Fields) -> tuple[Floats, Floats]:
    """Maxima of the seed score and of the centre score alone: points in mm, and their seed scores."""
    score = _seed_score(fields)
    centre = ndimage.gaussian_filter(fields.centre.astype(np.float32), 0.7)
    peak = np.zeros(score.shape, dtype=bool)
    for one, least in ((score, _LEAST_SCORE), (centre, _LEAST_CENTRE)):
        peak |= (one == ndimage.maximum_filter(one, size=5)) & (one > least)
    index, values = np.argwhere(peak), score[peak]
    best = np.argsort(-values)[:_MOST_SEEDS]
    return np.asarray(index[best] * SPACING_MM, dtype=np.float64), values[best].astype(np.float64)


def _seed_score(fields: Fields) -> npt.NDArray[np.float32]:
    """Half the network's centre score, half how deep a point lies within a body that discs bound."""
    body = fields.of("body") > np.maximum(fields.of("disc"), 0.5)
    depth = ndimage.distance_transform_edt(body, sampling=SPACING_MM)
    deep = np.minimum(np.asarray(depth, dtype=np.float32) / _DEEP_MM, 1)
    score = ndimage.gaussian_filter(0.5 * fields.centre.astype(np.float32) + 0.5 * deep, 0.8)
    return np.asarray(score, dtype=np.float32)


class Between:
    """What lies between two points of a chain."""

    def __init__(self, fields: Fields) -> None:
        self.disc = ndimage.uniform_filter(fields.of("disc").astype(np.float32), size=(1, 3, 3))
        self.body = fields.of("body")

    def penalty(self, a: Floats, b: Floats) -> float:
        """Up to `_NO_DISC` where no disc lies between, and more the longer the step is than usual."""
        length = float(np.linalg.norm(a - b))
        too_long = 0.03 * max(0.0, length - _USUAL_MM)
        if self.body[tuple((a / SPACING_MM).astype(int))] < 0.3:  # C1 stands on C2 without a disc, and has no body
            return too_long + 0.1
        line = np.linspace(0.2, 0.8, 13)[:, None]
        along = ndimage.map_coordinates(self.disc, ((a + line * (b - a)) / SPACING_MM).T, order=1)
        return _NO_DISC * (1 - float(along.max())) + too_long


def _best_path(points: Floats, scores: Floats, between: Between) -> list[int]:
    """The chain of most score, by dynamic programming from the head down."""
    best = scores - _COST
    came = np.full(len(points), -1)
    for j in range(1, len(points)):
        step = points[:j] - points[j]
        length = np.linalg.norm(step, axis=1)
        fits = np.flatnonzero((length > _NEAREST_MM) & (length < _FARTHEST_MM) & (step[:, 0] > 0.45 * length))
        for i in fits:
            value = best[i] + scores[j] - _COST - between.penalty(points[i], points[j])
            if value > best[j]:
                best[j], came[j] = value, i
    path = [int(np.argmax(best))]
    while came[path[-1]] >= 0:
        path.append(int(came[path[-1]]))
    return path[::-1]


def _filled(points: Floats, fields: Fields) -> Chain:
    """The chain with members put into steps that are twice as long as their neighbours, where bone is there."""
    body = ndimage.gaussian_filter(fields.of("body").astype(np.float32), 1.0)
    out, gaps = [points[0]], []
    for i in range(1, len(points)):
        step = points[i] - points[i - 1]
        missing = round(float(np.linalg.norm(step)) / _expected_mm(points, i)) - 1
        for k in range(missing):
            middle = points[i - 1] + step * (k + 1) / (missing + 1)
            value = float(ndimage.map_coordinates(body, (middle / SPACING_MM)[:, None], order=1)[0])
            if value > 0.4:
                out.append(middle)
            else:
                gaps.append(len(out) - 1)
        out.append(points[i])
    return Chain(np.array(out), tuple(sorted(set(gaps))))


def _expected_mm(points: Floats, i: int) -> float:
    """The usual step near step i - 1 -> i, itself left out; its own length where it is alone."""
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    near = [steps[k] for k in range(max(0, i - 4), min(len(steps), i + 3)) if k != i - 1]
    return float(np.median(near)) * 1.08 if near else float(steps[i - 1])
