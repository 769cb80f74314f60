"""Tables of the imaging extension of the OMOP common data model (MI-CDM), and the rows of `measurement` they point to.

Columns as in the OHDSI Imaging working group's DDL for CDM 5.4 (github.com/OHDSI/ImageWG; Park 2024,
doi 10.1007/s10278-024-00982-6). Concept ids belong to a site's own vocabulary: they are 0, OMOP's word for what is not
mapped, and the `..._source_value` beside each holds vocabulary and code (`SCT:52988006`), by which a site's table
`concept` maps it. Identifiers are whole numbers made from our keys: the same each time, and nothing leads back.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.columns import TIME, column

DAY_ZERO = "2000-01-01"
"""Date of a patient's first study in these tables: intervals are true, dates are not."""

_UNMAPPED = "0: not mapped; see the source value."
_PERSON = column("person_id", pa.int64(), "Number made from patient_key.")
_OCCURRENCE = column("image_occurrence_id", pa.int64(), "Number made from series_key.")
_SITE = [
    column("anatomic_site_concept_id", pa.int32(), _UNMAPPED),
    column(
        "anatomic_site_source_value", pa.string(), "SNOMED CT code of the level, else of the spine; NULL outside all."
    ),
]

IMAGE_OCCURRENCE = pa.schema(
    [
        _OCCURRENCE,
        _PERSON,
        column("procedure_occurrence_id", pa.int64(), "Number made from study_key; the site's own table has the rest."),
        column("visit_occurrence_id", pa.int64(), "NULL: not known here."),
        *_SITE,
        column("wadors_uri", pa.string(), "NULL: an archive's address is identity."),
        column("local_path", pa.string(), "volume_uri."),
        column("image_occurrence_date", pa.date32(), f"{DAY_ZERO} plus study_day; NULL without a date."),
        column("image_study_uid", pa.string(), "study_key."),
        column("image_series_uid", pa.string(), "series_key."),
        column("modality_concept_id", pa.int32(), _UNMAPPED),
        column("modality_source_value", pa.string(), "DICOM code of the modality."),
    ]
)
"""One row per series that was read."""

IMAGE_FEATURE = pa.schema(
    [
        column("image_feature_id", pa.int64(), "Number of the measurement of this lesion under this recipe."),
        _PERSON,
        _OCCURRENCE,
        column("image_feature_event_field_concept_id", pa.int32(), "1147330: measurement.measurement_id."),
        column("image_feature_event_id", pa.int64(), "measurement_id in omop_measurement."),
        column("image_feature_concept_id", pa.int32(), _UNMAPPED),
        column("image_feature_source_value", pa.string(), "Code of what was measured."),
        column("image_feature_type_concept_id", pa.int32(), "0: not mapped; made by the algorithm in alg_system."),
        column("image_finding_concept_id", pa.int32(), _UNMAPPED),
        column("image_finding_source_value", pa.string(), "SCT:52988006, a lesion: a detection is no metastasis."),
        column("image_finding_id", pa.int64(), "Number of the lesion: its measurements share it."),
        *_SITE,
        column("alg_system", pa.string(), "Model and recipe."),
        column("alg_datetime", TIME, "When the scan was processed."),
    ]
)
"""One row per lesion and measure."""

MEASUREMENT = pa.schema(
    [
        column("measurement_id", pa.int64(), "As image_feature_event_id."),
        _PERSON,
        column("measurement_concept_id", pa.int32(), _UNMAPPED),
        column("measurement_source_value", pa.string(), "Code of what was measured."),
        column("measurement_date", pa.date32(), f"{DAY_ZERO} plus study_day; NULL without a date."),
        column("measurement_type_concept_id", pa.int32(), "0: not mapped; made by an algorithm."),
        column("value_as_number", pa.float64(), "The value, in the unit beside it."),
        column("unit_concept_id", pa.int32(), _UNMAPPED),
        column("unit_source_value", pa.string(), "UCUM code of the unit."),
    ]
)
"""The values of omop_image_feature."""

OMOP: dict[str, pa.Schema] = {
    "omop_image_occurrence": IMAGE_OCCURRENCE,
    "omop_image_feature": IMAGE_FEATURE,
    "omop_measurement": MEASUREMENT,
}
"""View to its columns."""

MEASURES: dict[str, tuple[str, str]] = {
    "volume_mm3": ("SCT:118565006", "mm3"),
    "long_axis_mm": ("SCT:103339001", "mm"),
    "short_axis_mm": ("SCT:103340004", "mm"),
    "hu_mean": ("DCM:112031", "[hnsf'U]"),
    "suv_max": ("DCM:126401", "g/ml{SUVbw}"),
}
"""Column of a lesion to the code of what it is and of its unit, the same as in the exported reports."""
