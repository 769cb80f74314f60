"""A small real store: volumes, masks, catalog, results and a recipe, with findings at places that are known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from pipeline.evaluate.sources import Point, TruthSource
from pipeline.grid import Grid, Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.store import Store, new_attempt
from pipeline.store.results import commit_catalog, commit_results
from pipeline.store.volumes import write_labels, write_volume
from pipeline.tally import tally_scan
from schemas.config import TypeRule

RECIPE = "a" * 16
GRID = Grid((16, 40, 40), (3.0, 1.0, 1.0), (-20.0, -30.0, 100.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
"""Two vertebrae: L1 in the upper half of the slices, L2 in the lower."""

Box = tuple[int, int, int, int, int, int]
"""z0, y0, x0, z1, y1, x1, half-open."""


@dataclass(frozen=True)
class LittleScan:
    """One scan as it is to be."""

    name: str
    patient: str
    truth: tuple[Box, ...] = ()
    found: tuple[tuple[Box, float | None], ...] = ()
    """Lesions of the results and their scores, which may be None."""
    below: tuple[tuple[Box, float], ...] = ()
    """Candidates that were kept."""
    status: str = "ok"
    """ok, failed, quarantined (at ingest), missing."""
    split: str | None = None
    site: str | None = "north"
    study: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    """Further columns of the catalog."""
    points: tuple[Point, ...] | None = None
    """Reference as points in place of a mask."""


def paint(boxes: tuple[Box, ...]) -> np.ndarray:
    mask = np.zeros(GRID.shape, dtype=np.uint16)
    for value, (z0, y0, x0, z1, y1, x1) in enumerate(boxes, 1):
        mask[z0:z1, y0:y1, x0:x1] = value
    return mask


def levels() -> np.ndarray:
    mask = np.zeros(GRID.shape, dtype=np.uint16)
    mask[8:14, 4:36, 4:36] = 20
    mask[2:8, 4:36, 4:36] = 21
    return mask


def make_store(folder: Path, scans: list[LittleScan], *, recipe_id: str = RECIPE, store: Store | None = None) -> Store:
    """Write everything that a run would have written."""
    made = store or Store.create(str(folder / "store"), cohort="little")
    attempt = new_attempt()
    if store is None:
        commit_catalog(made, shard="s1", attempt=attempt, rows=[_catalog(made, scan, attempt) for scan in scans])
    document = {"recipe_id": recipe_id, "modality": "CT", "use": {"type_rule": TypeRule().model_dump()}, "models": {}}
    made.create_once(f"recipes/{recipe_id}.json", json.dumps(document).encode())
    rows = [_result(made, scan, recipe_id, attempt) for scan in scans if scan.status in ("ok", "failed")]
    commit_results(made, recipe_id=recipe_id, shard="s1", attempt=attempt, rows=rows)
    return made


def truths(folder: Path, scans: list[LittleScan], *, reader: str = "1") -> list[TruthSource]:
    """Write the reference masks as NIfTI."""
    sources = []
    for scan in scans:
        uri = None
        if scan.points is None:
            image = sitk.GetImageFromArray(paint(scan.truth).astype(np.uint8) + 0)
            image.SetSpacing(GRID.spacing_mm[::-1])
            image.SetOrigin(GRID.origin_mm)
            uri = str(folder / f"{scan.name}-{reader}.nii.gz")
            sitk.WriteImage(image, uri)
        study = scan.study or f"study-{scan.patient}"
        sources.append(TruthSource(scan.name, study, scan.patient, reader, uri, scan.points, scan.split))
    return sources


def _keys(scan: LittleScan) -> dict[str, str]:
    return {
        "series_key": scan.name,
        "study_key": scan.study or f"study-{scan.patient}",
        "patient_key": scan.patient,
    }


def _volume() -> Volume:
    noise = np.random.default_rng(5).normal(150, 20, GRID.shape)
    return Volume(noise.astype(np.int16), GRID)


def _catalog(store: Store, scan: LittleScan, attempt: str) -> dict[str, Any]:
    row = _keys(scan) | {
        "part": 0,
        "version": "v1",
        "ingest_id": "i1",
        "shard": "s1",
        "attempt": attempt,
        "modality": "CT",
        "site": scan.site,
        "finished_at": datetime.now(UTC),
    }
    if scan.status == "quarantined":
        return row | {"status": "quarantined", "reason_code": "gap", "reason": "slices are missing"}
    written = write_volume(store, f"volumes/s1.zarr/{scan.name}/{attempt}", _volume(), attributes={})
    return (
        row
        | scan.columns
        | {
            "status": "ok",
            "shape": list(GRID.shape),
            "spacing_mm": list(GRID.spacing_mm),
            "origin_mm": list(GRID.origin_mm),
            "direction": list(GRID.direction),
            "intensity_unit": "HU",
            "volume_uri": written.volume_uri,
            "voxels_sha256": f"{scan.name}-{written.voxels_sha256}",
        }
    )


def _result(store: Store, scan: LittleScan, recipe_id: str, attempt: str) -> dict[str, Any]:
    row = _keys(scan) | {
        "recipe_id": recipe_id,
        "version": "v1",
        "shard": "s1",
        "attempt": attempt,
        "modality": "CT",
        "site": scan.site,
        "finished_at": datetime.now(UTC),
    }
    if scan.status == "failed":
        return row | {"status": "failed", "reason_code": "error", "reason": "an error of the test"}
    mask, labels = paint(tuple(box for box, _ in scan.found)), levels()
    group = f"labels/recipe={recipe_id}/s1.zarr/{scan.name}/{attempt}"
    write_labels(store, group, grid=GRID, lesions=mask, levels=labels)
    scores = np.array([np.nan if score is None else score for _, score in scan.found])
    tallied = tally_scan(
        _volume(),
        modality="CT",
        intensity_unit="HU",
        suv_factor=None,
        lesions=LesionMask(
            mask,
            score_max=None if np.isnan(scores).any() else scores,
            score_mean=None if np.isnan(scores).any() else scores,
            candidates=[_candidate(box, score) for box, score in scan.below],
        ),
        levels=LevelMask(labels, anchor="mask"),
        type_rule=TypeRule(),
        threshold=0.5,
        model="little 1",
    )
    return row | tallied | {"status": "ok", "labels_uri": group}


def _candidate(box: Box, score: float) -> dict[str, object]:
    mask = paint((box,))
    return {
        "score_max": score,
        "score_mean": score,
        "centroid_mm": GRID.to_lps(np.argwhere(mask).mean(axis=0)).tolist(),
        "bbox": list(box),
        "volume_mm3": float(np.count_nonzero(mask) * GRID.voxel_mm3),
        "why_not": "threshold",
    }
