"""PCWG3 for bone scans, `2 + 2` (Scher 2016, doi 10.1200/JCO.2015.64.2702; weeks and counts to be confirmed).

The start of treatment is in no scan: the first scan is taken for it. Two or more new lesions on the next scan, 8 weeks
on at least, are a flare until two or more further ones appear 6 weeks later or more. After that, two or more lesions
that are new against scan 1 and still stand on the next scan, 6 weeks later or more, are progression, dated at the scan
that first showed them.
"""

from __future__ import annotations

PCWG3 = """
WITH RECURSIVE standing AS (
    SELECT e.recipe_id, e.series_key_1 AS series_key, e.lesion_id_1 AS lesion_id
    FROM edges e JOIN store.followed s ON s.recipe_id = e.recipe_id AND s.series_key = e.series_key_1
    WHERE e.state = 'new' AND s.scan_number >= 2
    UNION
    SELECT e.recipe_id, e.series_key_1, e.lesion_id_1
    FROM standing t JOIN edges e
        ON e.recipe_id = t.recipe_id AND e.series_key_0 = t.series_key AND e.lesion_id_0 = t.lesion_id
    WHERE e.lesion_id_1 IS NOT NULL
), stood AS (
    SELECT recipe_id, series_key, count(*) AS n_new_standing FROM standing GROUP BY ALL
), fresh AS (
    SELECT recipe_id, series_key_1 AS series_key,
        count(*) FILTER (state = 'new') AS n_new, count(*) FILTER (state = 'not_assessable') AS n_open
    FROM edges GROUP BY ALL
), counted AS (
    SELECT s.*, CASE WHEN scan_number > 0 THEN coalesce(f.n_new, 0) END AS n_new,
        CASE WHEN scan_number > 1 THEN coalesce(d.n_new_standing, 0) END AS n_new_standing,
        coalesce(f.n_open, 0) AS n_open,
        study_day - first_value(study_day) OVER in_time AS days
    FROM store.followed s
    LEFT JOIN fresh f USING (recipe_id, series_key)
    LEFT JOIN stood d USING (recipe_id, series_key)
    WINDOW in_time AS (PARTITION BY s.recipe_id, s.patient_key, s.modality ORDER BY s.scan_number)
), ahead AS (
    SELECT *, lead(n_new) OVER in_time AS next_new, lead(n_new_standing) OVER in_time AS next_standing,
        next_day - study_day >= 42 AS is_later
    FROM counted
    WINDOW in_time AS (PARTITION BY recipe_id, patient_key, modality ORDER BY scan_number)
), judged AS (
    SELECT *,
        CASE WHEN scan_number = 1 THEN n_new >= 2 WHEN scan_number > 1 THEN n_new_standing >= 2 END AS is_suspect,
        CASE WHEN scan_number = 1 THEN next_new >= 2 ELSE next_standing >= 2 END AS is_borne_out
    FROM ahead
)
SELECT recipe_id, patient_key, modality, study_key, series_key, study_day,
    scan_number::INTEGER AS scan_number, n_new::INTEGER AS n_new, n_new_standing::INTEGER AS n_new_standing,
    CASE WHEN modality = 'NM' AND is_suspect AND is_borne_out AND is_later AND is_followed THEN next_day
    END AS confirmed_day,
    CASE
        WHEN modality != 'NM' OR scan_number = 0 OR NOT is_followed THEN NULL
        WHEN NOT is_suspect THEN CASE WHEN n_open = 0 THEN 'non-PD' END
        WHEN scan_number = 1 AND days < 56 THEN NULL
        WHEN is_borne_out IS NULL OR NOT is_later THEN NULL
        WHEN is_borne_out THEN 'PD'
        ELSE 'non-PD' END AS response,
    CASE
        WHEN modality != 'NM' THEN 'a rule for bone scans'
        WHEN scan_number = 0 THEN 'baseline: taken for the start of treatment'
        WHEN NOT is_followed THEN 'not matched with the scans before yet'
        WHEN NOT is_suspect THEN CASE WHEN n_open > 0 THEN 'a lesion cannot be assessed at this scan' END
        WHEN scan_number = 1 AND days < 56 THEN 'sooner than 8 weeks after the start'
        WHEN is_borne_out IS NULL THEN 'to be confirmed by the next scan'
        WHEN NOT is_later THEN 'the next scan is sooner than 6 weeks'
        WHEN is_borne_out THEN 'two or more new, confirmed by the next scan'
        ELSE 'not confirmed by the next scan'
    END AS reason,
    'computed from masks under rule PCWG3; not a reader assessment' AS rule
FROM judged
"""
