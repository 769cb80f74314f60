"""Small cohorts for the tests of the flows: NIfTI boxes with lesions whose number is known, and a manifest."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from pipeline.query import run_query
from schemas.config import CohortConfig

SHAPE = (12, 11, 10)
PRECOMPUTED = {"CT": {"lesions": {"model": "precomputed"}}}

VIEWS = ("series", "scans", "lesions", "vertebrae")
VARIES = ("attempt", "finished_at", "worker", "n_concurrent", "peak_rss_mb", "volume_uri", "labels_uri")
"""Columns that differ between two runs that did the same."""


def write_scan(folder: Path, name: str, *, n_lesions: int = 2, seed: int = 0, has_geometry: bool = True) -> None:
    """A scan `name.nii.gz` and its mask `name_lesions.nii.gz` with that many lesions of 2 x 2 x 2 voxels."""
    voxels = np.random.default_rng(seed).integers(-200, 400, SHAPE).astype(np.int16)
    mask = np.zeros(SHAPE, np.uint8)
    for lesion in range(n_lesions):
        mask[3 * lesion : 3 * lesion + 2, 2:4, 2:4] = lesion + 1
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, array in (("", voxels), ("_lesions", mask)):
        image = nib.Nifti1Image(array, affine)
        image.set_sform(affine, code=2 * has_geometry)
        image.set_qform(affine, code=1 * has_geometry)
        nib.save(image, folder / f"{name}{suffix}.nii.gz")


def write_cohort(folder: Path, n_scans: int = 5, *, modalities: Sequence[str] = ("CT",), truth: bool = False) -> Path:
    """Scans of one patient each with 0, 1, 2, ... lesions (three at most), and their manifest; with masks as truth."""
    rows = []
    for i in range(n_scans):
        write_scan(folder / "scans", f"s{i}", n_lesions=i % 4, seed=i)
        rows.append(
            {
                "uri": f"scans/s{i}.nii.gz",
                "patient_id": f"Secretname{i}",
                "study_date": "2020-01-01",
                "modality": modalities[i % len(modalities)],
                "lesions_uri": f"scans/s{i}_lesions.nii.gz",
            }
            | ({"truth_uri": f"scans/s{i}_lesions.nii.gz"} if truth else {})
        )
    write_manifest(folder, rows)
    return folder / "manifest.csv"


def write_manifest(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """The manifest of a cohort."""
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def config_of(folder: Path, **more: Any) -> CohortConfig:
    """A cohort file over `write_cohort`'s folder."""
    values: dict[str, Any] = {
        "cohort": "boxes",
        "source": str(folder / "manifest.csv"),
        "store": str(folder / "store"),
        "recipe": PRECOMPUTED,
    }
    return CohortConfig.model_validate(values | more)


def tables(store: str, storage_options: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """What counts in a store, without times and addresses."""
    found = {}
    for view in VIEWS:
        rows = run_query(store, f"FROM {view}", storage_options=storage_options)
        varying = [name for name in rows.column_names if name in VARIES or name.startswith("seconds_")]
        found[view] = sorted(map(str, rows.drop_columns(varying).to_pylist()))
    return found
