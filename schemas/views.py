"""What a question in SQL sees: the columns of every view, with their units and meanings.

`pipeline.query` makes the views from these; the data dictionary and the tests read the same declarations.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.catalog import CATALOG, KEYS
from schemas.columns import STRINGS, TIME, column
from schemas.edges import CHANGE_VIEW, EDGE_VIEW
from schemas.evaluation import CURVES, LEVELS, MATCHES, METRICS, REFERENCES, SCANS, SITE_METRICS
from schemas.omop import OMOP
from schemas.responses import RULE_SCHEMAS
from schemas.results import CANDIDATE, LESION, RESULTS, VERTEBRA
from schemas.verdicts import OF_LESION, VERDICT

STUDY_DAY = column("study_day", pa.int32(), "Days since the patient's first study; NULL without a date.", "days")
IS_PRIMARY = column("is_primary", pa.bool_(), "Stands for its study and modality; the counting views use only these.")
RECIPE_ID = RESULTS.field("recipe_id")
REGION = column("region", pa.string(), "cervical, thoracic, lumbar or sacral; NULL where the level has no name.")

_NOT_SHOWN = {"study_date_shifted"}


def _pick(schema: pa.Schema, *names: str) -> list[pa.Field]:
    return [schema.field(name) for name in names]


def _rest(schema: pa.Schema, *shown: list[pa.Field]) -> list[pa.Field]:
    """The fields of a stored schema that are not shown yet, are no lists of records, and may be seen."""
    known = {field.name for fields in shown for field in fields} | _NOT_SHOWN
    nested = {"lesions", "candidates", "vertebrae"}
    return [field for field in schema if field.name not in known | nested]


def _series() -> pa.Schema:
    first = [
        *KEYS,
        *_pick(CATALOG, "series_uid_key", "frame_of_reference_key", "part", "part_reason", "version", "ingest_id"),
        *_pick(CATALOG, "modality"),
        STUDY_DAY,
        *_pick(CATALOG, "site", "status", "reason_code", "reason", "excluded_by"),
        IS_PRIMARY,
        *_pick(CATALOG, "shape", "spacing_mm", "origin_mm", "direction", "n_instances", "volume_uri", "voxels_sha256"),
        *_pick(CATALOG, "source_bytes", "stored_bytes"),
    ]
    return pa.schema([*first, *_rest(CATALOG, first)])


OF_SCAN = [RECIPE_ID, *KEYS, *_pick(RESULTS, "modality", "site"), STUDY_DAY, IS_PRIMARY, RESULTS.field("version")]
"""The columns that say which scan, recipe and day a row is of."""


def _scans() -> pa.Schema:
    first = [*OF_SCAN, *_pick(RESULTS, "status", "reason_code", "reason", "n_lesions", "lesion_volume_mm3")]
    return pa.schema([*first, *_rest(RESULTS, first)])


def _of_scan(record: pa.StructType, more: list[pa.Field] | None = None) -> pa.Schema:
    return pa.schema([*OF_SCAN, REGION, *record, *(more or [])])


COUNTS = [
    column("n_lesions", pa.int32(), "Lesions; NULL where not looked for."),
    column("lesion_volume_mm3", pa.float64(), "Sum of their volumes.", "mm3"),
    column("n_lytic", pa.int32(), "Lesions that the type rule calls lytic; NULL where it could judge none."),
    column("n_blastic", pa.int32(), "Lesions that the type rule calls blastic; NULL where it could judge none."),
    column("n_mixed", pa.int32(), "Lesions that the type rule calls mixed; NULL where it could judge none."),
    column("n_indeterminate", pa.int32(), "Lesions that the type rule leaves open; NULL where it could judge none."),
    column("largest_long_axis_mm", pa.float64(), "Longest diameter of all lesions.", "mm"),
    column("largest_volume_mm3", pa.float64(), "Volume of the largest lesion.", "mm3"),
]
"""What is counted of the lesions of a study."""

STUDY = pa.schema(
    [
        RECIPE_ID,
        *_pick(CATALOG, "study_key", "patient_key", "modality", "site"),
        STUDY_DAY,
        column("n_series", pa.int32(), "Series of this study and modality, whatever became of them."),
        column("series_key", pa.string(), "The series that stands for them, whose lesions are counted."),
        *_pick(RESULTS, "status", "reason_code"),
        *COUNTS,
        *_pick(RESULTS, "n_levels_assessed"),
        column(
            "n_levels_involved", pa.int32(), "Levels that are primary level of a lesion; NULL where not looked for."
        ),
        column("levels_involved", STRINGS, "Their names, as in the scan."),
        column("assessed_volume_mm3", pa.float64(), "Vertebral volume looked at, in full or in part.", "mm3"),
        column("burden", pa.float64(), "Lesion load in those vertebrae over their volume.", "1"),
    ]
)
"""One row per study, modality and recipe, counted on its primary series."""

PATIENT = pa.schema(
    [
        RECIPE_ID,
        *_pick(CATALOG, "patient_key", "modality"),
        column("n_studies", pa.int32(), "Studies with a scan under this recipe."),
        column("n_studies_ok", pa.int32(), "Those whose scan has a result; the counts are over these."),
        column("first_study_day", pa.int32(), "Day of the first of them.", "days"),
        column("last_study_day", pa.int32(), "Day of the last of them.", "days"),
        column("n_lesions", pa.int64(), "Lesions of all studies; one that was seen twice counts twice."),
        column("lesion_volume_mm3", pa.float64(), "Their volumes, summed over all studies.", "mm3"),
        column("last_n_lesions", pa.int32(), "Lesions of the last study with a result."),
        column("last_lesion_volume_mm3", pa.float64(), "Lesion volume of that study.", "mm3"),
        column("last_burden", pa.float64(), "Burden of that study.", "1"),
        column("max_lesion_volume_mm3", pa.float64(), "Largest lesion volume of any study.", "mm3"),
    ]
)
"""One row per patient, modality and recipe, over primary series."""

FAILURE = pa.schema(
    [
        column("stage", pa.string(), "ingest or scan: where it ended."),
        column("recipe_id", pa.string(), "Recipe of the scan; NULL at ingest, which needs none."),
        *KEYS,
        *_pick(CATALOG, "modality", "site"),
        STUDY_DAY,
        column("status", pa.string(), "quarantined or failed."),
        *_pick(CATALOG, "reason_code", "reason"),
        column("meaning", pa.string(), "What the reason means."),
        column("what_to_do", pa.string(), "What a person can do about it."),
        *_pick(CATALOG, "attempt"),
        column("finished_at", TIME, "When it was tried last."),
    ]
)
"""Every series and scan without a result."""

RECIPE = pa.schema(
    [
        column("recipe_id", pa.string(), "Hash of everything that can change a number."),
        column("modality", pa.string(), "DICOM modality it is for."),
        column("levels_model", pa.string(), "Name and version of the model of levels."),
        column("lesions_model", pa.string(), "Name and version of the model of lesions."),
        column("threshold", pa.float64(), "Score from which a voxel is lesion; NULL is the model's own.", "1"),
        column("min_volume_mm3", pa.float64(), "Smaller is no lesion; NULL is the model's own.", "mm3"),
        column("threshold_set_on", pa.date32(), "Day of the threshold, as its `threshold_file` says; else NULL."),
        column("document", pa.string(), "The recipe in full, as JSON."),
    ]
)
"""One row per recipe."""

LEVEL = pa.schema(
    [
        column("level", pa.string(), "Name of the level, as in `lesions` and `vertebrae`."),
        column("position", pa.int32(), "From head to foot, 1 and up."),
        REGION,
        column("snomed", pa.string(), "SNOMED CT code; NULL for T13 and L6, which have none in DICOM's dictionary."),
    ]
)
"""The named levels of the spine; unnumbered vertebrae are not among them."""

CLINICAL = pa.schema([column("patient_key", pa.string(), "Keyed hash of site or issuer and PatientID.")])
"""Columns that the cohort's `clinical` names follow it."""

