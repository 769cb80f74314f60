"""What the views of response rules and of the spinal instability parts show.

Every row is computed from masks under the rule that it names; none is a reader's assessment. A part that needs what the
masks do not hold (soft tissue, pain, treatment) is NULL and `reason` says so.
"""

from __future__ import annotations

import pyarrow as pa

from schemas.columns import column

LABEL = "computed from masks under rule {rule}; not a reader assessment"
"""What stands in the column `rule` of every row."""

_OF_STUDY = [
    column("recipe_id", pa.string(), "Recipe of the scans."),
    column("patient_key", pa.string(), "Keyed hash of site or issuer and PatientID."),
    column("modality", pa.string(), "DICOM modality."),
    column("study_key", pa.string(), "The study."),
    column("series_key", pa.string(), "The series that stands for it."),
    column("study_day", pa.int32(), "Days since the patient's first study.", "days"),
]
_ANSWER = [
    column("response", pa.string(), "Response at this study; NULL where it cannot be told."),
    column("reason", pa.string(), "Why it is NULL, or what it rests on."),
    column("rule", pa.string(), "The rule, and that no reader assessed it."),
]

RECIST = pa.schema(
    [
        *_OF_STUDY,
        column(
            "n_targets",
            pa.int32(),
            "Targets of the first study: the two longest from 10 mm (bone is one organ).",
        ),
        column("n_measurable", pa.int32(), "Targets known to have a soft-tissue part; NULL where that is not known."),
        column("sum_mm", pa.float64(), "Sum of the targets' long axes now; NULL if one cannot be assessed.", "mm"),
        column("baseline_mm", pa.float64(), "The sum at the first study.", "mm"),
        column("nadir_mm", pa.float64(), "The smallest sum before this study.", "mm"),
        column("change_from_baseline", pa.float64(), "Sum over baseline, less 1.", "1"),
        column("change_from_nadir", pa.float64(), "Sum over nadir, less 1.", "1"),
        column("n_new", pa.int32(), "New lesions since the first study, up to this one."),
        column(
            "response_if_measurable",
            pa.string(),
            "CR, PR, SD or PD, had every target a measurable soft-tissue part.",
        ),
        *_ANSWER,
    ]
)
"""RECIST 1.1 (Eisenhauer 2009): one row per study."""

MD_ANDERSON = pa.schema(
    [
        *_OF_STUDY,
        column("n_lesions", pa.int32(), "Lesions now."),
        column("product_mm2", pa.float64(), "Sum over lesions of long axis times short axis.", "mm2"),
        column("baseline_mm2", pa.float64(), "The sum at the first study.", "mm2"),
        column("change_from_baseline", pa.float64(), "Sum over baseline, less 1.", "1"),
        column("n_progressing", pa.int32(), "Lesions new or larger since the study before, that did not turn denser."),
        column("n_healing", pa.int32(), "Lesions gone, smaller, or lytic before and denser now."),
        column("n_new_blastic", pa.int32(), "New blastic foci: progression or healing of what was not seen before."),
        *_ANSWER,
    ]
)
"""MD Anderson bone response (Hamaoka 2004): one row per study."""

PCWG3 = pa.schema(
    [
        *_OF_STUDY,
        column("scan_number", pa.int32(), "0 at the first scan, taken for the start of treatment; 1 is in the flare."),
        column("n_new", pa.int32(), "New lesions against the scan before."),
        column("n_new_standing", pa.int32(), "Lesions now that were new after scan 1 and are still there."),
        column("confirmed_day", pa.int32(), "Day of the scan that confirmed it.", "days"),
        *_ANSWER,
    ]
)
"""PCWG3 bone scan rule, `2 + 2` (Scher 2016): one row per bone scan."""

SINS = pa.schema(
    [
        *_OF_STUDY,
        column("level", pa.string(), "The vertebra."),
        column("location", pa.int32(), "Junctional 3, mobile 2, semirigid 1, rigid 0; NULL where unnamed."),
        column("bone_lesion", pa.int32(), "Lytic 2, mixed 1, blastic 0; NULL without a type."),
        column("collapse", pa.int32(), "More than half 3, less 2, none but more than half involved 1, else 0."),
        column("posterolateral", pa.int32(), "Bilateral 3, unilateral 1, none 0."),
        column("alignment", pa.int32(), "NULL: de novo deformity and translation need a reader."),
        column("pain", pa.int32(), "NULL: needs a clinical column."),
        column("sins_min", pa.int32(), "Lowest total that the parts allow; 0 to 18."),
        column("sins_max", pa.int32(), "Highest total that the parts allow; from 7 a surgeon is to be asked."),
        column("reason", pa.string(), "The parts that are NULL."),
        column("rule", pa.string(), "The rule, and that no reader assessed it."),
    ]
)
"""Parts of the Spinal Instability Neoplastic Score (Fisher 2010): one row per vertebra with a lesion."""

RULE_SCHEMAS: dict[str, pa.Schema] = {
    "response_recist": RECIST,
    "response_md_anderson": MD_ANDERSON,
    "response_pcwg3": PCWG3,
    "sins": SINS,
}
"""View to its columns."""
