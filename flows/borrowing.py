"""Levels that one modality takes from another's scan of the same study, such as a PET from its CT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.query import connect
from pipeline.recipe import ResolvedRecipe
from pipeline.store import Store

_LABELS = """
SELECT r.recipe_id, s.study_key, s.frame_of_reference_key, r.labels_uri
FROM scans r JOIN series s USING (series_key)
WHERE r.status = 'ok' AND r.labels_uri IS NOT NULL AND s.frame_of_reference_key IS NOT NULL
ORDER BY s.is_primary, r.series_key DESC
"""


def borrows(recipe: ResolvedRecipe) -> bool:
    """Whether a recipe takes its levels from another modality."""
    return "levels_from" in recipe.document


def levels_of_others(store: Store) -> Callable[[Mapping[str, Any], ResolvedRecipe], str | None]:
    """Finds, for a row of the catalog and its recipe, the labels of the scan whose levels it takes.

    That scan shares study and frame of reference; the primary series of its modality comes first.
    """
    connection = connect(store, footers_kept=False)
    try:
        rows = connection.execute(_LABELS).fetchall()
    finally:
        connection.close()
    labels = {(recipe_id, study, frame): uri for recipe_id, study, frame, uri in rows}

    def levels_of(row: Mapping[str, Any], recipe: ResolvedRecipe) -> str | None:
        frame = row.get("frame_of_reference_key")
        return labels.get((recipe.document["levels_from"], row["study_key"], frame)) if frame else None

    return levels_of


def no_levels(_row: Mapping[str, Any], _recipe: ResolvedRecipe) -> str | None:
    """For recipes that borrow none."""
    return None
