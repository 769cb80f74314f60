"""The small tables that are read whole: recipes from their JSON, the cohort's clinical columns."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import Store, service_errors
from schemas.columns import table
from schemas.views import CLINICAL, RECIPE


def recipes_table(store: Store) -> pa.Table:
    """One row per file of `recipes/`: `schemas.views.RECIPE`."""
    documents = _read_all(store, (path for path in store.list("recipes") if path.endswith(".json")))
    return table([_recipe(json.loads(data), data.decode()) for data in documents], RECIPE)


def _recipe(document: dict[str, Any], text: str) -> dict[str, Any]:
    lesions = (document.get("use") or {}).get("lesions") or {}
    return {
        "recipe_id": document.get("recipe_id"),
        "modality": document.get("modality"),
        "levels_model": _model(document, "levels"),
        "lesions_model": _model(document, "lesions"),
        "threshold": lesions.get("threshold"),
        "min_volume_mm3": lesions.get("min_volume_mm3"),
        "document": text,
    }


def _model(document: dict[str, Any], task: str) -> str | None:
    specs = [model.get("spec") or {} for model in (document.get("models") or {}).get(task) or []]
    return " + ".join(f"{spec.get('name')} {spec.get('version')}" for spec in specs) or None


def clinical_table(store: Store) -> pa.Table:
    """The cohort's own columns by `patient_key`; of a patient who was written twice the last row counts."""
    files = _read_all(store, (path for path in store.list("clinical") if path.endswith(".parquet")))
    tables = [pq.read_table(io.BytesIO(data)) for data in files]
    if not tables:
        return CLINICAL.empty_table()
    merged = pa.concat_tables(tables, promote_options="permissive")
    numbered = merged.append_column("_row", pa.array(range(merged.num_rows), pa.int64()))
    last = numbered.group_by("patient_key").aggregate([("_row", "max")])["_row_max"].combine_chunks().sort()
    return merged.take(last).select(["patient_key", *(n for n in merged.column_names if n != "patient_key")])


def _read_all(store: Store, paths: Iterable[str]) -> list[bytes]:
    """Many files at once, in the order of their names."""
    wanted = {store.path(path): None for path in paths}
    if not wanted:
        return []
    with service_errors("reading the store"):
        found = store.fs.cat(list(wanted))
    by_path = found if isinstance(found, dict) else {next(iter(wanted)): found}
    return [bytes(by_path[path]) for path in wanted]
