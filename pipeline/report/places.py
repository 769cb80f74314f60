"""Which places are pictured: what was missed, what was falsely called, and the largest lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from pipeline.report.gallery import Tile, Wanted
from pipeline.report.gather import Rows, ask
from pipeline.report.tables import Link, Table

_OF_SERIES = "s.volume_uri, s.shape, s.spacing_mm, s.origin_mm, s.direction, s.modality"

_TRUTH_URI = """LEFT JOIN (SELECT series_key, arg_max(labels_uri, attempt) AS truth_uri FROM reference_standard
    WHERE reader = '1' GROUP BY series_key) t USING (series_key)"""

LESIONS = f"""
SELECT l.recipe_id, l.series_key, l.patient_key, l.lesion_id, l.level, l.lesion_type, l.volume_mm3, l.long_axis_mm,
    l.score_max, l.site, l.centroid_mm, c.labels_uri, {_OF_SERIES}, t.truth_uri
FROM lesions l JOIN scans c USING (recipe_id, series_key) JOIN series s USING (series_key) {_TRUTH_URI}
WHERE l.is_primary AND l.centroid_mm IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY l.recipe_id, l.lesion_type ORDER BY l.volume_mm3 DESC, l.series_key) <= ?
ORDER BY l.recipe_id, l.volume_mm3 DESC, l.series_key, l.lesion_id"""  # noqa: S608
"""The largest of each recipe and type."""

MISSED = f"""
WITH missed AS (
    SELECT recipe_id, series_key, patient_key, truth_id, any_value(truth_level) AS level,
        any_value(truth_type) AS lesion_type, any_value(truth_volume_mm3) AS volume_mm3,
        any_value(truth_centroid_mm) AS centroid_mm, max(iou) AS largest_iou
    FROM matches WHERE truth_id IS NOT NULL
    GROUP BY recipe_id, series_key, patient_key, truth_id HAVING NOT coalesce(bool_or(hit), false)
)
SELECT m.*, c.labels_uri, {_OF_SERIES}, t.truth_uri
FROM missed m JOIN scans c USING (recipe_id, series_key) JOIN series s USING (series_key) {_TRUTH_URI}
QUALIFY row_number() OVER (PARTITION BY m.recipe_id
    ORDER BY m.volume_mm3 DESC NULLS LAST, m.series_key, m.truth_id) <= ?
ORDER BY m.recipe_id, m.volume_mm3 DESC NULLS LAST, m.series_key, m.truth_id"""  # noqa: S608
"""True lesions that no lesion of the results hits, the largest of each recipe first."""

FALSE = f"""
WITH wrong AS (
    SELECT recipe_id, series_key, patient_key, candidate_id AS lesion_id, any_value(candidate_level) AS level,
        any_value(candidate_type) AS lesion_type, any_value(candidate_volume_mm3) AS volume_mm3,
        any_value(candidate_centroid_mm) AS centroid_mm, any_value(score) AS score_max, max(iou) AS largest_iou
    FROM matches WHERE candidate_id IS NOT NULL AND is_lesion
    GROUP BY recipe_id, series_key, patient_key, candidate_id HAVING NOT coalesce(bool_or(hit), false)
)
SELECT w.*, c.labels_uri, {_OF_SERIES}, t.truth_uri
FROM wrong w JOIN scans c USING (recipe_id, series_key) JOIN series s USING (series_key) {_TRUTH_URI}
QUALIFY row_number() OVER (PARTITION BY w.recipe_id
    ORDER BY w.score_max DESC NULLS LAST, w.volume_mm3 DESC, w.series_key, w.lesion_id) <= ?
ORDER BY w.recipe_id, w.score_max DESC NULLS LAST, w.volume_mm3 DESC, w.series_key, w.lesion_id"""  # noqa: S608
"""Lesions of the results that hit nothing, the surest of each recipe first."""


_NEWER = """
SELECT recipe_id, count(*) AS n FROM compared_scans c JOIN scans s USING (recipe_id, series_key)
WHERE s.attempt IS DISTINCT FROM c.result_attempt GROUP BY recipe_id"""
"""Results that have come since they were compared."""


ALONE = "alone"
"""Stands among the statuses of scans for studies that have a result but no reference."""

_SCANS = f"""
SELECT recipe_id, status, count(*) AS n FROM compared_scans GROUP BY ALL
UNION ALL SELECT recipe_id, '{ALONE}', count(DISTINCT study_key) FROM scans ANTI JOIN compared_scans
    USING (recipe_id, study_key) WHERE status = 'ok' AND is_primary GROUP BY recipe_id
