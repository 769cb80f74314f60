"""Questions that people ask, worked out: to read, to start from, and to see whether the views still answer them.

A store holds the results of every recipe it was run with, so most begin with the recipe: leave it out, and the same
lesion is counted once for each. `primary_tumour` is a column that the cohort names in `clinical`; every other name is
in the data dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """A question and its SQL."""

    title: str
    """What is asked, in words."""
    sql: str
    """The same in SQL."""


EXAMPLES: tuple[Example, ...] = (
    Example(
        "How much disease is there, by primary tumour?",
        """
SELECT recipe_id[:8] AS recipe, primary_tumour, count(*) AS patients, sum(last_n_lesions)::BIGINT AS lesions,
    round(median(last_lesion_volume_mm3) / 1000, 2) AS median_ml,
    round(100 * avg(last_burden), 2) AS mean_burden_percent
FROM patients JOIN clinical USING (patient_key)
GROUP BY ALL ORDER BY recipe, lesions DESC, primary_tumour
""",
    ),
    Example(
        "Which levels are involved most often, of the times they were seen?",
        """
SELECT recipe_id[:8] AS recipe, level, count(*) AS seen, count(*) FILTER (n_lesions > 0) AS involved,
    round(100 * avg((n_lesions > 0)::INTEGER), 1) AS percent
FROM vertebrae JOIN levels USING (level)
WHERE is_primary AND assessed = 'full' AND n_lesions IS NOT NULL
GROUP BY recipe_id, level, position
QUALIFY row_number() OVER (PARTITION BY recipe_id ORDER BY percent DESC, position) <= 5
ORDER BY recipe, percent DESC, position
""",
    ),
    Example(
        "What became of the lesions from one study to the next?",
        """
SELECT recipe_id[:8] AS recipe, state, count(*) AS events, count(DISTINCT patient_key) AS patients,
    round(median(100 * volume_change), 1) AS median_volume_change_percent,
    round(median(hu_mean_change), 1) AS median_hu_change
FROM changes GROUP BY ALL ORDER BY recipe, events DESC, state
""",
    ),
    Example(
        "Which patients have new lesions within 180 days of their first study?",
        """
SELECT recipe_id[:8] AS recipe, patient_key[:8] AS patient, study_day_1 AS study_day, count(*) AS new_lesions,
    round(sum(volume_1_mm3)) AS volume_mm3, list_sort(list(DISTINCT level)) AS levels
FROM changes WHERE state = 'new' AND study_day_1 <= 180
GROUP BY recipe_id, patient_key, study_day_1 ORDER BY recipe, new_lesions DESC, patient LIMIT 10
""",
    ),
    Example(
        "Do scanners differ in what is found on them?",
        """
SELECT recipe_id[:8] AS recipe, manufacturer, manufacturer_model_name AS model, convolution_kernel AS kernel,
    count(*) AS scans,
    round(avg(n_lesions), 2) AS lesions_per_scan, round(median(spacing_mm[1]), 2) AS slice_mm
FROM scans JOIN series USING (series_key)
WHERE series.is_primary AND scans.status = 'ok'
GROUP BY ALL ORDER BY recipe, scans DESC, manufacturer, model, kernel LIMIT 10
""",
    ),
    Example(
        "Where do two recipes differ most, lesion by lesion?",
        """
