"""The frames of one series, told apart into volumes.

A series may hold several volumes: time points, echoes, b-values, image types, stacks. Where several frames lie at one
place, the first trait that leaves one frame at each place in every group splits them. What no trait tells apart stays
together, for ingest to compare the pixels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from pipeline.dicom.frames import TRAITS, Frame, positions_of
from pipeline.dicom.geometry import are_parallel, axes, places
from pipeline.dicom.sop_classes import IMAGES
from pipeline.errors import ScanError

LOCALIZER = "localizer"
"""Reason of the part that holds the scouts of a series."""
SOP_CLASS = "sop_class"
"""Reason of parts that are objects of different kinds, as a screen shot among slices is."""
VIEW = "view"
"""Reason of parts that are planar views."""

_TIMES = ("trigger_time", "frame_reference_time", "acquisition_time")
"""Traits that may differ from slice to slice of one volume too, so that equal values do not make a volume."""
_MOST_TRAITS = 3


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
    sop_class: str = ""
    """SOP Class UID of its object."""

    @property
    def identity(self) -> tuple[str, int | None]:
        """What two copies of one picture share."""
        return self.uid, self.frame.number


@dataclass(frozen=True, slots=True)
class Part:
    """The slices of one volume."""

    slices: tuple[Slice, ...]
    """From the lowest along their normal, where they lie."""
    reason: str | None
    """What tells it from the other parts; None where the series is one volume."""


def split(slices: Sequence[Slice], *, planar: bool = False) -> list[Part]:
    """The volumes of a series: the same parts in the same order, however the slices are given.

    Args:
        slices: all frames of the series.
        planar: whether each frame is a picture of its own, as the views of a planar bone scan are.
    """
    ordered = sorted(slices, key=lambda s: (s.uid, s.frame.number or 0, s.file))
    if planar:
        return _views(ordered)
    classes = sorted({each.sop_class for each in ordered}, key=lambda uid: (uid not in IMAGES, uid))
    if len(classes) == 1:
        return _split_images(ordered)
    parts = [part for uid in classes for part in _split_images([s for s in ordered if s.sop_class == uid])]
    return [Part(p.slices, SOP_CLASS if p.reason is None else f"{SOP_CLASS}, {p.reason}") for p in parts]


def _split_images(ordered: list[Slice]) -> list[Part]:
    """The volumes of objects of one kind."""
    scouts = [each for each in ordered if is_localizer(each)]
    rest = [each for each in ordered if not is_localizer(each)]
    if not rest:
        return [Part(tuple(scouts), None)]
    body, strays = _strays(rest)
    parts = _split_by_stack(body)
    parts += [Part((stray,), "orientation") for stray in strays]
    if scouts:
        parts.append(Part(tuple(scouts), LOCALIZER))
    if len(parts) == 1:
        return [Part(_in_space(parts[0].slices), None)]
    return [Part(_in_space(part.slices), part.reason) for part in parts]


def is_localizer(slice_: Slice) -> bool:
    """Whether an image says that it is a scout."""
    return "LOCALIZER" in str(slice_.frame.traits.get("image_type", "")).upper().split("\\")


def _views(slices: list[Slice]) -> list[Part]:
    """One part for each picture; copies of one picture stay together."""
    views: dict[Hashable, list[Slice]] = defaultdict(list)
    for each in slices:
        views[each.identity].append(each)
    return [Part(tuple(view), VIEW if len(views) > 1 else None) for view in views.values()]


def _strays(slices: list[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Single slices of another direction beside three or more parallel ones: scouts that do not say so."""
    groups = _directions(slices)
    body = max(groups, key=len)
    others = [group for group in groups if group is not body]
    if len(body) < 3 or any(len(group) > 1 or group[0].frame.orientation is None for group in others):
        return slices, []
    return body, [slice_ for group in others for slice_ in group]


def _directions(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices that are parallel."""
    groups: list[list[Slice]] = []
    for each in slices:
        group = next((g for g in groups if _agree(g[0].frame.orientation, each.frame.orientation)), None)
        if group is None:
            groups.append([each])
        else:
            group.append(each)
    return groups


def _agree(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    return one == other or (one is not None and other is not None and are_parallel(one, other))


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
    if _is_clear(slices):
        return [Part(tuple(slices), None)]
    names = [name for name in TRAITS if len({s.frame.traits.get(name) for s in slices}) > 1]
    fewest = max(len({s.identity for s in group}) for group in _same_places(slices))
    for count in range(1, _MOST_TRAITS + 1):
        for chosen in combinations(names, count):
            groups = _group(slices, chosen)
            most = fewest if any(name in _TIMES for name in chosen) else len(slices) - 1
            if len(groups) <= most and all(_is_clear(group) for group in groups):
                return [Part(tuple(group), ", ".join(chosen)) for group in groups]
    for name in _TIMES:
        if rounds := _rounds(slices, name):
            return [Part(tuple(each), name) for each in rounds]
    return [Part(tuple(slices), None)]


def _group(slices: list[Slice], names: Sequence[str]) -> list[list[Slice]]:
    groups: dict[tuple[Hashable, ...], list[Slice]] = defaultdict(list)
    for each in slices:
        groups[tuple(each.frame.traits.get(name) for name in names)].append(each)
    return [groups[key] for key in sorted(groups, key=_sortable)]


def _sortable(key: tuple[Hashable, ...]) -> list[tuple[int, float, str]]:
    return [(0, float(v), "") if isinstance(v, int | float) else (1, 0.0, str(v)) for v in key]


def _rounds(slices: list[Slice], time: str) -> list[list[Slice]] | None:
    """Slices that were taken round by round, each place once in each, every round after the one before; else None."""
    at = _same_places(slices)
    if len({len(group) for group in at}) != 1:
        return None
    sorted_groups = [sorted(group, key=lambda s: _time(s, time)) for group in at]
    rounds = [list(members) for members in zip(*sorted_groups, strict=True)]
    for earlier, later in pairwise(rounds):
        if not max(_time(s, time) for s in earlier) < min(_time(s, time) for s in later):
            return None
    return rounds if len(at) > 1 else None


def _time(slice_: Slice, name: str) -> float:
    return float(slice_.frame.traits.get(name, 0.0))


def _is_clear(slices: Sequence[Slice]) -> bool:
    """Whether no two different pictures lie at one place; copies of one picture are no matter."""
    return all(len({s.identity for s in group}) < 2 for group in _same_places(slices))


def _same_places(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices that lie at the same place; those without a place are left out."""
    located = [s for s in slices if s.frame.position is not None and s.frame.orientation is not None]
    found: list[list[Slice]] = []
    for group in _directions(located):
        try:
            normal = axes(group[0].frame.orientation or ())[:, 2]
        except ScanError:
            continue
        _, at = places(positions_of([s.frame for s in group]), normal)
        found += [[group[index] for index in indices] for indices in at]
    return found


def _in_space(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """Slices from the lowest to the highest, so that ingest reads them in the order in which it stores them."""
    at = _same_places(slices)
    return tuple(s for group in at for s in group) if sum(map(len, at)) == len(slices) else slices