ORDER BY recipe_id, status"""  # noqa: S608
"""What became of the scans with a reference, and how many studies have none."""


def places(connection: duckdb.DuckDBPyConnection, sql: str, most: int) -> list[Wanted]:
    """Places to picture, in the order in which they are shown."""
    return [_wanted(row) for row in ask(connection, sql, most)]


def _wanted(row: dict[str, Any]) -> Wanted:
    hidden = {"volume_uri", "shape", "spacing_mm", "origin_mm", "direction", "labels_uri", "truth_uri", "centroid_mm"}
    z, y, x = row["shape"]
    i, j, k = row["centroid_mm"]
    return Wanted(
        row={name: value for name, value in row.items() if name not in hidden and value is not None},
        volume_uri=row["volume_uri"],
        shape=(z, y, x),
        geometry={name: row[name] for name in ("spacing_mm", "origin_mm", "direction")},
        centre_mm=(i, j, k),
        modality=row["modality"],
        labels_uri=row["labels_uri"],
        lesion_id=row.get("lesion_id"),
        truth_uri=row["truth_uri"],
    )


def question_of(row: dict[str, Any]) -> str:
    """SQL that gives the row behind a picture."""
    if row.get("lesion_id") is not None:
        return (
            f"SELECT * FROM lesions WHERE recipe_id = '{row['recipe_id']}' "  # noqa: S608 -- keys are hex digits
            f"AND series_key = '{row['series_key']}' AND lesion_id = {row['lesion_id']}"
        )
    return (
        f"SELECT * FROM matches WHERE recipe_id = '{row['recipe_id']}' "  # noqa: S608
        f"AND series_key = '{row['series_key']}' AND truth_id = {row.get('truth_id')}"
    )


def pictured_rows(tiles: Mapping[str, Sequence[Tile]]) -> Table | None:
    """What the store says of each picture, so that pictures can be sorted and found; each leads to its picture.

    Args:
        tiles: kind (the beginning of the pictures' anchors) to pictures in their order on the page.
    """
    names = "lesion_id level lesion_type volume_mm3 long_axis_mm score_max largest_iou site".split()
    named = [(f"{kind}-{i}", tile.row) for kind, found in tiles.items() for i, tile in enumerate(found, 1)]
    rows: list[tuple[Any, ...]] = [
        (
            Link(name.replace("-", "\N{NO-BREAK SPACE}"), f"#{name}"),
            row["recipe_id"][:8],
            row["series_key"][:12],
            *map(row.get, names),
        )
        for name, row in named
    ]
    note = "Largest IoU: with any true lesion; of a missed one, with any lesion or candidate."
    ids = [f"row-{name}" for name, _ in named]
    return Table("Rows of the pictures", ("picture", "recipe", "series", *names), rows, note, ids=ids) if rows else None


_COMPARED_BEFORE = """
SELECT c.*, c.attempt < (
    SELECT max(attempt) FROM compared_scans s WHERE s.recipe_id IN (c.recipe_id, c.stratum)) AS stale
FROM comparisons c SEMI JOIN scans USING (recipe_id)"""
"""Recipes in pairs, and whether the results or the reference of one are newer than that."""


_THRESHOLDS = "SELECT recipe_id, min(threshold) AS low, max(threshold) AS high FROM lesions GROUP BY recipe_id"
"""Of scores; several where a recipe has overrides."""


def evaluated_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, Rows]:
    """The newest evaluation of each recipe that has results, and how many of its results are newer (`stale`)."""
    names = ("metrics", "site_metrics", "curves")
    return {name: ask(connection, f"FROM {name} SEMI JOIN scans USING (recipe_id)") for name in names} | {
        "comparisons": ask(connection, _COMPARED_BEFORE),
        "stale": ask(connection, _NEWER),
        "thresholds": ask(connection, _THRESHOLDS),
        "scans": ask(connection, _SCANS),
    }
