"""Two scans of a patient, or all of them in order: the edges between their lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.longitudinal.events import Event, gather
from pipeline.longitudinal.links import Link, find_links
from pipeline.longitudinal.motions import IN_VERTEBRA, MaskedScan, Motions
from pipeline.longitudinal.timeline import MATCHING, LesionFacts, Pair, TimePoint
from pipeline.store import Store
from pipeline.store.volumes import read_labels, read_volume
from schemas.spine import OUTSIDE

Edge = dict[str, object]
"""A row of `schemas.edges.EDGES`."""


def match_patient(
    pairs: Sequence[Pair], *, store: Store, facts: Mapping[str, tuple[LesionFacts, ...]]
) -> dict[str, list[Edge]]:
    """The edges of pairs of scans, by `pair_id`; a scan that two pairs share is read once.

    Args:
        pairs: Scans of one patient that follow each other, in order of time.
        store: Where volumes and masks are.
        facts: The lesions of each series.

    Raises:
        ServiceError: the store was not there.
    """
    edges: dict[str, list[Edge]] = {}
    kept: tuple[TimePoint, MaskedScan] | None = None
    for pair in pairs:
        first = kept[1] if kept and kept[0] == pair.first else read_scan(pair.first, store, facts)
        second = read_scan(pair.second, store, facts)
        kept = pair.second, second
        about = _about(pair)
        edges[pair.pair_id] = [about | edge for edge in match_scans(first, second, modality=pair.modality)]
    return edges


def match_scans(before: MaskedScan, after: MaskedScan, *, modality: str | None) -> list[Edge]:
    """The edges between the lesions of two scans: the columns of `EDGES` that say nothing of keys."""
    motions = Motions(before, after, modality=modality)
    links = find_links(before, after, motions)
    edges: list[Edge] = []
    for number, event in enumerate(_events(before, after, links, motions), start=1):
        shared = {"event": number} | event.columns()
        edges += [shared | ends for ends in _ends(event)]
    return edges


def read_scan(point: TimePoint, store: Store, facts: Mapping[str, tuple[LesionFacts, ...]]) -> MaskedScan:
    """A scan with its masks from the store; without masks it has no lesion and no level."""
    volume = read_volume(store, point.volume_uri)
    lesions, levels = (None, None) if point.labels_uri is None else read_labels(store, point.labels_uri)
    if lesions is None:
        lesions = np.zeros(volume.grid.shape, dtype=np.uint16)
    return MaskedScan(volume, lesions, levels, facts.get(point.series_key, ()), point.frame_of_reference_key)


def _events(before: MaskedScan, after: MaskedScan, links: list[Link], motions: Motions) -> list[Event]:
    by_id_0 = {lesion.lesion_id: lesion for lesion in before.facts}
    by_id_1 = {lesion.lesion_id: lesion for lesion in after.facts}
    events = []
    for group in gather(links):
        firsts, seconds = sorted({link.first for link in group}), sorted({link.second for link in group})
        lesions = tuple(by_id_0[i] for i in firsts), tuple(by_id_1[i] for i in seconds)
        events.append(Event(*lesions, tuple(group), group[0].motion))
    linked_0, linked_1 = {link.first for link in links}, {link.second for link in links}
    lost = [lesion for lesion in before.facts if lesion.lesion_id not in linked_0]
    found = [lesion for lesion in after.facts if lesion.lesion_id not in linked_1]
    events += [_alone(lesion, before, after, motions, in_first=True) for lesion in lost]
    events += [_alone(lesion, before, after, motions, in_first=False) for lesion in found]
    return events


def _alone(lesion: LesionFacts, before: MaskedScan, after: MaskedScan, motions: Motions, *, in_first: bool) -> Event:
    """A lesion that is in one of the scans only."""
    motion = motions.at(lesion, in_first=in_first)
    own, other = (before, after) if in_first else (after, before)
    rigid = motion.rigid if in_first else motion.rigid.inverse()
    here = own.points.get(lesion.lesion_id, np.array([lesion.centroid_mm]))
    there = rigid.apply(here)
    is_in_bone = lesion.level not in (None, OUTSIDE) and other.levels is not None and motion.kind != "vertebra"
    return Event(
        before=(lesion,) if in_first else (),
        after=() if in_first else (lesion,),
        links=(),
        motion=motion,
        in_view=other.holds(there),
        in_vertebra=not is_in_bone or other.share_in_vertebrae(there) >= IN_VERTEBRA * own.share_in_vertebrae(here),
    )


def _ends(event: Event) -> list[Edge]:
    before, after = ({lesion.lesion_id: lesion for lesion in lesions} for lesions in (event.before, event.after))
    if not event.links:
        return [_end(0, lesion) for lesion in event.before] + [_end(1, lesion) for lesion in event.after]
    return [
        {
            **_end(0, before[link.first]),
            **_end(1, after[link.second]),
            "overlap_0": link.overlap_0,
            "overlap_1": link.overlap_1,
            "distance_mm": link.distance_mm,
        }
        for link in event.links
    ]


def _end(which: int, lesion: LesionFacts) -> Edge:
    return {
        f"lesion_id_{which}": lesion.lesion_id,
        f"volume_{which}_mm3": lesion.volume_mm3,
        f"lesion_type_{which}": lesion.lesion_type,
    }


def _about(pair: Pair) -> Edge:
    return {
        "pair_id": pair.pair_id,
        "recipe_id": pair.recipe_id,
        "patient_key": pair.patient_key,
        "modality": pair.modality,
        "matching": MATCHING,
        **{
            f"{name}_{which}": getattr(point, name)
            for which, point in enumerate((pair.first, pair.second))
            for name in ("study_key", "series_key", "attempt")
        },
    }
