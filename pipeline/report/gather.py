"""What the report says, asked of the store in SQL."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import duckdb

from pipeline.report.tables import Table, median_range
from schemas.catalog import CATALOG
from schemas.columns import unit
from schemas.config import Cost

Rows = list[dict[str, Any]]


def ask(connection: duckdb.DuckDBPyConnection, sql: str, *values: Any) -> Rows:
    """The rows that a question gives."""
    return [dict(row) for row in connection.sql(sql, params=list(values) or None).to_arrow_table().to_pylist()]


FLOW = """
WITH counted AS (
    SELECT 'all' AS step, 0 AS position, 'every series of the source' AS what, * FROM series
    UNION ALL SELECT 'left out', 1, 'selection rule ' || excluded_by, * FROM series WHERE status = 'excluded'
    UNION ALL SELECT 'left out', 2, 'at ingest: ' || reason_code, * FROM series WHERE status = 'quarantined'
    UNION ALL SELECT 'left', 3, 'volumes that were read', * FROM series WHERE status = 'ok'
    UNION ALL SELECT 'left', 4, 'one series for each study', * FROM series WHERE is_primary
)
SELECT step, what, count(DISTINCT patient_key) AS patients, count(DISTINCT study_key) AS studies, count(*) AS series
FROM counted GROUP BY step, position, what ORDER BY position, series DESC"""
"""The flow of exclusions: CLAIM 2024 item 35, STARD-AI item 24."""

COUNTS = """
SELECT count(DISTINCT patient_key) AS patients, count(DISTINCT study_key) AS studies, count(*) AS series FROM series"""

SCAN_FLOW = """
SELECT recipe_id, 'scans ' || status || coalesce(': ' || reason_code, '') AS what,
    count(DISTINCT patient_key) AS patients, count(DISTINCT study_key) AS studies, count(*) AS series
FROM scans GROUP BY ALL ORDER BY recipe_id, series DESC"""

LEVELS = """
SELECT level, sum(n_lesions)::BIGINT AS lesions, sum(lesion_load_mm3) AS load_mm3,
    count(*) AS seen, count(*) FILTER (n_lesions > 0) AS involved
FROM vertebrae WHERE recipe_id = ? AND is_primary AND assessed IN ('full', 'partial') GROUP BY level"""

LESIONS = """
SELECT volume_mm3, coalesce(lesion_type, 'not typed') AS lesion_type, level, long_axis_mm
FROM lesions WHERE recipe_id = ? AND is_primary"""

BURDEN = "SELECT burden, n_lesions FROM studies WHERE recipe_id = ? AND status = 'ok'"

CHANGES = "SELECT recipe_id, state, count(*) AS n FROM changes GROUP BY ALL ORDER BY recipe_id, n DESC"

COST = """
SELECT recipe_id, device, backend, count(*) AS scans, median(seconds_total) AS median_seconds,
    quantile_cont(seconds_total, 0.95) AS p95_seconds,
    sum(seconds_total / greatest(n_concurrent, 1)) / 3600 AS worker_hours,
    max(peak_rss_mb) AS peak_mib, median(seconds_read) AS read_s, median(seconds_detect) AS detect_s,
    median(seconds_tally) AS tally_s
FROM scans WHERE status = 'ok' GROUP BY ALL ORDER BY recipe_id, scans DESC"""

SOFTWARE = """
SELECT recipe_id, entry.key AS software, entry.value AS version, count(*) AS scans
FROM (SELECT recipe_id, unnest(map_entries(software)) AS entry FROM scans WHERE status = 'ok')
GROUP BY ALL ORDER BY recipe_id, software, scans DESC"""
"""What each scan was computed with: CLAIM 2024 item 23."""

FAILURES = """
SELECT stage, reason_code, any_value(meaning) AS meaning, any_value(what_to_do) AS what_to_do,
    count(*) AS series, count(DISTINCT patient_key) AS patients
FROM failures GROUP BY ALL ORDER BY series DESC"""

_ACQUISITION = {
    "slice_spacing_mm": "spacing_mm[1]",
    "pixel_spacing_mm": "spacing_mm[2]",
    "convolution_kernel": "array_to_string(convolution_kernel, '/')",
} | {
    name: name
    for name in (
        "manufacturer manufacturer_model_name kvp exposure contrast_bolus_agent magnetic_field_strength sequence_class "
        "repetition_time echo_time radiopharmaceutical uptake_minutes patient_age patient_sex"
    ).split()
}
"""Attribute to its expression over `series`."""

ACQUISITION = f"""
SELECT coalesce(site, 'not named') AS at_site, coalesce(modality, '?') AS of_modality,
    {", ".join(f"{expression} AS {name}" for name, expression in _ACQUISITION.items())}
