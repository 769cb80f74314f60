"""Parts of the Spinal Instability Neoplastic Score (Fisher 2010, doi 10.1097/BRS.0b013e3181e16ae2).

Pain and alignment need a clinical column and a reader, so there is no total: `sins_min` and `sins_max` are what the
parts allow. 0 to 6 is stable, 7 to 12 potentially unstable, 13 to 18 unstable; from 7 a surgeon is to be asked. T13 and
L6 belong to the junction beside them; the sacrum is rigid but for S1, which masks do not tell apart, so its location is
open. That a body counts as collapsed below 80 % of its neighbours' height is to be confirmed. Readers agree nearly
perfectly on location, moderately on collapse, alignment and posterolateral parts, only fairly on the type (Lee 2021,
PMC7819788).
"""

from __future__ import annotations

SINS = """
WITH part AS (
    SELECT recipe_id, patient_key, modality, study_key, series_key, study_day, level,
        CASE
            WHEN level IN ('C1', 'C2', 'C7', 'T1', 'T2', 'T11', 'T12', 'T13', 'L1', 'L5', 'L6') THEN 3
            WHEN level IN ('C3', 'C4', 'C5', 'C6', 'L2', 'L3', 'L4') THEN 2
            WHEN level IN ('T3', 'T4', 'T5', 'T6', 'T7', 'T8', 'T9', 'T10') THEN 1
        END AS location,
        CASE dominant_type WHEN 'lytic' THEN 2 WHEN 'mixed' THEN 1 WHEN 'blastic' THEN 0 END AS bone_lesion,
        CASE
            WHEN height_ratio < 0.5 THEN 3
            WHEN height_ratio < 0.8 THEN 2
            WHEN height_ratio IS NOT NULL AND body_involved_fraction > 0.5 THEN 1
            WHEN height_ratio IS NOT NULL AND body_involved_fraction IS NOT NULL THEN 0
        END AS collapse,
        coalesce((body_involved_fraction > 0.5)::INTEGER, 0) AS least_collapse,
        CASE posterior_involvement WHEN 'bilateral' THEN 3 WHEN 'unilateral' THEN 1 WHEN 'none' THEN 0
        END AS posterolateral,
        NULL::INTEGER AS alignment, NULL::INTEGER AS pain
    FROM vertebrae
    WHERE level != 'none' AND is_primary AND lesion_load_mm3 > 0
)
SELECT recipe_id, patient_key, modality, study_key, series_key, study_day, level,
    location, bone_lesion, collapse, posterolateral, alignment, pain,
    coalesce(location, 0) + coalesce(bone_lesion, 0) + coalesce(collapse, least_collapse)
        + coalesce(posterolateral, 0) + coalesce(alignment, 0) + coalesce(pain, 0) AS sins_min,
    coalesce(location, 3) + coalesce(bone_lesion, 2) + coalesce(collapse, 3)
        + coalesce(posterolateral, 3) + coalesce(alignment, 4) + coalesce(pain, 3) AS sins_max,
    'not known: ' || concat_ws(', ',
        CASE WHEN location IS NULL THEN 'location' END,
        CASE WHEN bone_lesion IS NULL THEN 'bone lesion' END,
        CASE WHEN collapse IS NULL THEN 'collapse' END,
        CASE WHEN posterolateral IS NULL THEN 'posterolateral' END,
        'alignment', 'pain') AS reason,
    'computed from masks under rule SINS; not a reader assessment' AS rule
FROM part
"""
