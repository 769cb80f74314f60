"""What a store can say to an item: a question in SQL whose answer is one sentence, or nothing."""

from __future__ import annotations

from typing import Any

import duckdb

from pipeline.evaluate.summary import annotation
from pipeline.report.tables import shown
from schemas.config import CohortConfig

EVIDENCE: dict[str, str] = {
    "sources": """SELECT count(DISTINCT patient_key) || ' patients, ' || count(DISTINCT study_key) || ' studies, '
        || count(DISTINCT site) || ' named sites' FROM series HAVING count(*) > 0""",
    "selection": """SELECT CASE WHEN count(excluded_by) = 0
        THEN 'no rule of selection left out any of ' || count(*) || ' series'
        ELSE count(*) FILTER (status = 'excluded') || ' of ' || count(*) || ' series left out by '
        || count(DISTINCT excluded_by) || ' rules, in order' END FROM series HAVING count(*) > 0""",
    "primary": """SELECT count(*) FILTER (is_primary) || ' series stand for their studies, of ' || count(*)
        FROM series HAVING count(*) > 0""",
    "preprocessing": """SELECT 'grid, orientation and intensity of ' || count(*) || ' recipes are in their documents'
        FROM recipes HAVING count(*) > 0""",
    "identity": """SELECT 'keys are keyed hashes and dates shifted; '
        || count(*) FILTER (patient_identity_removed = 'YES')
        || ' of ' || count(*) || ' series came with PatientIdentityRemoved' FROM series HAVING count(*) > 0""",
    "missing": """SELECT count(*) || ' series and scans without a result, under '
        || count(DISTINCT reason_code) || ' reasons' FROM failures HAVING (SELECT count(*) FROM series) > 0""",
    "acquisition": """SELECT 'tabled by site for ' || count(*) || ' series' FROM series
        WHERE status = 'ok' HAVING count(*) > 0""",
    "references": """SELECT count(*) FILTER (status = 'ok') || ' annotations read and placed, ' || count(*) FILTER
        (status != 'ok') || ' not; studies with a result but no reference: ' || (SELECT count(DISTINCT study_key)
            FROM scans ANTI JOIN reference_standard USING (study_key) WHERE status = 'ok')
        FROM reference_standard HAVING count(*) > 0""",
    "readers": """WITH each AS (SELECT DISTINCT stratum || ' ' || metric || ' ' || round(value, 3) AS said FROM metrics
            WHERE subgroup = 'readers' AND value IS NOT NULL)
        SELECT 'agreement of readers ' || string_agg(said, ', ' ORDER BY said) FROM each HAVING count(*) > 0""",
    "parts": """SELECT string_agg(split || ' ' || n || ' scans', ', ' ORDER BY split) FROM
        (SELECT split, count(DISTINCT series_key) AS n FROM compared_scans WHERE split IS NOT NULL GROUP BY split)
        HAVING count(*) > 0""",
    "disjoint": """WITH shared AS (SELECT site FROM compared_scans WHERE split IS NOT NULL AND site IS NOT NULL
            GROUP BY site HAVING count(DISTINCT split) > 1)
        SELECT 'checked before anything was computed: no patient and no identical volume in two of '
        || count(DISTINCT split) || ' parts; sites in more than one: ' || (SELECT count(*) FROM shared)
        FROM compared_scans WHERE split IS NOT NULL HAVING count(*) > 0""",
    "precision": """SELECT 'widest main interval: half-width ' || round(max(high - low) / 2, 3) || ' ('
        || arg_max(denominator, high - low)::BIGINT || ' lesions)' FROM metrics
        WHERE unit = 'lesion' AND metric = 'sensitivity' AND subgroup = 'all' AND interval = 'wilson'
        HAVING count(*) > 0""",
    "models": """SELECT string_agg(DISTINCT concat_ws(' and ', levels_model, lesions_model), '; ') FROM recipes
        WHERE coalesce(levels_model, lesions_model) IS NOT NULL HAVING count(*) > 0""",
    "threshold": """WITH seen AS (
            SELECT min(finished_at)::DATE AS day FROM scans WHERE series_key IN (
                SELECT series_key FROM reference_standard WHERE split IN ('internal', 'external')))
        SELECT 'thresholds ' || string_agg(recipe_id || ': ' || coalesce(threshold::VARCHAR, 'the model''s own')
            || CASE WHEN threshold_set_on IS NULL THEN ''
                WHEN seen.day IS NULL THEN ', set on ' || threshold_set_on || ' by its file'
                ELSE ', set on ' || threshold_set_on || ' by its file, ' || CASE WHEN threshold_set_on < seen.day
                    THEN 'before' ELSE 'NOT before' END || ' the first result of a test scan (' || seen.day || ')' END
            || CASE WHEN len(list_filter(json_extract_string(document, '$.use.overrides[*].lesions.threshold'),
                lambda t: t IS NOT NULL)) > 0 THEN '; others for some scans by `overrides`' ELSE '' END,
            ', ' ORDER BY recipe_id) || '; part of the recipe''s hash'
        FROM recipes, seen HAVING count(*) > 0""",
    "software": """SELECT 'versions of every scan in `scans.software`; devices '
        || string_agg(DISTINCT device, ', ') FROM scans WHERE device IS NOT NULL HAVING count(*) > 0""",
    "training": """SELECT 'as the model''s specification states it, in `recipes.document`' FROM recipes
        WHERE document LIKE '%"training": {%' LIMIT 1""",
    "ensemble": """SELECT count(*) || ' recipes use several models together' FROM recipes
        WHERE lesions_model LIKE '% + %' HAVING count(*) > 0""",
    "metrics": """SELECT count(DISTINCT metric) || ' measures of ' || string_agg(DISTINCT unit, ', ') FROM metrics
        HAVING count(*) > 0""",
    "intervals": """SELECT '95 % intervals: ' || string_agg(DISTINCT interval, ', ') FROM metrics
        WHERE interval IS NOT NULL HAVING count(*) > 0""",
    "robustness": """SELECT count(DISTINCT rule) || ' other rules of what counts as a hit' FROM metrics
        WHERE subgroup = 'rule' HAVING count(*) > 0""",
    "internal": """SELECT count(DISTINCT metric) || ' measures, ' || max(n_patients) || ' patients' FROM metrics
        WHERE split = 'internal' HAVING count(*) > 0""",
    "external": """SELECT count(DISTINCT metric) || ' measures, ' || max(n_patients) || ' patients' FROM metrics
        WHERE split = 'external' HAVING count(*) > 0""",
    "flow": """SELECT count(*) FILTER (status = 'ok') || ' of ' || count(*)
        || ' series were read; each other has a reason'
        FROM series HAVING count(*) > 0""",
    "case_mix": """SELECT 'age known of ' || count(patient_age) || ', sex of ' || count(patient_sex)
        || ' of ' || count(*)
        || ' series' FROM series WHERE status = 'ok' HAVING count(patient_age) + count(patient_sex) > 0""",
    "performance": """SELECT count(*) || ' figures with intervals' FROM metrics WHERE low IS NOT NULL
        HAVING count(*) > 0""",
    "accuracy": """SELECT string_agg('recipe ' || recipe_id[:8] || ' ' || coalesce(split, 'all') || ' ' || metric || ' '
            || round(value, 3) || coalesce(' (' || round(low, 3) || ' to ' || round(high, 3) || ')', ''), ', '
            ORDER BY recipe_id, split, metric) FROM metrics WHERE unit = 'patient' AND subgroup = 'all'
        AND metric IN ('sensitivity', 'specificity') AND value IS NOT NULL HAVING count(*) > 0""",
    "errors": """WITH each AS (SELECT recipe_id, series_key, truth_id, coalesce(bool_or(hit), false) AS found
        FROM matches
        WHERE truth_id IS NOT NULL GROUP BY ALL), counted AS (SELECT recipe_id, 'recipe ' || recipe_id[:8] || ' missed '
            || count(*) FILTER (NOT found) || ' of ' || count(*) || ' true lesions' AS said
            FROM each GROUP BY recipe_id)
        SELECT string_agg(said, ', ' ORDER BY recipe_id) || '; pictures in the report' FROM counted
        HAVING count(*) > 0""",
    "subgroups": """SELECT 'results by ' || string_agg(DISTINCT subgroup, ', ') FROM metrics
        WHERE subgroup NOT IN ('all', 'rule', 'readers') AND metric != 'standardised_difference'
        HAVING count(*) > 0""",
    "sites": """SELECT count(*) FILTER (kind = 'pooled' AND value IS NOT NULL) || ' pooled estimates over '
        || count(DISTINCT site) || ' sites' FROM site_metrics HAVING count(*) > 0""",
    "recipes": """SELECT count(*) || ' recipes in full, by their hashes' FROM recipes HAVING count(*) > 0""",
    "audit": """SELECT 'every row names series, recipe, model and attempt; ' || count(*) || ' rows' FROM scans
        HAVING count(*) > 0""",
    "prevalence": """WITH each AS (SELECT DISTINCT coalesce(split, 'all') || ' ' || round(value, 3) AS said
            FROM metrics WHERE metric = 'prevalence' AND value IS NOT NULL)
        SELECT 'prevalence among patients: ' || string_agg(said, ', ' ORDER BY said) FROM each HAVING count(*) > 0""",
}
"""Name to the question; its answer is one sentence, or no row."""


def collect(connection: duckdb.DuckDBPyConnection, config: CohortConfig) -> dict[str, str]:
    """What the store, and the cohort file, have to say; names without an answer are left out."""
    found: dict[str, str] = {}
    for name, sql in EVIDENCE.items():
        rows = connection.sql(sql).fetchall()
        if rows and rows[0][0] is not None:
            found[name] = str(rows[0][0])
    if said := _annotation(config):
        found["annotation"] = said
    if config.truth is not None and config.truth.readers == 1:
        found["one_reader"] = "one reader, so none between readers was measured"
    return found


def _annotation(config: CohortConfig) -> str:
    said: dict[str, Any] = annotation(config)
    told = {name: value for name, value in said.items() if name != "not_stated" and value is not None}
    text = "; ".join(f"{name.replace('_', ' ')}: {shown(value)}" for name, value in told.items())
    missing = ", ".join(name.replace("_", " ") for name in said["not_stated"])
    return text + (f"; not stated: {missing}" if missing else "") if text else ""