DICTIONARY = pa.schema(
    [
        column("view", pa.string(), "Name of the view."),
        column("column", pa.string(), "Name of the column."),
        column("type", pa.string(), "Its type in SQL."),
        column("unit", pa.string(), "Its unit; NULL where it has none."),
        column("meaning", pa.string(), "What it means."),
    ]
)
"""The data dictionary: one row per column of every view."""

TALLIED_LESIONS = _of_scan(LESION)
"""The view `lesions` before readers are heard."""

EVALUATION: dict[str, tuple[str, pa.Schema]] = {
    "reference_standard": ("references", REFERENCES),
    "compared_scans": ("scans", SCANS),
    "matches": ("matches", MATCHES),
    "compared_levels": ("levels", LEVELS),
    "metrics": ("metrics", METRICS),
    "site_metrics": ("site_metrics", SITE_METRICS),
    "curves": ("curves", CURVES),
    "comparisons": ("comparisons", METRICS),
}
"""View of an evaluation to its folder below `truth/tables` and its columns."""

VIEWS: dict[str, pa.Schema] = {
    "series": _series(),
    "scans": _scans(),
    "lesions": _of_scan(LESION, OF_LESION),
    "candidates": _of_scan(CANDIDATE),
    "vertebrae": _of_scan(VERTEBRA),
    "studies": STUDY,
    "patients": PATIENT,
    "failures": FAILURE,
    "recipes": RECIPE,
    "clinical": CLINICAL,
    "levels": LEVEL,
    "edges": EDGE_VIEW,
    "changes": CHANGE_VIEW,
    **RULE_SCHEMAS,
    "verdicts": VERDICT,
    **{view: schema for view, (_, schema) in EVALUATION.items()},
    **OMOP,
}
"""View to its columns, in their order."""
