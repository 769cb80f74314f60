"""One row per lesion, and the level of each candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.grid import Grid, Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.regions import Region, touches_face
from pipeline.tally.density import density_columns
from pipeline.tally.diameters import feret_3d, largest_slice
from pipeline.tally.intensity import Signal, intensity_columns, values_of
from pipeline.tally.place import Place, level_at, place_columns
from pipeline.tally.plane import Plane
from pipeline.tally.radiomics import Features
from pipeline.tally.reference import Reference
from schemas.config import TypeRule

PARTIAL_VOLUME_BELOW = 8
"""Lesions of fewer voxels have rough figures."""


@dataclass(frozen=True)
class LesionContext:
    """What all lesions of a scan are measured with."""

    volume: Volume
    """The scan."""
    signal: Signal
    """What its values mean."""
    plane: Plane
    """The slices of the diameters."""
    planar: bool
    """Whether it is a projection, with areas and no volumes."""
    reference: Reference | None
    """Normal bone of the scan."""
    body_voxels: dict[int, int]
    """Voxels of each level's body."""
    type_rule: TypeRule
    """Constants of the density rule."""
    threshold: float | None
    """Threshold that made the lesions."""
    model: str | None
    """Model that made them."""
    features: Features | None
    """Radiomics, where asked for."""


def lesion_row(region: Region, place: Place | None, *, found: LesionMask, context: LesionContext) -> dict[str, object]:
    """A row of `schemas.results.LESION`; keys that do not apply are left out and so NULL."""
    grid = context.volume.grid
    volume_mm3 = None if context.planar else region.n_voxels * grid.voxel_mm3
    return {
        "lesion_id": region.label,
        **(place_columns(place, context.body_voxels) if place else {}),
        "centroid_mm": grid.to_lps(region.centroid).tolist(),
        "bbox": region.bbox,
        **size_columns(region, grid, context.plane, volume_mm3),
        **_values(region, volume_mm3, context),
        **_scores(region.label, found),
        "threshold": context.threshold,
        "model": context.model,
        "touches_edge": touches_face(region, grid.shape),
        "partial_volume": region.n_voxels < PARTIAL_VOLUME_BELOW,
        **({"features": context.features(context.volume, region)} if context.features else {}),
    }


def size_columns(region: Region, grid: Grid, plane: Plane, volume_mm3: float | None) -> dict[str, object]:
    """Volume, area and diameters of a region; a planar image has an area and its diameters only."""
    rows, columns = plane.in_plane
    spacing = (grid.spacing_mm[rows], grid.spacing_mm[columns])
    found = largest_slice(np.moveaxis(region.mask, plane.axis, 0), spacing)
    ends = np.zeros((4, 3)) + region.start
    ends[:, plane.axis] += found.slice_index
    ends[:, [rows, columns]] += np.concatenate([found.ends, found.short_ends])
    long_ends, short_ends = np.split(grid.to_lps(ends), 2)
    in_volume = volume_mm3 is not None
    return {
        "n_voxels": region.n_voxels,
        "volume_mm3": volume_mm3,
        "area_mm2": found.n_pixels * spacing[0] * spacing[1],
        "long_axis_mm": found.long_mm,
        "short_axis_mm": found.short_mm,
        "diameter_plane": plane.name,
        "diameter_slice": region.box[plane.axis].start + found.slice_index,
        "long_axis_ends_mm": long_ends.ravel().tolist(),
        "short_axis_ends_mm": short_ends.ravel().tolist(),
        "axial_long_axis_mm": found.long_mm if plane.is_axial and in_volume else None,
        "feret_3d_mm": max(feret_3d(region.mask, grid.spacing_mm), found.long_mm) if in_volume else None,
        "sphere_diameter_mm": (6.0 * volume_mm3 / np.pi) ** (1.0 / 3.0) if volume_mm3 is not None else None,
    }


def candidate_rows(found: LesionMask, levels: LevelMask | None, grid: Grid) -> list[dict[str, object]]:
    """The candidates with their level; NULL without levels."""
    if levels is None:
        return [dict(candidate) for candidate in found.candidates]
    return [{**candidate, "level": level_at(levels, grid, candidate)} for candidate in found.candidates]


def _values(region: Region, volume_mm3: float | None, context: LesionContext) -> dict[str, object]:
    columns = intensity_columns(
        region,
        volume=context.volume,
        signal=context.signal,
        reference=context.reference,
        volume_mm3=volume_mm3,
    )
    values = values_of(region, context.volume)
    if context.signal.is_hu and values.size:
        columns |= density_columns(values, reference=context.reference, rule=context.type_rule)
    return columns


def _scores(label: int, found: LesionMask) -> dict[str, object]:
    """What the mask says of a lesion itself; its arrays are ordered by label, from 1."""
    columns: dict[str, object] = {}
    per_lesion = {
        "score_max": found.score_max,
        "score_mean": found.score_mean,
        "mask_volume_change": found.volume_change,
    }
    for name, values in per_lesion.items():
        if values is not None and label <= len(values):
            columns[name] = float(values[label - 1])
    if found.model_class is not None and label <= len(found.model_class):
        chances = found.model_class[label - 1]
        columns |= {
            "model_class": max(chances, key=lambda name: chances[name]) if chances else None,
            "model_class_probabilities": dict(chances),
        }
    return columns
