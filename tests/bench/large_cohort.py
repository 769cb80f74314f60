"""A large cohort's rows without its scans: as many lesions as one asks for, laid out as the program's commits are.

Keys, days and sites are each scan's own; the measured values of a scan are drawn from a pool, for the files must be
large and not their content new.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa

from pipeline.store import Store
from schemas.catalog import CATALOG
from schemas.nested import spread
from schemas.results import CANDIDATE, LESION, RESULTS, VERTEBRA
from schemas.spine import LEVELS

_NAMES = [level.name for level in LEVELS]
_WORDS = {
    "level": _NAMES,
    "level2": _NAMES,
    "lesion_type": ["lytic", "blastic", "mixed", "indeterminate"],
    "compartment": ["body", "posterior", "both"],
    "diameter_plane": ["axial"],
    "intensity_unit": ["HU"],
    "type_rule_id": ["t1"],
    "model": ["m 1"],
    "why_not": ["threshold"],
    "dominant_type": ["lytic", "blastic"],
}
_NOT_ON_CT = ("suv_", "z_", "mtv_", "tlg_", "model_class", "mask_volume", "features", "measurable")
_WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Size:
    """How large the cohort is."""

    scans: int = 100_000
    lesions_per_scan: int = 100
    levels_per_scan: int = 25
    files: int = 500

    @property
    def scans_per_file(self) -> int:
        return -(-self.scans // self.files)


def write_cohort(store: Store, size: Size, *, recipes: tuple[str, ...] = ("a",)) -> None:
    """Catalog, results and clinical columns; two studies to a patient, half a year apart on average."""
    rng = np.random.default_rng(0)
    pool = [_results(rng, size) for _ in range(4)]
    for file in range(size.files):
        names = [f"{number:012x}" for number in range(file * size.scans_per_file, (file + 1) * size.scans_per_file)]
        keys = {
            "series_key": [f"s{name}" * 2 for name in names],
            "study_key": [f"t{name}" * 2 for name in names],
            "patient_key": [f"p{int(name, 16) // 2:012x}" * 2 for name in names],
            "version": ["v" * 32] * len(names),
            "shard": [f"{file:016x}"] * len(names),
            "attempt": ["20260101T000000000000-00000000"] * len(names),
            "site": [f"site{int(name, 16) // 2 % 7}" for name in names],
        }
        store.write_table(f"catalog/{file:016x}-20260101T000000000000-00000000.parquet", _catalog(rng, keys, names))
        for recipe in recipes:
            rows = _with(pool[file % len(pool)], keys | {"recipe_id": [recipe] * len(names)})
            store.write_table(
                f"results/recipe={recipe}/{file:016x}-20260101T000000000000-00000000.parquet", spread(rows)
            )
    patients = sorted({f"p{number // 2:012x}" * 2 for number in range(size.scans_per_file * size.files)})
    tumours = np.array(["breast", "prostate", "lung", "kidney", "myeloma"])[rng.integers(0, 5, len(patients))]
    store.write_table("clinical/1.parquet", pa.table({"patient_key": patients, "primary_tumour": tumours}))


def _catalog(rng: np.random.Generator, keys: dict[str, list[str]], names: list[str]) -> pa.Table:
    n = len(names)
    days = [date(2020, 1, 1) + timedelta(days=int(name, 16) % 2 * int(rng.integers(30, 300))) for name in names]
    columns = keys | {
        "study_date_shifted": days,
        "part": [0] * n,
        "ingest_id": ["i1"] * n,
        "modality": ["CT"] * n,
        "status": ["ok"] * n,
        "shape": [[600, 512, 512]] * n,
        "spacing_mm": [[1.0, 0.8, 0.8]] * n,
        "origin_mm": rng.normal(0, 100, (n, 3)).tolist(),
        "direction": [[1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0]] * n,
        "volume_uri": [f"volumes/x.zarr/{key}/a/0" for key in keys["series_key"]],
        "manufacturer": [["SIEMENS", "Philips", "GE"][int(name, 16) // 2 % 3] for name in names],
        "manufacturer_model_name": [f"model {int(name, 16) // 2 % 11}" for name in names],
        "slice_thickness": rng.choice([0.8, 1.0, 2.0, 3.0], n).tolist(),
        "kvp": [120.0] * n,
        "finished_at": [_WHEN] * n,
    }
    return _table(columns, CATALOG, n)


def _results(rng: np.random.Generator, size: Size) -> pa.Table:
    n = size.scans_per_file
    counts = rng.poisson(size.lesions_per_scan, n)
    lesions = _records(rng, LESION, counts, first="lesion_id")
    levels = _records(rng, VERTEBRA, np.full(n, size.levels_per_scan), first=None)
    columns = {
        "modality": ["CT"] * n,
        "status": ["ok"] * n,
        "n_lesions": counts.tolist(),
        "lesion_volume_mm3": (counts * 500.0).tolist(),
        "n_levels_assessed": [size.levels_per_scan] * n,
        "device": ["cpu"] * n,
        "backend": ["openvino"] * n,
        "worker": ["w1"] * n,
        "finished_at": [_WHEN] * n,
        "lesions": lesions,
        "candidates": _records(rng, CANDIDATE, rng.poisson(size.lesions_per_scan / 10, n), first=None),
        "vertebrae": levels,
        **{f"seconds_{stage}": rng.gamma(2, 3, n).tolist() for stage in ("read", "detect", "tally", "total")},
    }
    return _table(columns, RESULTS, n)


def _records(rng: np.random.Generator, record: pa.StructType, counts: np.ndarray, first: str | None) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    total = int(offsets[-1])
    values = [_values(rng, field, total, counts, field.name == first) for field in record]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.StructArray.from_arrays(values, fields=list(record)))


def _values(rng: np.random.Generator, field: pa.Field, total: int, counts: np.ndarray, numbered: bool) -> pa.Array:
    kind = field.type
    if field.name.startswith(_NOT_ON_CT):
        return pa.nulls(total, kind)
    if numbered:
        return pa.array(np.concatenate([np.arange(1, count + 1) for count in counts]), kind)
    if field.name == "assessed":
        return pa.array(rng.choice(["full", "partial", "absent"], total, p=[0.8, 0.1, 0.1]))
    if field.name in _WORDS:
        return pa.array(rng.choice(_WORDS[field.name], total))
    if pa.types.is_floating(kind):
        return pa.array(rng.random(total) if field.name.endswith("fraction") else rng.gamma(2, 20, total))
    if pa.types.is_integer(kind):
        return pa.array(rng.integers(0, 500, total), kind)
    if pa.types.is_boolean(kind):
        return pa.array(rng.random(total) < 0.1)
    if pa.types.is_list(kind):
        length = 3 if field.name == "centroid_mm" else 6
        flat = pa.array(rng.integers(0, 500, total * length)).cast(kind.value_type)
        return pa.ListArray.from_arrays(pa.array(np.arange(total + 1, dtype=np.int32) * length), flat).cast(kind)
    return pa.nulls(total, kind)


def _table(columns: dict[str, object], schema: pa.Schema, n: int) -> pa.Table:
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(n, f.type) for f in schema]
    return pa.table(arrays, schema=pa.schema([pa.field(f.name, f.type) for f in schema]))


def _with(rows: pa.Table, columns: dict[str, list[str]]) -> pa.Table:
    for name, values in columns.items():
        place = rows.column_names.index(name)
        rows = rows.set_column(place, rows.schema.field(place), pa.array(values, pa.string()))
    return rows
