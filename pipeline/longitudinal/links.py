"""Which lesions of two scans lie at one place.

Two lesions are linked where, after registration, half of one lies within `TOLERANCE_MM` of the other; of several links
those stay that are the best of one of their ends, so that a lesion may split and lesions may merge. What is left over
is assigned one to one by the distance of the centroids (after Santoro-Fernandes 2021, Phys Med Biol 66:155017, who
register, dilate, cluster and assign; registration error there 2.3 to 2.6 mm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from pipeline.grid import Floats, Grid
from pipeline.longitudinal.motions import MaskedScan, Motion, Motions
from pipeline.longitudinal.timeline import LesionFacts

TOLERANCE_MM = 3.0
"""Places closer than this are one place: the registration error of the source, rounded up."""

SHARE = 0.5
"""Share of a lesion that has to lie at the other."""

ASSIGNED_WITHIN_MM = 6.0
"""Centroids of lesions that do not overlap may be this far apart: two registration errors."""

MOST_POINTS = 4000
"""Points of a lesion that are compared; of larger ones every second, third, ..."""


@dataclass(frozen=True)
class Link:
    """A lesion of the earlier scan found in the later one."""

    first: int
    """lesion_id in the earlier scan."""
    second: int
    """lesion_id in the later scan."""
    overlap_0: float
    """Share of the earlier lesion within the tolerance of the later one."""
    overlap_1: float
    """Share of the later lesion within the tolerance of the earlier one."""
    distance_mm: float
    """Between the centroids after registration."""
    motion: Motion
    """How the place was found."""

    @property
    def strength(self) -> tuple[float, float]:
        """The larger, the better."""
        return max(self.overlap_0, self.overlap_1), -self.distance_mm


def find_links(before: MaskedScan, after: MaskedScan, motions: Motions) -> list[Link]:
    """The links between the lesions of two scans."""
    every = [link for first in before.facts for link in _links_of(first, before, after, motions)]
    overlapping = _best([link for link in every if link.strength[0] >= SHARE])
    taken_0, taken_1 = {link.first for link in overlapping}, {link.second for link in overlapping}
    left = [link for link in every if link.first not in taken_0 and link.second not in taken_1]
    return sorted([*overlapping, *_assigned(left)], key=lambda link: (link.first, link.second))


def _links_of(first: LesionFacts, before: MaskedScan, after: MaskedScan, motions: Motions) -> list[Link]:
    """Every lesion of the later scan that is near enough to ask."""
    here = before.points.get(first.lesion_id)
    if here is None or not after.points:
        return []
    motion = motions.at(first, in_first=True)
    moved = motion.rigid.apply(here)
    near = after.lesions_within(ASSIGNED_WITHIN_MM, moved)
    if not near:
        return []
    tree = KDTree(moved)
    return [
        Link(
            first.lesion_id,
            second.lesion_id,
            _share_near(moved, after.tree(second.lesion_id), after.grid),
            _share_near(after.points[second.lesion_id], tree, before.grid),
            float(np.linalg.norm(moved.mean(axis=0) - after.points[second.lesion_id].mean(axis=0))),
            motion,
        )
        for second in after.facts
        if second.lesion_id in near
    ]


def _share_near(points: Floats, others: KDTree, grid_of_others: Grid) -> float:
    """Share of points that lie in a voxel of the others, or within the tolerance of one."""
    reach = TOLERANCE_MM + float(np.linalg.norm(grid_of_others.spacing_mm)) / 2.0
    some = points[:: max(1, len(points) // MOST_POINTS)]
    distances, _ = others.query(some, distance_upper_bound=reach)
    return float(np.isfinite(distances).mean())


def _best(links: list[Link]) -> list[Link]:
    """Links that are the best of one of their ends."""
    best_0: dict[int, Link] = {}
    best_1: dict[int, Link] = {}
    for link in sorted(links, key=lambda link: (link.strength, -link.first, -link.second)):
        best_0[link.first] = best_1[link.second] = link
    return [link for link in links if link is best_0[link.first] or link is best_1[link.second]]


def _assigned(links: list[Link]) -> list[Link]:
    """One to one, the smallest sum of distances, none longer than `ASSIGNED_WITHIN_MM`."""
    near = {(link.first, link.second): link for link in links if link.distance_mm <= ASSIGNED_WITHIN_MM}
    firsts, seconds = sorted({a for a, _ in near}), sorted({b for _, b in near})
    if not near:
        return []
    never = 1e6
    costs = [[near[a, b].distance_mm if (a, b) in near else never for b in seconds] for a in firsts]
    rows, columns = linear_sum_assignment(np.array(costs))
    pairs = [(firsts[r], seconds[c]) for r, c in zip(rows, columns, strict=True)]
    return [near[pair] for pair in pairs if pair in near]
