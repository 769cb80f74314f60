"""The views over time in SQL, over the view `scans` and the files of `changes/`, which are `store.edges`."""

from __future__ import annotations

from pipeline.longitudinal.rules import RULE_VIEWS

TIMELINE = """
SELECT recipe_id, patient_key, modality, study_key, series_key, shard, attempt, study_day, n_lesions, labels_uri,
    row_number() OVER in_time - 1 AS scan_number,
    first_value(series_key) OVER in_time AS baseline_series,
    lag(series_key) OVER in_time AS series_key_0,
    lag(attempt) OVER in_time AS attempt_0,
    lag(study_day) OVER in_time AS study_day_0,
    lag(n_lesions) OVER in_time AS n_lesions_0,
    lead(study_day) OVER in_time AS next_day
FROM scans
WHERE status = 'ok' AND is_primary AND study_day IS NOT NULL AND n_lesions IS NOT NULL
WINDOW in_time AS (PARTITION BY recipe_id, patient_key, modality ORDER BY study_day, study_key, series_key)
"""
"""Scans that count, in their order: of each study and modality the series that stands for it. Studies of one day follow
each other by their key; a study without a date has no place in time and is left out."""

EDGES = """
WITH newest AS (
    FROM store.edges
    QUALIFY row_number() OVER (PARTITION BY pair_id, lesion_id_0, lesion_id_1 ORDER BY event) = 1
        AND coalesce(matching, 0) = max(coalesce(matching, 0)) OVER (
            PARTITION BY recipe_id, series_key_0, attempt_0, series_key_1, attempt_1)
)
SELECT e.pair_id, e.recipe_id, e.patient_key, e.modality, e.study_key_0, e.study_key_1, e.series_key_0, e.series_key_1,
    t.study_day_0, t.study_day AS study_day_1,
    e.event, e.state, e.reason, e.n_0, e.n_1, e.level,
    e.lesion_id_0, e.lesion_id_1, e.overlap_0, e.overlap_1, e.distance_mm,
    e.registration, e.registration_dice,
    e.volume_0_mm3, e.volume_1_mm3, e.event_volume_0_mm3, e.event_volume_1_mm3, e.volume_change,
    e.hu_mean_change, e.suv_max_change, e.lesion_type_0, e.lesion_type_1
FROM newest e JOIN store.timeline t
    ON t.recipe_id = e.recipe_id AND t.series_key = e.series_key_1 AND t.attempt = e.attempt_1
    AND t.series_key_0 = e.series_key_0 AND t.attempt_0 = e.attempt_0
"""
"""Edges whose two scans count now and follow each other now: a scan done again, or a study that came in between later,
leaves edges behind that no question should see."""

CHANGES = """
SELECT pair_id, recipe_id, patient_key, modality, study_key_0, study_key_1, series_key_0, series_key_1,
    study_day_0, study_day_1, study_day_1 - study_day_0 AS days_between,
    event, any_value(state) AS state, any_value(reason) AS reason, any_value(n_0) AS n_0, any_value(n_1) AS n_1,
    any_value(level) AS level,
    list_sort(list_distinct(list(lesion_id_0))) AS lesion_ids_0,
    list_sort(list_distinct(list(lesion_id_1))) AS lesion_ids_1,
    any_value(registration) AS registration, min(registration_dice) AS registration_dice,
    any_value(event_volume_0_mm3) AS volume_0_mm3, any_value(event_volume_1_mm3) AS volume_1_mm3,
    any_value(volume_change) AS volume_change,
    any_value(hu_mean_change) AS hu_mean_change, any_value(suv_max_change) AS suv_max_change,
    arg_max(lesion_type_0, volume_0_mm3) AS lesion_type_0, arg_max(lesion_type_1, volume_1_mm3) AS lesion_type_1
FROM edges
GROUP BY pair_id, recipe_id, patient_key, modality, study_key_0, study_key_1, series_key_0, series_key_1,
    study_day_0, study_day_1, event
"""
"""One row per event: a lesion that splits, or lesions that merge, count once."""

FOLLOWED = """
WITH matched AS (
    SELECT t.*, t.scan_number = 0 OR t.n_lesions + t.n_lesions_0 = 0 OR e.series_key IS NOT NULL AS is_matched
    FROM store.timeline t
    LEFT JOIN (SELECT DISTINCT recipe_id, series_key_1 AS series_key FROM edges) e USING (recipe_id, series_key)
)
SELECT *, bool_and(is_matched) OVER (
    PARTITION BY recipe_id, patient_key, modality ORDER BY scan_number) AS is_followed
FROM matched
"""
"""The timeline, and whether every two scans up to one were matched: two of which one holds a lesion have an edge."""

VIEWS_OVER_TIME: dict[str, str] = {
    "store.timeline": TIMELINE,
    "edges": EDGES,
    "changes": CHANGES,
    "store.followed": FOLLOWED,
    **RULE_VIEWS,
}
"""View to its SELECT, in an order in which each finds what it reads."""
