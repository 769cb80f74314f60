"""RECIST 1.1 (Eisenhauer 2009, doi 10.1016/j.ejca.2008.10.026) for bone.

Bone lesions are measurable only with a soft-tissue part of 10 mm (Costelloe 2010, J Cancer 1:80), which no mask here
shows, and blastic ones never (to be confirmed). So `response` is NULL, and `response_if_measurable` says what it would
be. Targets are the two longest of the first study, for all bone is one organ (to be confirmed). They are followed along
the edges: the parts of a target that split add up, one that merged with another counts once. Progress is 20 % and 5 mm
over the smallest sum before, or any new lesion; partial response a fall of 30 % below the first sum. Differences are
rounded to a nanometre: 63 of 90 mm is a fall of 30 %, though 0.7 * 90 is 62.99999999999999.
"""

from __future__ import annotations

RECIST = """
WITH RECURSIVE target AS (
    SELECT l.recipe_id, l.series_key, l.lesion_id, l.axial_long_axis_mm, l.measurable_recist
    FROM lesions l JOIN store.followed s USING (recipe_id, series_key)
    WHERE s.scan_number = 0 AND round(l.axial_long_axis_mm, 6) >= 10
    QUALIFY row_number() OVER (
        PARTITION BY l.recipe_id, l.series_key ORDER BY l.axial_long_axis_mm DESC, l.lesion_id) <= 2
), trace AS (
    SELECT recipe_id, series_key AS baseline_series, series_key, lesion_id, false AS is_lost FROM target
    UNION
    SELECT t.recipe_id, t.baseline_series, e.series_key_1, e.lesion_id_1, t.is_lost OR e.state = 'not_assessable'
    FROM trace t JOIN edges e
        ON e.recipe_id = t.recipe_id AND e.series_key_0 = t.series_key AND e.lesion_id_0 = t.lesion_id
    WHERE e.lesion_id_1 IS NOT NULL OR e.state = 'not_assessable'
), lost AS (
    SELECT t.recipe_id, t.baseline_series, s.study_day, s.series_key
    FROM trace t JOIN store.followed s USING (recipe_id, series_key)
    WHERE t.is_lost
), now AS (
    SELECT t.recipe_id, t.baseline_series, t.series_key, sum(l.axial_long_axis_mm) AS sum_mm,
        count(*) > count(l.axial_long_axis_mm) AS is_open
    FROM (SELECT DISTINCT recipe_id, baseline_series, series_key, lesion_id FROM trace WHERE lesion_id IS NOT NULL) t
    JOIN lesions l USING (recipe_id, series_key, lesion_id)
    GROUP BY ALL
), chosen AS (
    SELECT recipe_id, series_key AS baseline_series, count(*) AS n_targets, sum(axial_long_axis_mm) AS baseline_mm,
        count(*) FILTER (measurable_recist) AS n_known,
        count(*) = count(measurable_recist) AS is_known
    FROM target GROUP BY ALL
), fresh AS (
    SELECT recipe_id, series_key_1 AS series_key, count(*) AS n_new FROM edges WHERE state = 'new' GROUP BY ALL
), measured AS (
    SELECT s.*, coalesce(c.n_targets, 0) AS n_targets, c.baseline_mm,
        CASE WHEN c.is_known THEN c.n_known END AS n_measurable,
        CASE WHEN c.n_targets IS NULL OR NOT s.is_followed OR coalesce(n.is_open, false) OR EXISTS (
                SELECT 1 FROM lost o WHERE o.recipe_id = s.recipe_id AND o.baseline_series = s.baseline_series
                    AND o.study_day <= s.study_day)
            THEN NULL ELSE coalesce(n.sum_mm, 0) END AS sum_mm,
        sum(coalesce(f.n_new, 0)) OVER (
            PARTITION BY s.recipe_id, s.patient_key, s.modality ORDER BY s.scan_number) AS n_new
    FROM store.followed s
    LEFT JOIN chosen c USING (recipe_id, baseline_series)
    LEFT JOIN now n USING (recipe_id, baseline_series, series_key)
    LEFT JOIN fresh f USING (recipe_id, series_key)
), compared AS (
    SELECT *, min(sum_mm) OVER (
        PARTITION BY recipe_id, patient_key, modality ORDER BY scan_number
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS nadir_mm
    FROM measured
), judged AS (
    SELECT *, CASE
        WHEN scan_number = 0 OR NOT is_followed THEN NULL
        WHEN n_new > 0 THEN 'PD'
        WHEN n_targets = 0 OR sum_mm IS NULL OR nadir_mm IS NULL THEN NULL
        WHEN round(sum_mm - nadir_mm, 6) >= 5 AND round(sum_mm - 1.2 * nadir_mm, 6) >= 0 THEN 'PD'
        WHEN n_lesions = 0 THEN 'CR'
        WHEN round(sum_mm - 0.7 * baseline_mm, 6) <= 0 THEN 'PR'
        ELSE 'SD' END AS response_if_measurable
    FROM compared
)
SELECT recipe_id, patient_key, modality, study_key, series_key, study_day,
    n_targets::INTEGER AS n_targets, n_measurable::INTEGER AS n_measurable, sum_mm, baseline_mm, nadir_mm,
    sum_mm / nullif(baseline_mm, 0) - 1 AS change_from_baseline,
    sum_mm / nullif(nadir_mm, 0) - 1 AS change_from_nadir,
    n_new::INTEGER AS n_new, response_if_measurable,
    CASE WHEN n_measurable = n_targets AND n_targets > 0 THEN response_if_measurable END AS response,
    CASE
        WHEN scan_number = 0 THEN 'baseline'
        WHEN NOT is_followed THEN 'not matched with the studies before yet'
        WHEN n_targets = 0 THEN 'no bone lesion of 10 mm at the first study'
        ELSE nullif(concat_ws('; ',
            CASE WHEN n_new > 0 THEN 'new lesions' END,
            CASE WHEN sum_mm IS NULL THEN 'a target cannot be assessed at this study' END,
            CASE
                WHEN n_measurable IS NULL
                THEN 'whether targets have a soft-tissue part is not known: bone alone is non-target'
                WHEN n_measurable < n_targets THEN 'a target has no soft-tissue part: bone alone is non-target'
            END), '')
    END AS reason,
    'computed from masks under rule RECIST 1.1; not a reader assessment' AS rule
FROM judged
"""