WITH two AS (SELECT min(recipe_id) AS a, max(recipe_id) AS b FROM scans WHERE modality = 'CT'),
furthest AS (
    SELECT series_key FROM scans, two WHERE recipe_id IN (a, b) AND is_primary AND n_lesions IS NOT NULL
    GROUP BY series_key HAVING count(*) = 2
    ORDER BY max(lesion_volume_mm3) - min(lesion_volume_mm3) DESC, series_key LIMIT 100
),
found AS MATERIALIZED (
    SELECT recipe_id, series_key, lesion_id, level, volume_mm3, centroid_mm
    FROM lesions JOIN furthest USING (series_key)
),
near AS (
    SELECT x.series_key, x.lesion_id AS lesion_a, y.lesion_id AS lesion_b
    FROM two JOIN found x ON x.recipe_id = a
    JOIN found y ON y.recipe_id = b AND y.series_key = x.series_key
        AND list_distance(x.centroid_mm, y.centroid_mm) <= 10
    QUALIFY row_number() OVER (PARTITION BY x.series_key, x.lesion_id
            ORDER BY list_distance(x.centroid_mm, y.centroid_mm), y.lesion_id) = 1
        AND row_number() OVER (PARTITION BY x.series_key, y.lesion_id
            ORDER BY list_distance(x.centroid_mm, y.centroid_mm), x.lesion_id) = 1
)
SELECT coalesce(x.series_key, y.series_key)[:8] AS series, coalesce(x.level, y.level) AS level,
    round(x.volume_mm3) AS volume_a_mm3, round(y.volume_mm3) AS volume_b_mm3
FROM (SELECT f.*, n.lesion_b FROM two JOIN found f ON recipe_id = a
      LEFT JOIN near n ON n.series_key = f.series_key AND n.lesion_a = f.lesion_id) x
FULL JOIN (SELECT f.* FROM two JOIN found f ON recipe_id = b) y
    ON y.series_key = x.series_key AND y.lesion_id = x.lesion_b
ORDER BY abs(coalesce(x.volume_mm3, 0) - coalesce(y.volume_mm3, 0)) DESC, series, level LIMIT 8
""",
    ),
    Example(
        "What does a scan cost?",
        """
SELECT recipe_id[:8] AS recipe, modality, device, backend, count(*) AS scans,
    round(avg(seconds_total), 2) AS seconds_per_scan,
    round(avg(seconds_detect), 2) AS detecting, round(quantile_cont(seconds_total, 0.95), 2) AS slowest_twentieth,
    round(max(peak_rss_mb)) AS peak_mb
FROM scans WHERE status = 'ok' GROUP BY ALL ORDER BY recipe, scans DESC
""",
    ),
    Example(
        "What was left out, and what can be done about it?",
        """
SELECT stage, reason_code, count(*) AS series, any_value(what_to_do) AS what_to_do
FROM failures GROUP BY stage, reason_code ORDER BY series DESC, reason_code
""",
    ),
    Example(
        "How many lesions would other thresholds give?",
        """
SELECT recipe_id[:8] AS recipe, unnest([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]) AS threshold, unnest([
    count(*) FILTER (score_max >= 0.3), count(*) FILTER (score_max >= 0.4), count(*) FILTER (score_max >= 0.5),
    count(*) FILTER (score_max >= 0.6), count(*) FILTER (score_max >= 0.7), count(*) FILTER (score_max >= 0.8),
    count(*) FILTER (score_max >= 0.9)]) AS found
FROM (SELECT recipe_id, is_primary, score_max FROM lesions
      UNION ALL SELECT recipe_id, is_primary, score_max FROM candidates WHERE why_not = 'threshold')
WHERE is_primary AND score_max IS NOT NULL GROUP BY recipe_id ORDER BY recipe, threshold
""",
    ),
    Example(
        "Which vertebrae may be unstable, and where are their scans?",
        """
WITH worst AS (
    SELECT recipe_id, patient_key, series_key, study_day, level, sins_min, sins_max FROM sins
    WHERE sins_max >= 7 ORDER BY sins_min DESC, sins_max DESC, patient_key, study_day, level LIMIT 10
)
SELECT recipe_id[:8] AS recipe, worst.patient_key[:8] AS patient, worst.study_day, level, sins_min, sins_max, volume_uri
FROM worst JOIN series USING (series_key)
ORDER BY sins_min DESC, sins_max DESC, patient, worst.study_day, level, recipe
""",
    ),
)
"""Ten of them."""
