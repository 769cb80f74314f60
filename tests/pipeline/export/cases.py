"""Stores made of real series, with masks whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.grid import Volume
from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.masks import LesionMask, LevelMask
from pipeline.store import Store
from pipeline.store.results import commit_catalog, commit_results
from pipeline.store.volumes import read_volume, write_labels
from pipeline.tally import tally_scan
from schemas.config import CohortConfig, TypeRule
from tests.pipeline.query.rows import WHEN, attempt

RECIPE = "0123456789abcdef"


def store_of(source: Path, folder: Path) -> Store:
    """A store with every series of a source, and lesions in each that could be read."""
    config = CohortConfig(source=str(source), store=str(folder / "store"))
    store = Store.create(config.store, cohort="test")
    index = index_source(config, identity=Identity.of(store))
    rows = [ingest_series(e, store=store, shard="sh", attempt=attempt(1), config=config) for e in index.series]
    commit_catalog(store, shard="sh", attempt=attempt(1), rows=rows)
    store.write_table("private/crosswalk/1.parquet", index.crosswalk)
    scans = [_scan(store, row) for row in rows if row["status"] == "ok"]
    if scans:
        commit_results(store, recipe_id=RECIPE, shard="sh", attempt=attempt(1), rows=scans)
    return store


def _scan(store: Store, row: dict[str, object]) -> dict[str, object]:
    volume = read_volume(store, str(row["volume_uri"]))
    lesions, levels = masks_for(volume)
    group = f"labels/recipe={RECIPE}/sh.zarr/{row['series_key']}/{attempt(1)}"
    write_labels(store, group, grid=volume.grid, lesions=lesions.instances, levels=levels.levels)
    tallied = tally_scan(
        volume,
        modality=str(row["modality"]),
        intensity_unit="HU" if row["modality"] == "CT" else None,
        suv_factor=1.0 if row["modality"] == "PT" else None,
        lesions=lesions,
        levels=levels,
        type_rule=TypeRule(),
        threshold=0.5,
        model="test 1",
    )
    keys = {name: row[name] for name in ("series_key", "study_key", "patient_key", "version", "modality", "site")}
    of_recipe = {"recipe_id": RECIPE, "shard": "sh", "attempt": attempt(1), "labels_uri": group}
    return keys | of_recipe | tallied | {"status": "ok", "finished_at": WHEN}


def masks_for(volume: Volume) -> tuple[LesionMask, LevelMask]:
    """Three lesions of odd shapes, two of which touch and one of which reaches the last slice; two levels."""
    rng = np.random.default_rng(0)
    shape = volume.grid.shape
    lesions = np.zeros(shape, np.uint16)
    quarter = [max(n // 4, 1) for n in shape]
    middle = tuple(slice(n // 2 - q, n // 2 + q + n % 2) for n, q in zip(shape, quarter, strict=True))
    speckled = rng.random(lesions[middle].shape)
    lesions[middle] = np.where(speckled < 0.5, np.where(speckled < 0.2, 2, 1), 0)
    lesions[-1, : quarter[1], : quarter[2]] = 3
    levels = np.zeros(shape, np.uint16)
    levels[middle] = 20
    levels[0] = 28
    return LesionMask(lesions), LevelMask(levels, anchor="mask")
