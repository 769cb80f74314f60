"""The views in SQL, over what `pipeline.query.tables` lays ready.

Columns come from `schemas.views`; here stands only what is not a plain column of a file. The rows of lesions are made
from the lists in a scan's row, by position: `lists[i]` for each i, so that DuckDB reads the lists that a question names
and leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa

from pipeline.longitudinal.views import VIEWS_OVER_TIME
from pipeline.query.columns import quoted, sql_type
from pipeline.query.compacted import TABLES as MERGED
from pipeline.query.omop import OMOP_VIEWS
from schemas.nested import SEPARATOR
from schemas.verdicts import OF_LESION
from schemas.views import EVALUATION, OF_SCAN, TALLIED_LESIONS, VIEWS

_RESULT_ROW = "JOIN store.best_scans b USING (recipe_id, series_key, shard, attempt)"
_OF_SERIES = ("study_key", "patient_key", "modality", "site", "study_day", "is_primary")
_TALLIED = "store.tallied_lesions"
_NEWEST = {
    "reference_standard": "series_key, reader",
    "compared_scans": "recipe_id, series_key",
    "metrics": "recipe_id",
    "site_metrics": "recipe_id",
    "curves": "recipe_id",
    "comparisons": "recipe_id, stratum",
}
"""Of what the newest attempt counts."""


def view_statements(*, merged: bool, verdicts: bool) -> dict[str, str]:
    """View to its CREATE statement, in an order in which each finds what it reads.

    Args:
        merged: whether there are merged tables to read.
        verdicts: whether readers have decided anything.
    """
    rows = _on_merged() if merged else _on_files()
    return rows | {
        "lesions": _lesions(verdicts),
        "patients": _patients(),
        "recipes": _create("recipes", VIEWS["recipes"], {}, "store.recipes"),
        "clinical": "CREATE VIEW clinical AS FROM store.clinical",
        "levels": _create("levels", VIEWS["levels"], {}, "store.levels"),
        "verdicts": _create("verdicts", VIEWS["verdicts"], {}, "store.verdicts"),
        **_over_time(),
        **_of_evaluation(),
        **{
            v: _create(v, VIEWS[v], {f.name: quoted(f.name) for f in VIEWS[v]}, f"({s})") for v, s in OMOP_VIEWS.items()
        },
    }


def _on_files() -> dict[str, str]:
    return {
        "series": _series(),
        "scans": _scans(),
        _TALLIED: _records(_TALLIED, TALLIED_LESIONS, "lesions", "lesion_id"),
        "candidates": _records("candidates", VIEWS["candidates"], "candidates", "score_max"),
        "vertebrae": _records("vertebrae", VIEWS["vertebrae"], "vertebrae", "level"),
        "studies": _studies(),
        "failures": _failures(),
    }


def _on_merged() -> dict[str, str]:
    names = {view: _TALLIED if view == "lesions" else view for view in MERGED}
    return {names[view]: _create(names[view], MERGED[view], {}, f"store.merged_{view}") for view in MERGED}


def _over_time() -> dict[str, str]:
    return {
        view: _create(view, VIEWS[view], {}, f"({sql})") if view in VIEWS else f"CREATE VIEW {view} AS {sql}"
        for view, sql in VIEWS_OVER_TIME.items()
    }


def _of_evaluation() -> dict[str, str]:
    statements = {}
    for view in EVALUATION:
        rows = f"(FROM store.{view} SEMI JOIN compared_scans USING (recipe_id, series_key, attempt))"
        if view in _NEWEST:
            newest = f"attempt = max(attempt) OVER (PARTITION BY {_NEWEST[view]})"
            rows = f"(FROM store.{view} QUALIFY {newest})"
        statements[view] = _create(view, VIEWS[view], {}, rows)
    return statements


def _create(view: str, columns: Iterable[pa.Field], expressions: Mapping[str, str], source: str) -> str:
    """A view whose columns are plain where `expressions` has none for them."""
    shown = ", ".join(_column(field, expressions.get(field.name)) for field in columns)
    return f"CREATE VIEW {view} AS SELECT {shown} FROM {source}"  # noqa: S608 -- only names of our own schemas


def _column(field: pa.Field, expression: str | None) -> str:
    return (
        quoted(field.name) if expression is None else f"({expression})::{sql_type(field.type)} AS {quoted(field.name)}"
    )


def _series() -> str:
    names = ("study_key", "patient_key", "modality", "site", "status", "study_day", "is_primary")
    source = "store.catalog c JOIN store.best_series b USING (series_key, version, shard, attempt)"
    return _create("series", VIEWS["series"], {name: f"b.{name}" for name in names}, source)


def _scans() -> str:
    expressions = {name: f"b.{name}" for name in (*_OF_SERIES, "status", "version")}
    return _create("scans", VIEWS["scans"], expressions, f"store.results r {_RESULT_ROW}")


def _lesions(verdicts: bool) -> str:
    if not verdicts:
        return _create("lesions", VIEWS["lesions"], {f.name: "NULL" for f in OF_LESION} | {"n_verdicts": "0"}, _TALLIED)
    last = """(
        SELECT recipe_id, series_key, version, lesion_id, bbox, count(*) AS n_verdicts,
            arg_max(decision, (decided_at, attempt, reader)) AS verdict,
            arg_max(reader, (decided_at, attempt, reader)) AS verdict_reader, max(decided_at) AS verdict_at,
            arg_max_null(new_level, (decided_at, attempt, reader)) AS verdict_level,
            arg_max_null(new_lesion_type, (decided_at, attempt, reader)) AS verdict_type,
            count(DISTINCT decision) FILTER (is_last) = 1 AS verdicts_agree
        FROM (SELECT *, row_number() OVER (
                  PARTITION BY recipe_id, series_key, version, lesion_id, bbox, reader
                  ORDER BY decided_at DESC, attempt DESC
              ) = 1 AS is_last
              FROM store.verdicts WHERE decision != 'comment' AND lesion_id IS NOT NULL)
        GROUP BY ALL)"""
    source = f"{_TALLIED} LEFT JOIN {last} USING (recipe_id, series_key, version, lesion_id, bbox)"
    return _create("lesions", VIEWS["lesions"], {"n_verdicts": "coalesce(n_verdicts, 0)"}, source)


def _records(view: str, columns: pa.Schema, lists: str, counted: str) -> str:
    """One row per record of the lists `lists__...`; `counted` is a list that has an entry for every record."""
    of_scan = {field.name for field in OF_SCAN}
    expressions = {f.name: f"{quoted(f'{lists}{SEPARATOR}{f.name}')}[i]" for f in columns if f.name not in of_scan}
    expressions["region"] = _region(f"{quoted(f'{lists}{SEPARATOR}level')}[i]")
    every = f"unnest(range(1, len({quoted(f'{lists}{SEPARATOR}{counted}')}) + 1)) AS i"
    # joined before the lists are multiplied: DuckDB 2.0 copies whole lists through a join, once per record
    of_series = ", ".join(f"b.{name}" for name in _OF_SERIES)
    rows = f"SELECT r.* EXCLUDE (study_key, patient_key, modality, site), {of_series}, {every} FROM store.results r"  # noqa: S608
    return _create(view, columns, expressions, f"({rows} {_RESULT_ROW})")


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
    is_typed = "n_lesions = 0 OR list_count(lesions__lesion_type) > 0"
    expressions = {name: f"b.{name}" for name in (*_OF_SERIES[:5], "n_series", "status")} | {
        **{
            f"n_{kind}": f"CASE WHEN {is_typed} THEN len(list_filter(lesions__lesion_type, lambda t: t = '{kind}')) END"
            for kind in ("lytic", "blastic", "mixed", "indeterminate")
        },
        "largest_long_axis_mm": "list_max(lesions__long_axis_mm)",
        "largest_volume_mm3": "list_max(lesions__volume_mm3)",
        "n_levels_involved": f"CASE WHEN n_lesions IS NOT NULL THEN len({involved}) END",
        "levels_involved": f"CASE WHEN n_lesions IS NOT NULL THEN [vertebrae__level[k] FOR k IN {involved}] END",
        "assessed_volume_mm3": volume,
        "burden": f"list_sum([vertebrae__lesion_load_mm3[k] FOR k IN {seen}]) / {volume}",
    }
    return _create("studies", VIEWS["studies"], expressions, f"store.results r {_RESULT_ROW} WHERE b.is_primary")


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
    return _create("patients", VIEWS["patients"], expressions, "studies GROUP BY recipe_id, patient_key, modality")


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
    return _create("failures", VIEWS["failures"], {}, rows)
