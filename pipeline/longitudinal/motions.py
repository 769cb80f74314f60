"""The motion that holds at a lesion: that of its vertebra, else the next best, else none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from pipeline.grid import Floats, Grid, Volume
from pipeline.longitudinal.register import STILL, Rigid, Vertebra, register_vertebra
from pipeline.longitudinal.timeline import LesionFacts
from pipeline.regions import Labels, Region, find_regions
from schemas.spine import is_named, level_name

POOR_DICE = 0.5
"""Below, a vertebra was not brought onto itself, and what is not found there is not assessable."""

NEAR_MM = 50.0
"""How far from its middle the motion of a vertebra is taken to hold: to its neighbours. Further away the spine may have
bent, and what is not found there is not assessable. Our own choice: to be confirmed."""

ENOUGH = 3
"""Lesions of each scan from which on their common centroid says something: laid on one another by it, two single
lesions always meet, whatever vertebrae they are in."""

IN_VERTEBRA = 0.5
"""Of the share of a lesion that lies in vertebrae: what of it has to lie in vertebrae of the other scan, for its own to
have been found there."""

IN_VIEW = 0.9
"""Share of a lesion's place that the other scan has to hold for it to have been looked at."""


@dataclass(frozen=True)
class MaskedScan:
    """One scan with its masks in memory."""

    volume: Volume
    """Its voxels."""
    lesions: Labels
    """[z, y, x], 0 where there is none."""
    levels: npt.NDArray[np.uint16] | None
    """[z, y, x]; None where they were not looked for."""
    facts: tuple[LesionFacts, ...]
    """What the tally says of its lesions."""
    frame_of_reference_key: str | None = None
    """Equal where two scans share a patient space."""

    @property
    def grid(self) -> Grid:
        """Where its voxels lie."""
        return self.volume.grid

    @cached_property
    def vertebrae(self) -> dict[str, Vertebra]:
        """Its named vertebrae; unnumbered ones cannot be found again by their name."""
        if self.levels is None:
            return {}
        regions = [region for region in find_regions(self.levels) if is_named(region.label)]
        return {level_name(region.label): Vertebra(region, self.volume) for region in regions}

    @cached_property
    def points(self) -> dict[int, Floats]:
        """Voxel centres (n, 3) of each lesion, x, y, z, LPS."""
        return {region.label: self._points(region) for region in find_regions(self.lesions)}

    @cached_property
    def _boxes(self) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
        """Lesions, and (n, 3) lowest and highest x, y, z of each."""
        lows, highs = ([end(points, axis=0) for points in self.points.values()] for end in (np.min, np.max))
        return np.array(list(self.points)), np.reshape(lows, (-1, 3)), np.reshape(highs, (-1, 3))

    def lesions_within(self, far_mm: float, points: Floats) -> set[int]:
        """The lesions whose box is no further from that of some points, along any axis."""
        labels, lows, highs = self._boxes
        apart = np.maximum(lows - points.max(axis=0), points.min(axis=0) - highs).max(axis=1, initial=-np.inf)
        return set(labels[apart <= far_mm].tolist())

    def tree(self, lesion_id: int) -> KDTree:
        """The voxel centres of a lesion, to ask for the nearest; made once, for a large one has many neighbours."""
        if lesion_id not in self._trees:
            self._trees[lesion_id] = KDTree(self.points[lesion_id])
        return self._trees[lesion_id]

    @cached_property
    def _trees(self) -> dict[int, KDTree]:
        return {}

    def _points(self, region: Region) -> Floats:
        return self.grid.to_lps(np.argwhere(region.mask) + region.start)

    def holds(self, points: Floats) -> bool:
        """Whether the scan's field of view holds (nearly all of) some points."""
        index = self.grid.to_index(points)
        inside = ((index >= -0.5) & (index <= np.asarray(self.grid.shape) - 0.5)).all(axis=1)
        return bool(inside.mean() >= IN_VIEW)

    def share_in_vertebrae(self, points: Floats) -> float:
        """Share of some points that lie in vertebrae, named or not; 0 where they were not looked for."""
        if self.levels is None:
            return 0.0
        index = np.rint(self.grid.to_index(points)).astype(np.int64)
        z, y, x = index[((index >= 0) & (index < self.grid.shape)).all(axis=1)].T
        return float(np.count_nonzero(self.levels[z, y, x])) / len(points)


@dataclass(frozen=True)
class Motion:
    """How a place in the earlier scan is found in the later one, and how well."""

    kind: str
    """vertebra, nearest_vertebra, frame_of_reference or centroid."""
    rigid: Rigid
    """From the earlier to the later scan."""
    dice: float | None
    """Overlap of the vertebra's masks; None where no vertebra was registered."""
    is_near: bool = True
    """Whether the vertebra lies within `NEAR_MM`; by the centroid of all lesions, whether they are `ENOUGH`."""

    @property
    def reason_against_presence(self) -> str | None:
        """Why a lesion that lies there need not be the same; None where the motion can be trusted."""
        return "no_common_level" if self.kind == "centroid" and not self.is_near else None

    @property
    def reason_against_absence(self) -> str | None:
        """Why a lesion that is not found need not be gone; None where the motion can be trusted."""
        if self.kind == "centroid" or not self.is_near:
            return "no_common_level"
        return "poor_registration" if self.dice is not None and self.dice < POOR_DICE else None


class Motions:
    """The motions between two scans, each registered when it is first asked for."""

    def __init__(self, before: MaskedScan, after: MaskedScan, *, modality: str | None) -> None:
        self._before, self._after, self._modality = before, after, modality
        self._common = sorted(set(before.vertebrae) & set(after.vertebrae))
        self._registered: dict[str, tuple[Rigid, float]] = {}

    def at(self, lesion: LesionFacts, *, in_first: bool) -> Motion:
        """The motion that holds at a lesion of the earlier (`in_first`) or of the later scan."""
        if lesion.level in self._common:
            return self._of_level("vertebra", lesion.level)
        if self._share_space():
            return Motion("frame_of_reference", STILL, None)
        if self._common:
            level, away_mm = self._nearest(lesion, in_first)
            return self._of_level("nearest_vertebra", level, is_near=away_mm <= NEAR_MM)
        by_lesions = Rigid(np.eye(3), _middle(self._after) - _middle(self._before))
        return Motion("centroid", by_lesions, None, min(len(self._before.facts), len(self._after.facts)) >= ENOUGH)

    def _of_level(self, kind: str, level: str, *, is_near: bool = True) -> Motion:
        if level not in self._registered:
            before, after = self._before.vertebrae[level], self._after.vertebrae[level]
            self._registered[level] = register_vertebra(before, after, modality=self._modality)
        return Motion(kind, *self._registered[level], is_near)

    def _share_space(self) -> bool:
        first, second = self._before.frame_of_reference_key, self._after.frame_of_reference_key
        return first is not None and first == second

    def _nearest(self, lesion: LesionFacts, in_first: bool) -> tuple[str, float]:
        """The common level that is nearest, and how far away its middle is, mm."""
        vertebrae = (self._before if in_first else self._after).vertebrae
        place = np.asarray(lesion.centroid_mm)
        away = {name: float(np.linalg.norm(vertebrae[name].centroid_mm - place)) for name in self._common}
        nearest = min(self._common, key=lambda name: away[name])
        return nearest, away[nearest]


def _middle(scan: MaskedScan) -> Floats:
    """The middle of all lesions, each counted once."""
    if not scan.facts:
        return np.zeros(3)
    return np.mean([lesion.centroid_mm for lesion in scan.facts], axis=0)
