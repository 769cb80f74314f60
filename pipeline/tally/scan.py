"""All of one scan: masks in, the tally's columns of its row in `results/` out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from pipeline.errors import ScanError
from pipeline.grid import Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.regions import Labels, Region, checked_labels, find_regions, touches_face
from pipeline.tally.intensity import Signal, signal_of
from pipeline.tally.lesions import LesionContext, candidate_rows, lesion_row
from pipeline.tally.parts import body_parts
from pipeline.tally.place import Place, place_of
from pipeline.tally.plane import is_planar, measuring_plane
from pipeline.tally.radiomics import features_of
from pipeline.tally.reference import Reference, interior_of, pooled
from pipeline.tally.vertebrae import FULL, Found, Tallied, vertebra_rows
from schemas.config import TypeRule
from schemas.reasons import Reason
from schemas.spine import level_name


def tally_scan(
    volume: Volume,
    *,
    modality: str | None,
    intensity_unit: str | None,
    suv_factor: float | None,
    lesions: LesionMask | None,
    levels: LevelMask | None,
    type_rule: TypeRule,
    threshold: float | None,
    model: str | None,
    radiomics: Sequence[str] | Literal["default"] | None = None,
) -> dict[str, object]:
    """The columns of `schemas.results.RESULTS` that follow from a scan and its masks.

    Args:
        volume: The scan on its source's grid; `[z, y, x]`, HU for CT.
        modality: CT, MR, PT, NM; None where nothing says it.
        intensity_unit: Unit of the stored values; HU statistics need `HU`.
        suv_factor: Value times this is SUVbw (g/mL); None leaves SUV, MTV and TLG NULL.
        lesions: Instances on the volume's grid; None where they were not looked for: then all about them is NULL.
        levels: Levels on the volume's grid; None where they were not looked for: then places and vertebrae are NULL.
        type_rule: Constants of the density rule.
        threshold: Score that made a lesion; None for masks without scores.
        model: Name and version of the lesions' model.
        radiomics: IBSI features of each lesion by name, or `default`; None for none.

    Returns:
        lesions, candidates, vertebrae (rows of the schemas of the same names, or None), n_lesions, lesion_volume_mm3,
        n_levels_assessed, naming_anchor, trabecular_hu, trabecular_mad_hu.

    Raises:
        ScanError: a mask is not on the volume's grid, or holds negative, fractional or unknown values.
        ConfigError: a feature is unknown, or the extra `radiomics` is not installed.
    """
    signal = signal_of(modality, intensity_unit, suv_factor)
    planar = is_planar(volume.grid, modality)
    levels = _checked_levels(levels, volume)
    instances = checked_labels(lesions.instances, shape=volume.grid.shape, name="lesions") if lesions else None
    found = {} if levels is None else _find_vertebrae(volume, signal, levels, instances)
    reference = pooled([vertebra.interior for vertebra in found.values()])
    body_voxels = {n: vertebra.parts.body_voxels for n, vertebra in found.items() if vertebra.parts is not None}
    context = LesionContext(
        volume=volume,
        signal=signal,
        plane=measuring_plane(volume.grid, modality),
        planar=planar,
        reference=reference,
        body_voxels=body_voxels,
        type_rule=type_rule,
        threshold=threshold,
        model=model,
        features=features_of(radiomics, modality=modality),
    )
    rows, tallied = _lesion_rows(lesions, instances, levels, context)
    vertebrae = None
    if levels is not None:
        vertebrae = vertebra_rows(found, tallied, volume=volume, is_hu=signal.is_hu, planar=planar)
    return {
        "lesions": rows,
        "candidates": candidate_rows(lesions, levels, volume.grid) if lesions else None,
        "vertebrae": vertebrae,
        "n_lesions": None if rows is None else len(rows),
        "lesion_volume_mm3": None if rows is None or planar else _total_volume(rows),
        "n_levels_assessed": None if vertebrae is None else sum(row["assessed"] == FULL for row in vertebrae),
        "naming_anchor": levels.anchor if levels is not None else None,
        **_reference_columns(reference if signal.is_hu else None),
    }


def _checked_levels(levels: LevelMask | None, volume: Volume) -> LevelMask | None:
    if levels is None:
        return None
    shape = volume.grid.shape
    numbers = checked_labels(levels.levels, shape=shape, name="levels")
    parts = levels.parts
    if parts is not None:
        parts = checked_labels(parts, shape=shape, name="parts", kind=np.uint8)
    return LevelMask(numbers, parts, levels.anchor)


def _find_vertebrae(volume: Volume, signal: Signal, levels: LevelMask, instances: Labels | None) -> dict[int, Found]:
    found = {}
    for region in find_regions(levels.levels):
        _check_level(region)
        interior = interior_of(region, volume=volume, levels=levels, lesions=instances, metal_above=signal.metal_above)
        parts = body_parts(region, levels=levels, lesions=instances, grid=volume.grid)
        found[region.label] = Found(region, parts, interior, not touches_face(region, volume.grid.shape))
    return found


def _check_level(region: Region) -> None:
    try:
        level_name(region.label)
    except ValueError as error:
        raise ScanError(Reason.MASK_VALUES, f"the mask of levels: {error}; rename its values") from error


def _lesion_rows(
    lesions: LesionMask | None, instances: Labels | None, levels: LevelMask | None, context: LesionContext
) -> tuple[list[dict[str, object]] | None, list[Tallied] | None]:
    """The rows of the lesions and, where there are levels, the lesions as the vertebrae count them."""
    if lesions is None or instances is None:
        return None, None
    rows, tallied = [], []
    for region in find_regions(instances):
        place: Place | None = place_of(region, levels) if levels is not None else None
        row = lesion_row(region, place, found=lesions, context=context)
        rows.append(row)
        if place is not None:
            tallied.append(Tallied(place, row.get("lesion_type")))
    return rows, tallied


def _total_volume(rows: list[dict[str, object]]) -> float:
    return sum(float(volume) for row in rows if isinstance(volume := row["volume_mm3"], float))


def _reference_columns(reference: Reference | None) -> dict[str, object]:
    return {
        "trabecular_hu": None if reference is None else reference.median,
        "trabecular_mad_hu": None if reference is None else reference.mad,
    }
