"""What the viewer shows of a scan: volume and masks as NIfTI, and the list of its lesions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from pipeline.errors import RequestError
from pipeline.grid import Grid
from pipeline.query import connect
from pipeline.store import Store
from pipeline.store.volumes import read_labels, read_volume

_SCAN = """
SELECT s.series_key, s.modality, s.intensity_unit AS unit, s.volume_uri, c.recipe_id, c.labels_uri, c.status
FROM series s LEFT JOIN scans c
    ON c.series_key = s.series_key AND c.status = 'ok' AND ($recipe IS NULL OR starts_with(c.recipe_id, $recipe))
WHERE starts_with(s.series_key, $key) ORDER BY c.finished_at DESC NULLS LAST"""

_RECIPES = "SELECT recipe_id FROM scans WHERE series_key = ? AND status = 'ok' ORDER BY recipe_id"

_LESIONS = """
SELECT lesion_id, level, lesion_type, volume_mm3, long_axis_mm, score_max, centroid_mm FROM lesions
WHERE series_key = ? AND recipe_id = ? ORDER BY score_max DESC NULLS LAST, volume_mm3 DESC NULLS LAST, lesion_id"""


@dataclass(frozen=True)
class ViewedScan:
    """One scan, ready to be shown."""

    facts: dict[str, Any]
    """What the page says: series_key, recipe_id, modality, window, lesions."""
    files: dict[str, bytes]
    """Name to NIfTI: volume.nii, and lesions.nii and levels.nii where there are masks."""


def viewed_scan(store: Store, series_key: str, *, recipe_id: str | None = None) -> ViewedScan:
    """Read one scan and the masks of a recipe.

    Args:
        store: holds it.
        series_key: of the scan, or the first digits of it.
        recipe_id: whose masks, or the first digits of it; None for the result that was made last.

    Raises:
        RequestError: no series, or several, start so, or it has no volume, or no result of that recipe.
        ServiceError: the store cannot be read.
    """
    connection = connect(store)
    try:
        values = {"key": series_key, "recipe": recipe_id}
        found = connection.sql(_SCAN, params=values).to_arrow_table().to_pylist()
        row = _only(found, series_key)
        if recipe_id is not None and len({each["recipe_id"] for each in found} - {None}) != 1:
            known = [key for (key,) in connection.execute(_RECIPES, [row["series_key"]]).fetchall()]
            raise RequestError(
                f"this scan has no one result of a recipe {recipe_id!r}; it has those of: {', '.join(known) or 'none'}"
            )
        lesions = []
        if row["recipe_id"] is not None:
            sql_values = [row["series_key"], row["recipe_id"]]
            lesions = connection.sql(_LESIONS, params=sql_values).to_arrow_table().to_pylist()
    finally:
        connection.close()
    volume = read_volume(store, row["volume_uri"])
    files = {"volume.nii": as_nifti(volume.voxels, volume.grid)}
    if row["labels_uri"] is not None:
        for name, mask in zip(("lesions", "levels"), read_labels(store, row["labels_uri"]), strict=True):
            if mask is not None:
                files[f"{name}.nii"] = as_nifti(mask, volume.grid)
    facts = {name: row[name] for name in ("series_key", "modality", "unit", "recipe_id")}
    return ViewedScan(facts | {"window": window(volume.voxels, row["modality"]), "lesions": lesions}, files)


def _only(found: list[dict[str, Any]], series_key: str) -> dict[str, Any]:
    keys = sorted({row["series_key"] for row in found})
    if len(keys) != 1:
        problem = "no series starts" if not keys else f"{len(keys)} series start"
        raise RequestError(f"{problem} with {series_key!r}: give a `series_key` of the view `series`")
    if found[0]["volume_uri"] is None:
        raise RequestError("this series has no volume: it was quarantined or left out, see the view `failures`")
    return found[0]


def window(voxels: npt.NDArray[np.generic], modality: str | None) -> tuple[float, float]:
    """Lowest and highest value that is shown: bone for CT, else the 1st and 99th percentile of a sample."""
    if modality == "CT":
        return -500.0, 1300.0
    sample = voxels[:: max(1, voxels.shape[0] // 32), ::4, ::4].astype(np.float64)
    low, high = np.quantile(sample, [0.01, 0.99])
    return float(low), float(high)


def as_nifti(voxels: npt.NDArray[np.generic], grid: Grid) -> bytes:
    """Voxels [z, y, x] as a NIfTI file, in its own right-anterior-superior coordinates."""
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    values = voxels.astype(np.float32) if voxels.dtype.kind == "f" else voxels
    kept = values if values.dtype in (np.uint8, np.int16, np.uint16, np.float32) else values.astype(np.int32)
    return bytes(nib.Nifti1Image(kept.transpose(2, 1, 0), to_ras @ grid.affine).to_bytes())
