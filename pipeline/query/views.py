"""The views in SQL, over what `pipeline.query.tables` lays ready.

Columns come from `schemas.views`; here stands only what is not a plain column of a file. The rows of lesions are made
from the lists in a scan's row, by position: `lists[i]` for each i, so that DuckDB reads the lists that a question names
and leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.query.columns import quoted, sql_type
from pipeline.query.compacted import TABLES as MERGED_VIEWS
from schemas.nested import SEPARATOR
from schemas.views import VIEWS

_RESULT_ROW = "JOIN store.best_scans b USING (recipe_id, series_key, shard, attempt)"
_OF_SERIES = ("study_key", "patient_key", "modality", "site", "study_day", "is_primary")


def view_statements(*, merged: bool) -> dict[str, str]:
    """View to its CREATE statement, in an order in which each finds what it reads; on merged tables, or on files."""
    statements = {
        "series": _series(),
        "scans": _scans(),
        "lesions": _records("lesions", "lesion_id"),
        "candidates": _records("candidates", "bbox"),
        "vertebrae": _records("vertebrae", "level"),
        "studies": _studies(),
        "patients": _patients(),
        "failures": _failures(),
        "recipes": _create("recipes", {}, "store.recipes"),
        "clinical": "CREATE VIEW clinical AS FROM store.clinical",
    }
    if merged:
        statements |= {view: _create(view, {}, f"store.merged_{view}") for view in MERGED_VIEWS}
    return statements


def _create(view: str, expressions: Mapping[str, str], source: str) -> str:
    """A view whose columns are plain where `expressions` has none for them."""
    columns = ", ".join(_column(field, expressions.get(field.name)) for field in VIEWS[view])
    return f"CREATE VIEW {view} AS SELECT {columns} FROM {source}"  # noqa: S608 -- only names of our own schemas


def _column(field: pa.Field, expression: str | None) -> str:
    return (
        quoted(field.name) if expression is None else f"({expression})::{sql_type(field.type)} AS {quoted(field.name)}"
    )


def _series() -> str:
    expressions = {"study_day": "b.study_day", "is_primary": "b.is_primary"}
    return _create(
        "series",
        expressions | {name: f"c.{name}" for name in ("study_key", "patient_key", "modality", "site", "status")},
        "store.catalog c JOIN store.best_series b USING (series_key, version, shard, attempt)",
    )


def _scans() -> str:
    expressions = {name: f"b.{name}" for name in _OF_SERIES} | {"status": "b.status"}
    return _create("scans", expressions, f"store.results r {_RESULT_ROW}")


def _records(view: str, counted: str) -> str:
    """One row per record of the lists `view__...`; `counted` is a list that has an entry for every record."""
    expressions: dict[str, str] = {}
    for field in VIEWS[view]:
        stored = quoted(f"{view}{SEPARATOR}{field.name}")
        if field.name == "region":
            expressions[field.name] = _region(f"{quoted(f'{view}{SEPARATOR}level')}[i]")
        elif field.name not in _OF_SERIES and field.name not in {"recipe_id", "series_key"}:
            expressions[field.name] = f"{stored}[i]"
    every = f"unnest(range(1, len({quoted(f'{view}{SEPARATOR}{counted}')}) + 1)) AS i"
    # joined before the lists are multiplied: DuckDB 2.0 copies whole lists through a join, once per record
    of_series = ", ".join(f"b.{name}" for name in _OF_SERIES)
    rows = f"SELECT r.* EXCLUDE (study_key, patient_key, modality, site), {of_series}, {every} FROM store.results r"  # noqa: S608
    return _create(view, expressions, f"({rows} {_RESULT_ROW})")


def _region(level: str) -> str:
    # not IN (...): DuckDB 2.0 makes a join of a long list, and runs it where the region is not asked for
    starts = " ".join(
        f"WHEN starts_with({level}, '{name[0].upper()}') THEN '{name}'" for name in ("cervical", "thoracic", "lumbar")
    )
    return f"CASE WHEN {level} IN ('SACRUM', 'COCCYX') THEN 'sacral' {starts} END"


def _studies() -> str:
    vertebra = "[j FOR j IN range(1, len(vertebrae__level) + 1) IF {}]"
    seen = vertebra.format("vertebrae__assessed[j] IN ('full', 'partial') AND vertebrae__vertebra_volume_mm3[j] > 0")
    involved = vertebra.format("vertebrae__n_lesions[j] > 0 AND vertebrae__level[j] != 'none'")
    volume = f"list_sum([vertebrae__vertebra_volume_mm3[k] FOR k IN {seen}])"
    expressions = {name: f"b.{name}" for name in (*_OF_SERIES[:5], "n_series", "status")} | {
        **{
            f"n_{kind}": f"len(list_filter(lesions__lesion_type, lambda t: t = '{kind}'))"
            for kind in ("lytic", "blastic", "mixed", "indeterminate")
        },
        "largest_long_axis_mm": "list_max(lesions__long_axis_mm)",
        "largest_volume_mm3": "list_max(lesions__volume_mm3)",
        "n_levels_involved": f"len({involved})",
        "levels_involved": f"[vertebrae__level[k] FOR k IN {involved}]",
        "assessed_volume_mm3": volume,
        "burden": f"list_sum([vertebrae__lesion_load_mm3[k] FOR k IN {seen}]) / {volume}",
    }
    return _create("studies", expressions, f"store.results r {_RESULT_ROW} WHERE b.is_primary")


def _patients() -> str:
    last = "arg_max_null({}, (coalesce(study_day, -1000000), study_key)) FILTER (status = 'ok')"
    expressions = {
        "n_studies": "count(*)",
        "n_studies_ok": "count(*) FILTER (status = 'ok')",
        "first_study_day": "min(study_day)",
        "last_study_day": "max(study_day)",
        "n_lesions": "sum(n_lesions)",
        "lesion_volume_mm3": "sum(lesion_volume_mm3)",
        "last_n_lesions": last.format("n_lesions"),
        "last_lesion_volume_mm3": last.format("lesion_volume_mm3"),
        "last_burden": last.format("burden"),
        "max_lesion_volume_mm3": "max(lesion_volume_mm3)",
    }
    return _create("patients", expressions, "studies GROUP BY recipe_id, patient_key, modality")


def _failures() -> str:
    rows = """(
        SELECT 'ingest' AS stage, b.*, c.reason_code, c.reason, c.finished_at
        FROM store.catalog c JOIN store.best_series b USING (series_key, version, shard, attempt)
        WHERE b.status = 'quarantined'
        UNION ALL BY NAME
        SELECT 'scan' AS stage, b.*, r.reason_code, r.reason, r.finished_at
        FROM store.results r JOIN store.best_scans b USING (recipe_id, series_key, shard, attempt)
        WHERE b.status != 'ok' AND b.series_status = 'ok'
    ) LEFT JOIN store.reasons USING (reason_code)"""
    return _create("failures", {}, rows)
