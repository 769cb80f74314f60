"""The frames of one series, told apart into volumes.

A series may hold several volumes: time points, echoes, b-values, image types, stacks. Where several frames lie at one
place, the first trait that leaves one frame at each place in every group splits them. What no trait tells apart stays
together, for ingest to compare the pixels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline.dicom.frames import TRAITS, Frame
from pipeline.dicom.geometry import are_parallel, axes, places
from pipeline.errors import ScanError

LOCALIZER = "LOCALIZER"


@dataclass(frozen=True, slots=True)
class Slice:
    """A frame and where it comes from."""

    file: int
    """Which file of the series."""
    uid: str
    """SOP Instance UID of its object."""
    frame: Frame
    """Where it lies."""
    shape: tuple[int, int]
    """Rows, columns."""


@dataclass(frozen=True, slots=True)
class Part:
    """The slices of one volume."""

    slices: tuple[Slice, ...]
    """In no order that means anything."""
    reason: str | None
    """What tells it from the other parts; None where the series is one volume."""


def split(slices: Sequence[Slice]) -> list[Part]:
    """The volumes of a series: the same parts in the same order, however the slices are given."""
    ordered = sorted(slices, key=lambda s: (s.uid, s.frame.number or 0, s.file))
    scouts = [s for s in ordered if LOCALIZER in str(s.frame.traits.get("image_type", "")).split("\\")]
    rest = [s for s in ordered if s not in scouts] if scouts else ordered
    if not rest:
        return [Part(tuple(scouts), None)]
    body, strays = _strays(rest)
    parts = _split_by_stack(body)
    parts += [Part((stray,), "orientation") for stray in strays]
    if scouts:
        parts.append(Part(tuple(scouts), "localizer"))
    return parts if len(parts) > 1 else [Part(parts[0].slices, None)]


def _strays(slices: list[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Single slices of another direction beside three or more parallel ones: scouts that do not say so."""
    groups = _directions(slices)
    if len(groups) < 2:
        return slices, []
    body = max(groups, key=len)
    others = [group for group in groups if group is not body]
    if len(body) < 3 or any(len(group) > 1 for group in others):
        return slices, []
    return body, [slice_ for group in others for slice_ in group]


def _directions(slices: list[Slice]) -> list[list[Slice]]:
    groups: list[list[Slice]] = []
    for each in slices:
        for group in groups:
            one, other = group[0].frame.orientation, each.frame.orientation
            if one == other or (one and other and are_parallel(np.array(one), np.array(other))):
                group.append(each)
                break
        else:
            groups.append([each])
    return groups


def _split_by_stack(slices: list[Slice]) -> list[Part]:
    """Stacks that say so (StackID of enhanced objects) may point in different directions; each is split further."""
    stacks: dict[Hashable, list[Slice]] = defaultdict(list)
    for each in slices:
        stacks[each.frame.traits.get("stack")].append(each)
    if len(stacks) < 2 or len(_directions(slices)) < 2:
        return _split_by_traits(slices)
    return [
        Part(part.slices, "stack" if part.reason is None else f"stack, {part.reason}")
        for name in sorted(stacks, key=str)
        for part in _split_by_traits(stacks[name])
    ]


def _split_by_traits(slices: list[Slice]) -> list[Part]:
    if _most_at_one_place(slices) < 2:
        return [Part(tuple(slices), None)]
    names = [name for name in TRAITS if len({s.frame.traits.get(name) for s in slices}) > 1]
    for count in (1, 2, 3):
        for chosen in combinations(names, count):
            groups = _group(slices, chosen)
            if len(groups) < len(slices) and all(_most_at_one_place(group) < 2 for group in groups):
                return [Part(tuple(group), ", ".join(chosen)) for group in groups]
    return [Part(tuple(slices), None)]


def _group(slices: list[Slice], names: Sequence[str]) -> list[list[Slice]]:
    groups: dict[tuple[Hashable, ...], list[Slice]] = defaultdict(list)
    for each in slices:
        groups[tuple(each.frame.traits.get(name) for name in names)].append(each)
    return [groups[key] for key in sorted(groups, key=_sortable)]


def _sortable(key: tuple[Hashable, ...]) -> list[tuple[int, float, str]]:
    return [(0, float(v), "") if isinstance(v, int | float) else (1, 0.0, str(v)) for v in key]


def _most_at_one_place(slices: Sequence[Slice]) -> int:
    """How many different frames share a place at most; copies of one object count once, and so does no place at all."""
    located = [s for s in slices if s.frame.position is not None and s.frame.orientation is not None]
    most = 0
    for group in _directions(list(located)):
        try:
            normal = axes(np.array(group[0].frame.orientation))[:, 2]
        except ScanError:
            continue
        _, at = places(np.array([s.frame.position for s in group]), normal)
        for indices in at:
            different = Counter((group[i].uid, group[i].frame.number) for i in indices)
            most = max(most, len(different))
    return most
