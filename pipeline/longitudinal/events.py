"""Links that hang together are one event; what became of its lesions is its state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.longitudinal.growth import growth
from pipeline.longitudinal.links import Link
from pipeline.longitudinal.motions import Motion
from pipeline.longitudinal.timeline import LesionFacts


@dataclass(frozen=True)
class Event:
    """What became of one lesion, or of lesions that split or merged."""

    before: tuple[LesionFacts, ...]
    """Its lesions in the earlier scan."""
    after: tuple[LesionFacts, ...]
    """Its lesions in the later scan."""
    links: tuple[Link, ...]
    """What joins them; none for a lesion that is alone."""
    motion: Motion
    """How its place was found."""
    in_view: bool = True
    """For a lesion that is alone: whether the other scan holds its place."""
    in_vertebra: bool = True
    """For a lesion of a vertebra that is alone: whether the other scan found a vertebra there."""

    @property
    def reason(self) -> str | None:
        """Why it is not assessable; None where it is."""
        if self.links:
            return self.motion.reason_against_presence
        if against := self.motion.reason_against_absence:
            return against
        if not self.in_view:
            return "outside_field_of_view"
        return None if self.in_vertebra else "level_not_found"

    @property
    def state(self) -> str:
        """One of `schemas.edges.STATES`."""
        if self.reason:
            return "not_assessable"
        if not self.links:
            return "new" if self.after else "resolved"
        if len(self.before) != len(self.after):
            return "merged" if len(self.before) > len(self.after) else "split"
        return self._growth()

    def _growth(self) -> str:
        in_2d = any(lesion.volume_mm3 is None for lesion in (*self.before, *self.after))
        before, after = (_size(lesions, in_2d) for lesions in (self.before, self.after))
        long_axis = max(lesion.long_axis_mm or 0.0 for lesion in self.before)
        return growth(before, after, long_axis_mm=long_axis, in_2d=in_2d) if before > 0 else "stable"

    def columns(self) -> dict[str, object]:
        """The columns of `schemas.edges.EDGES` that all edges of the event share."""
        largest = max(self.after or self.before, key=lambda lesion: lesion.volume_mm3 or lesion.area_mm2 or 0.0)
        before, after = total_volume(self.before), total_volume(self.after)
        lesions = ((), ()) if self.reason else (self.before, self.after)  # of what may be two lesions nothing changed
        return {
            "state": self.state,
            "reason": self.reason,
            "n_0": len(self.before),
            "n_1": len(self.after),
            "level": largest.level,
            "registration": self.motion.kind,
            "registration_dice": self.motion.dice,
            "event_volume_0_mm3": before,
            "event_volume_1_mm3": after,
            "volume_change": after / before - 1.0 if before and after and not self.reason else None,
            "hu_mean_change": _less(_mean_hu(lesions[1]), _mean_hu(lesions[0])),
            "suv_max_change": _less(_highest_suv(lesions[1]), _highest_suv(lesions[0])),
        }


def gather(links: Sequence[Link]) -> list[list[Link]]:
    """Links that hang together over shared lesions, in the order of their first lesions."""
    group_of: dict[tuple[int, int], list[Link]] = {}
    for link in links:
        ends = [(0, link.first), (1, link.second)]
        joined = [group_of[end] for end in ends if end in group_of]
        merged = [link] + [one for group in _distinct(joined) for one in group]
        for one in merged:
            group_of[0, one.first] = group_of[1, one.second] = merged
    return [sorted(group, key=lambda link: (link.first, link.second)) for group in _distinct(group_of.values())]


def total_volume(lesions: Sequence[LesionFacts]) -> float | None:
    """Sum of volumes, mm3; None where there is no lesion, or one has none (2-D)."""
    volumes = [lesion.volume_mm3 for lesion in lesions]
    known = [volume for volume in volumes if volume is not None]
    return sum(known) if known and len(known) == len(volumes) else None


def _distinct(groups: Iterable[list[Link]]) -> list[list[Link]]:
    return list({id(group): group for group in groups}.values())


def _size(lesions: Sequence[LesionFacts], in_2d: bool) -> float:
    return sum((lesion.area_mm2 if in_2d else lesion.volume_mm3) or 0.0 for lesion in lesions)


def _mean_hu(lesions: Sequence[LesionFacts]) -> float | None:
    """Mean HU over all voxels of some lesions."""
    known = [(lesion.hu_mean, lesion.volume_mm3) for lesion in lesions if lesion.hu_mean is not None]
    volume = sum(v or 0.0 for _, v in known)
    return sum(hu * (v or 0.0) for hu, v in known) / volume if volume else None


def _highest_suv(lesions: Sequence[LesionFacts]) -> float | None:
    return max((lesion.suv_max for lesion in lesions if lesion.suv_max is not None), default=None)


def _less(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
