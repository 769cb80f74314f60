"""The OMOP MI-CDM tables in SQL, over `series`, `scans` and `lesions` (`schemas.omop`)."""

from __future__ import annotations

from pipeline.query.columns import literal
from schemas.omop import DAY_ZERO, MEASURES
from schemas.spine import OUTSIDE


def _number(*parts: str) -> str:
    """A positive whole number of 62 bits made from texts, the same in every version of DuckDB."""
    return f"(md5_number_lower(concat_ws('/', {', '.join(parts)})) >> 2)::BIGINT"


def _date(alias: str) -> str:
    return f"DATE '{DAY_ZERO}' + {alias}.study_day"


_SPINE = "'SCT:421060004'"

_MEASURED = ", ".join(f"({literal(name)}, {literal(code)}, {literal(unit)})" for name, (code, unit) in MEASURES.items())
_VALUE = " ".join(f"WHEN {literal(name)} THEN l.{name}" for name in MEASURES)

OCCURRENCE = f"""
SELECT {_number("s.series_key")} AS image_occurrence_id, {_number("s.patient_key")} AS person_id,
    {_number("s.study_key")} AS procedure_occurrence_id, NULL AS visit_occurrence_id,
    0 AS anatomic_site_concept_id, {_SPINE} AS anatomic_site_source_value,
    NULL AS wadors_uri, s.volume_uri AS local_path, {_date("s")} AS image_occurrence_date,
    s.study_key AS image_study_uid, s.series_key AS image_series_uid,
    0 AS modality_concept_id, 'DCM:' || s.modality AS modality_source_value
FROM series s WHERE s.status = 'ok'
"""  # noqa: S608

_MEASUREMENTS = f"""
SELECT l.*, c.finished_at, v.snomed, code, unit, CASE m.name {_VALUE} END AS value,
    {_number("l.recipe_id", "l.series_key", "l.lesion_id", "m.name")} AS id
FROM lesions l JOIN scans c USING (recipe_id, series_key) LEFT JOIN levels v USING (level),
    (VALUES {_MEASURED}) AS m(name, code, unit)
WHERE l.is_primary AND value IS NOT NULL
"""  # noqa: S608

FEATURE = f"""
SELECT id AS image_feature_id, {_number("f.patient_key")} AS person_id,
    {_number("f.series_key")} AS image_occurrence_id,
    1147330 AS image_feature_event_field_concept_id, id AS image_feature_event_id,
    0 AS image_feature_concept_id, f.code AS image_feature_source_value, 0 AS image_feature_type_concept_id,
    0 AS image_finding_concept_id, 'SCT:52988006' AS image_finding_source_value,
    {_number("f.recipe_id", "f.series_key", "f.lesion_id")} AS image_finding_id,
    0 AS anatomic_site_concept_id,
    CASE WHEN f.level IS DISTINCT FROM {literal(OUTSIDE)} THEN coalesce('SCT:' || f.snomed, {_SPINE}) END
        AS anatomic_site_source_value,
    concat_ws(', ', f.model, 'recipe ' || f.recipe_id) AS alg_system, f.finished_at AS alg_datetime
FROM ({_MEASUREMENTS}) f
"""  # noqa: S608

MEASUREMENT = f"""
SELECT id AS measurement_id, {_number("f.patient_key")} AS person_id, 0 AS measurement_concept_id,
    f.code AS measurement_source_value, {_date("f")} AS measurement_date, 0 AS measurement_type_concept_id,
    f.value AS value_as_number, 0 AS unit_concept_id, f.unit AS unit_source_value
FROM ({_MEASUREMENTS}) f
"""  # noqa: S608

OMOP_VIEWS: dict[str, str] = {
    "omop_image_occurrence": OCCURRENCE,
    "omop_image_feature": FEATURE,
    "omop_measurement": MEASUREMENT,
}
"""View to its SELECT."""
