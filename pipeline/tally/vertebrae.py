"""One row per level of the spine, and one for what lies outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pipeline.grid import Grid, Volume
from pipeline.regions import Region
from pipeline.tally.collapse import height_ratios
from pipeline.tally.parts import BodyParts
from pipeline.tally.place import Place
from pipeline.tally.reference import Interior
from schemas.spine import BY_NUMBER, LEVELS, OUTSIDE, craniocaudal_rank, is_named, level_name

FULL, PARTIAL, ABSENT, UNKNOWN = "full", "partial", "absent", "unknown"

OFTEN_MISSING = ("T13", "L6", "COCCYX")
"""Levels that many people, or many models, do not have: they have a row only where they were found."""


@dataclass(frozen=True)
class Tallied:
    """A lesion as the vertebrae count it."""

    place: Place
    """The levels it lies on."""
    lesion_type: object
    """Its type by the density rule; None where it has none."""


@dataclass(frozen=True)
class Found:
    """A vertebra that the mask holds."""

    region: Region
    """Its voxels."""
    parts: BodyParts | None
    """Its body and posterior elements; None where the model does not tell them apart."""
    interior: Interior
    """Its eroded interior."""
    is_full: bool
    """Touches no face of the volume."""


def vertebra_rows(
    found: dict[int, Found],
    lesions: Sequence[Tallied] | None,
    *,
    volume: Volume,
    is_hu: bool,
    planar: bool,
) -> list[dict[str, object]]:
    """Rows of `schemas.results.VERTEBRA` from head to foot, at last the row `none`.

    Args:
        found: The vertebrae of the mask by number.
        lesions: The scan's lesions; None where they were not looked for.
        volume: The scan.
        is_hu: Whether its values are HU.
        planar: Whether it is a projection, without volumes.
    """
    bodies = {n: v.parts.body_heights for n, v in found.items() if v.parts is not None and v.is_full}
    ratios = height_ratios({n: heights for n, heights in bodies.items() if heights is not None})
    rows = []
    voxel_mm3 = None if planar else volume.grid.voxel_mm3
    for number, assessed in coverage(found, volume.grid).items():
        row: dict[str, object] = {"level": level_name(number), "assessed": assessed}
        if number in found:
            row |= _measured(found[number], voxel_mm3, volume.grid, is_hu)
            row |= _shares(number, lesions, voxel_mm3, found[number])
            row["height_ratio"] = ratios.get(number)
        rows.append(row)
    return [*rows, {"level": OUTSIDE, "assessed": UNKNOWN, **_shares(0, lesions, voxel_mm3, None)}]


def coverage(found: dict[int, Found], grid: Grid) -> dict[int, str]:
    """Which levels have a row, from head to foot, and how far each was assessed.

    Named levels beyond the first and the last that were found are absent, those between them that were not found are
    unknown: missed, or not there (four lumbar, eleven thoracic vertebrae). Where names do not run from head to foot
    the covered range cannot be told, and where nothing was found there is none: then all that were not found are
    unknown. Unnumbered vertebrae say nothing about others.
    """
    ranks = sorted(craniocaudal_rank(n) for n in found if is_named(n))
    everything = set(found)
    if ranks or not found:
        everything |= {level.number for level in LEVELS if level.name not in OFTEN_MISSING}
    told = bool(ranks) and runs_downwards(found, grid)
    return {
        number: _assessed(found[number])
        if number in found
        else ABSENT
        if told and not ranks[0] <= craniocaudal_rank(number) <= ranks[-1]
        else UNKNOWN
        for number in sorted(everything, key=craniocaudal_rank)
    }


def runs_downwards(found: dict[int, Found], grid: Grid) -> bool:
    """Whether the named vertebrae lie from head to foot in the order of their names."""
    named = sorted((n for n in found if n in BY_NUMBER), key=craniocaudal_rank)
    heights = [float(grid.to_lps(found[n].region.centroid)[2]) for n in named]
    return all(upper > lower for upper, lower in pairwise(heights))


def _assessed(vertebra: Found) -> str:
    return FULL if vertebra.is_full else PARTIAL


def _measured(vertebra: Found, voxel_mm3: float | None, grid: Grid, is_hu: bool) -> dict[str, object]:
    parts = vertebra.parts
    return {
        "vertebra_volume_mm3": vertebra.region.n_voxels * voxel_mm3 if voxel_mm3 is not None else None,
        "body_volume_mm3": parts.body_voxels * voxel_mm3 if parts is not None and voxel_mm3 is not None else None,
        "centroid_mm": grid.to_lps(vertebra.region.centroid).tolist(),
        "trabecular_hu": vertebra.interior.median if is_hu else None,
    }


def _shares(
    number: int, lesions: Sequence[Tallied] | None, voxel_mm3: float | None, vertebra: Found | None
) -> dict[str, object]:
    """What lesions take of a level, or of what lies outside (number 0)."""
    if lesions is None:
        return {}
    loads = [(_voxels_in(number, lesion.place), lesion.lesion_type) for lesion in lesions]
    load = sum(voxels for voxels, _ in loads)
    columns: dict[str, object] = {
        "n_lesions": sum(lesion.place.primary == number for lesion in lesions),
        "lesion_load_mm3": load * voxel_mm3 if voxel_mm3 is not None else None,
        "dominant_type": _dominant(loads),
    }
    if vertebra is not None:
        columns["burden"] = load / vertebra.region.n_voxels if voxel_mm3 is not None else None
        if vertebra.parts is not None:
            columns["posterior_involvement"] = vertebra.parts.posterior_involvement
            columns["body_involved_fraction"] = vertebra.parts.body_involved_fraction
    return columns


def _voxels_in(number: int, place: Place) -> int:
    return dict(place.by_level).get(number, 0) if number else place.outside


def _dominant(loads: list[tuple[int, object]]) -> str | None:
    """The type with the most voxels; of equals the first by name."""
    by_type: dict[str, int] = {}
    for voxels, lesion_type in loads:
        if voxels and isinstance(lesion_type, str):
            by_type[lesion_type] = by_type.get(lesion_type, 0) + voxels
    return min(by_type, key=lambda name: (-by_type[name], name)) if by_type else None
