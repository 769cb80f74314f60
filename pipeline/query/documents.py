"""The small tables that are read whole: recipes from their JSON, the cohort's clinical columns."""

from __future__ import annotations

import io
import json
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.store import Store
from schemas.columns import table
from schemas.reasons import MEANING
from schemas.spine import LEVELS
from schemas.views import CLINICAL, LEVEL, RECIPE

_SERIES_KEYS = {"study_key", "series_key"}


def recipes_table(store: Store) -> pa.Table:
    """One row per file of `recipes/`: `schemas.views.RECIPE`."""
    documents = store.read_all(path for path in store.list("recipes") if path.endswith(".json"))
    return table([_recipe(json.loads(data), data.decode()) for data in documents.values()], RECIPE)


def _recipe(document: dict[str, Any], text: str) -> dict[str, Any]:
    lesions = (document.get("use") or {}).get("lesions") or {}
    set_on = (document.get("threshold_set") or {}).get("set_on")
    return {
        "recipe_id": document.get("recipe_id"),
        "modality": document.get("modality"),
        "levels_model": _model(document, "levels"),
        "lesions_model": _model(document, "lesions"),
        "threshold": lesions.get("threshold"),
        "min_volume_mm3": lesions.get("min_volume_mm3"),
        "threshold_set_on": date.fromisoformat(set_on) if set_on else None,
        "document": text,
    }


def _model(document: dict[str, Any], task: str) -> str | None:
    specs = [model.get("spec") or {} for model in (document.get("models") or {}).get(task) or []]
    return " + ".join(f"{spec.get('name')} {spec.get('version')}" for spec in specs) or None


def reasons_table(_: Store) -> pa.Table:
    """What each reason means and what to do about it."""
    rows = [{"reason_code": str(r), "meaning": text, "what_to_do": action} for r, (text, action) in MEANING.items()]
    return pa.Table.from_pylist(rows)


def levels_table(_: Store) -> pa.Table:
    """The levels of the spine from head to foot."""
    rows: list[dict[str, object]] = [
        {"level": level.name, "position": position, "region": level.region, "snomed": level.snomed}
        for position, level in enumerate(LEVELS, 1)
    ]
    return table(rows, LEVEL)


def clinical_table(store: Store) -> pa.Table:
    """The cohort's own columns by `patient_key`.

    Files have a row per series. Of a patient the last file counts, and in it the last value that is there. Only columns
    of the newest file are shown: another was withdrawn from the cohort file.
    """
    found = store.read_all(path for path in store.list("clinical") if path.endswith(".parquet"))
    patients: dict[str, dict[str, Any]] = {}
    fields: dict[str, pa.Field] = {field.name: field for field in CLINICAL}
    newest: pa.Schema | None = None
    for data in found.values():
        rows = pq.read_table(io.BytesIO(data))
        newest = rows.schema
        for field in rows.schema:
            known = fields.setdefault(field.name, field)
            if known.type != field.type and not pa.types.is_null(field.type):
                fields[field.name] = field if pa.types.is_null(known.type) else pa.field(field.name, pa.string())
        patients |= _last_values(rows)
    kept = {*CLINICAL.names, *(newest.names if newest is not None else ())} - _SERIES_KEYS
    shown = [field for field in fields.values() if field.name in kept]
    columns = [_as_type([row.get(f.name) for row in patients.values()], f.type) for f in shown]
    return pa.table(columns, names=[field.name for field in shown])


def _last_values(rows: pa.Table) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["patient_key"], {}).update({key: value for key, value in row.items() if value is not None})
    return found


def _as_type(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Values that two files gave different types are texts."""
    if pa.types.is_null(kind):
        return pa.array(values, pa.string())
    if pa.types.is_string(kind):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    return pa.array(values, kind)
