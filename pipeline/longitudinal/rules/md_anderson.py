"""MD Anderson bone response (Hamaoka 2004; its table in Hayashi 2013, PMC3863546), for CT and MR.

Density and size are kept apart: a lytic lesion that turns mixed or blastic is healing, whatever its size, and a new
blastic focus may be the healing of a lesion that could not be seen before, so it is no progression by itself. Products
of the long and the short axis have to fall by 50 % from the first study, or to rise by 25 % over the smallest sum (both
to be confirmed). What a reader would call a sclerotic rim or partial fill-in is seen as the change of type alone.
"""

from __future__ import annotations

MD_ANDERSON = """
WITH size AS (
    SELECT recipe_id, series_key, sum(long_axis_mm * short_axis_mm) AS product_mm2,
        count(*) FILTER (lesion_type IS NULL) AS n_untyped
    FROM lesions GROUP BY ALL
), fate AS (
    SELECT recipe_id, series_key_1 AS series_key,
        count(DISTINCT event) FILTER (
            (state = 'new' AND lesion_type_1 IS DISTINCT FROM 'blastic') OR (state = 'growing' AND NOT turned_dense)
        ) AS n_progressing,
        count(DISTINCT event) FILTER (
            state IN ('resolved', 'shrinking') OR (turned_dense AND state != 'not_assessable')) AS n_healing,
        count(DISTINCT event) FILTER (state = 'new' AND lesion_type_1 = 'blastic') AS n_new_blastic,
        count(DISTINCT event) FILTER (state = 'not_assessable') AS n_open
    FROM (
        SELECT *, coalesce(lesion_type_0 = 'lytic' AND lesion_type_1 IN ('mixed', 'blastic'), false) AS turned_dense
        FROM edges)
    GROUP BY ALL
), judged AS (
    SELECT s.*, coalesce(z.product_mm2, 0) AS product_mm2, coalesce(z.n_untyped, 0) AS n_untyped,
        coalesce(f.n_progressing, 0) AS n_progressing, coalesce(f.n_healing, 0) AS n_healing,
        coalesce(f.n_new_blastic, 0) AS n_new_blastic, coalesce(f.n_open, 0) AS n_open,
        first_value(coalesce(z.product_mm2, 0)) OVER in_time AS baseline_mm2,
        min(coalesce(z.product_mm2, 0)) OVER (in_time ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS nadir_mm2
    FROM store.followed s LEFT JOIN size z USING (recipe_id, series_key) LEFT JOIN fate f USING (recipe_id, series_key)
    WINDOW in_time AS (PARTITION BY s.recipe_id, s.patient_key, s.modality ORDER BY s.scan_number)
)
SELECT recipe_id, patient_key, modality, study_key, series_key, study_day, n_lesions, product_mm2, baseline_mm2,
    product_mm2 / nullif(baseline_mm2, 0) - 1 AS change_from_baseline,
    n_progressing::INTEGER AS n_progressing, n_healing::INTEGER AS n_healing, n_new_blastic::INTEGER AS n_new_blastic,
    CASE
        WHEN scan_number = 0 OR NOT is_followed OR modality NOT IN ('CT', 'MR') THEN NULL
        WHEN n_progressing > 0 THEN 'PD'
        WHEN n_open > 0 THEN NULL
        WHEN baseline_mm2 = 0 AND n_lesions = 0 THEN NULL
        WHEN n_lesions = 0 THEN 'CR'
        WHEN round(product_mm2 - 1.25 * nadir_mm2, 6) >= 0 AND n_healing = 0 AND n_new_blastic = 0 THEN 'PD'
        WHEN round(product_mm2 - 0.5 * baseline_mm2, 6) <= 0 OR n_healing > 0 THEN 'PR'
        WHEN n_new_blastic > 0 THEN NULL
        ELSE 'SD' END AS response,
    CASE
        WHEN scan_number = 0 THEN 'baseline'
        WHEN modality NOT IN ('CT', 'MR') THEN 'made for radiographs, CT and MR'
        WHEN NOT is_followed THEN 'not matched with the studies before yet'
        WHEN n_progressing > 0 THEN 'new or larger lesions that did not turn denser'
        WHEN n_open > 0 THEN 'a lesion cannot be assessed at this study'
        WHEN baseline_mm2 = 0 AND n_lesions = 0 THEN 'no lesion at any study'
        WHEN n_new_blastic > 0 AND n_healing = 0 THEN 'a new blastic focus may be progression or healing'
        WHEN n_untyped > 0 THEN 'some lesions have no type: healing by sclerosis cannot be seen in them'
    END AS reason,
    'computed from masks under rule MD Anderson; not a reader assessment' AS rule
FROM judged
"""
