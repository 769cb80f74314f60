"""The motion that holds at a lesion: that of its vertebra, else the next best, else none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipeline.grid import Floats, Grid, Volume
from pipeline.longitudinal.register import STILL, Rigid, Vertebra, register_vertebra
from pipeline.longitudinal.timeline import LesionFacts
from pipeline.regions import Labels, Region, find_regions
from schemas.spine import is_named, level_name

POOR_DICE = 0.5
"""Below, a vertebra was not brought onto itself, and what is not found there is not assessable."""

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

    def _points(self, region: Region) -> Floats:
        return self.grid.to_lps(np.argwhere(region.mask) + region.start)

    def holds(self, points: Floats) -> bool:
        """Whether the scan's field of view holds (nearly all of) some points."""
        index = self.grid.to_index(points)
        inside = ((index >= -0.5) & (index <= np.asarray(self.grid.shape) - 0.5)).all(axis=1)
        return bool(inside.mean() >= IN_VIEW)


@dataclass(frozen=True)
class Motion:
    """How a place in the earlier scan is found in the later one, and how well."""

    kind: str
    """vertebra, nearest_vertebra, frame_of_reference or centroid."""
    rigid: Rigid
    """From the earlier to the later scan."""
    dice: float | None
    """Overlap of the vertebra's masks; None where no vertebra was registered."""

    @property
    def reason_against_absence(self) -> str | None:
        """Why a lesion that is not found need not be gone; None where the motion can be trusted."""
        if self.kind == "centroid":
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
            return self._of_level("nearest_vertebra", self._nearest(lesion, in_first))
        return Motion("centroid", Rigid(np.eye(3), _middle(self._after) - _middle(self._before)), None)

    def _of_level(self, kind: str, level: str) -> Motion:
        if level not in self._registered:
            before, after = self._before.vertebrae[level], self._after.vertebrae[level]
            self._registered[level] = register_vertebra(before, after, modality=self._modality)
        return Motion(kind, *self._registered[level])

    def _share_space(self) -> bool:
        first, second = self._before.frame_of_reference_key, self._after.frame_of_reference_key
        return first is not None and first == second

    def _nearest(self, lesion: LesionFacts, in_first: bool) -> str:
        vertebrae = (self._before if in_first else self._after).vertebrae
        place = np.asarray(lesion.centroid_mm)
        return min(self._common, key=lambda name: float(np.linalg.norm(vertebrae[name].centroid_mm - place)))


def _middle(scan: MaskedScan) -> Floats:
    """The middle of all lesions, each counted once."""
    if not scan.facts:
        return np.zeros(3)
    return np.mean([lesion.centroid_mm for lesion in scan.facts], axis=0)