FROM series WHERE status = 'ok' AND is_primary"""  # noqa: S608


def flow_tables(steps: Rows, scans: Rows) -> list[Table]:
    """Who was left out, at which step, and why; of the answers to `FLOW` and `SCAN_FLOW`."""
    tables = [_table("Series", steps, "Every series, and what became of it.", FLOW)]
    for recipe_id, rows in _by(scans, "recipe_id").items():
        tables.append(_table(f"Scans under recipe {recipe_id}", _without(rows, "recipe_id"), "", SCAN_FLOW))
    return tables


def acquisition_table(connection: duckdb.DuckDBPyConnection) -> Table:
    """Acquisition by site and modality: median and quartiles, or the commonest values with their share."""
    groups: dict[tuple[str, str], Rows] = defaultdict(list)
    for row in ask(connection, ACQUISITION):
        groups[row["at_site"], row["of_modality"]].append(row)
    columns = sorted(groups)
    known = [name for name in _ACQUISITION if any(row[name] is not None for rows in groups.values() for row in rows)]
    body: list[tuple[Any, ...]] = [("studies", *(len(groups[key]) for key in columns))]
    body += [(_named(name), *(_summary([row[name] for row in groups[key]]) for key in columns)) for name in known]
    head = ("attribute", *(f"{site}, {modality}" for site, modality in columns))
    note = "Median [quartiles] or commonest values, over one series of each study; the share that is missing is stated."
    return Table("Acquisition by site", head, body, note, ACQUISITION.strip())


def _named(attribute: str) -> str:
    """In words, with its unit."""
    held = unit(CATALOG.field(attribute)) if attribute in CATALOG.names else None
    words = attribute.removesuffix("_mm").replace("_", " ")
    held = "mm" if attribute.endswith("_mm") else held
    return f"{words}, {held}" if held else words


def _summary(values: list[Any]) -> str:
    known = [value for value in values if value is not None]
    missing = f"; {1 - len(known) / len(values):.0%} missing" if len(known) < len(values) else ""
    if not known:
        return "all missing"
    if all(isinstance(value, int | float) for value in known):
        return median_range(known) + missing
    counts: dict[str, int] = defaultdict(int)
    for value in known:
        counts[str(value)] += 1
    common = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(f"{name} {n}" for name, n in common[:3])
    return text + (f", {len(common) - 3} more" if len(common) > 3 else "") + missing


def cost_table(connection: duckdb.DuckDBPyConnection, cost: Cost) -> Table | None:
    """Time and memory of scans, and what one costs where the cohort file says the price of a worker's hour."""
    rows = ask(connection, COST)
    note = "Hours of a worker: a scan that shared its worker with others counts for its part."
    if cost.per_hour:
        price = f"{cost.currency} per scan"
        rows = [row | {price: row["worker_hours"] * cost.per_hour / row["scans"]} for row in rows]
        note += f" At {cost.per_hour:g} {cost.currency} an hour, as the cohort file says."
    return as_table("Time and memory", rows, note=note, sql=COST.strip())


def recipe_table(connection: duckdb.DuckDBPyConnection) -> tuple[Table, Rows]:
    """The recipes with their models and digests, and their documents."""
    rows = ask(connection, "SELECT * FROM recipes ORDER BY recipe_id")
    body: list[tuple[Any, ...]] = []
    for row in rows:
        models = json.loads(row["document"]).get("models") or {}
        for task, found in models.items():
            for model in found:
                spec = model.get("spec") or {}
                training = (spec.get("training") or {}).get("data")
                digest = str(model.get("digest") or "")[:16]
                body.append((row["recipe_id"], row["modality"], task, spec.get("name"), spec.get("version"),
                             spec.get("format"), training, digest))  # fmt: skip
    columns = ("recipe", "modality", "task", "model", "version", "format", "trained on", "digest")
    return Table(
        "Models", columns, body, "Digests are SHA-256 of weights and specification, the first 16 digits."
    ), rows


def _table(title: str, rows: Rows, note: str, sql: str) -> Table:
    columns = tuple(rows[0]) if rows else ("nothing",)
    return Table(title, columns, [tuple(row.values()) for row in rows], note, sql.strip())


def as_table(title: str, rows: Rows, *, note: str = "", sql: str = "") -> Table | None:
    """Rows as a table; None of none."""
    return _table(title, rows, note, sql) if rows else None


def _by(rows: Rows, name: str) -> dict[str, Rows]:
    groups: dict[str, Rows] = defaultdict(list)
    for row in rows:
        groups[row[name]].append(row)
    return groups


def _without(rows: Rows, name: str) -> Rows:
    return [{key: value for key, value in row.items() if key != name} for row in rows]
