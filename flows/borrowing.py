"""Levels that one modality takes from another's scan of the same study, such as a PET from its CT.

Where that scan is done again, for a name that a person gave or a mask that changed, those that took its levels are too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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

_BORROWERS = """
SELECT r.series_key, s.shard, s.study_key, s.frame_of_reference_key, coalesce(r.labels_uri, r.attempt)
FROM scans r JOIN series s USING (series_key) WHERE r.recipe_id = ?
"""

Labels = Mapping[tuple[str, str, str], str]
"""By recipe, study and frame of reference: where the labels are."""


def borrows(recipe: ResolvedRecipe) -> bool:
    """Whether a recipe takes its levels from another modality."""
    return "levels_from" in recipe.document


def levels_of_others(store: Store) -> Callable[[Mapping[str, Any], ResolvedRecipe], str | None]:
    """Finds, for a row of the catalog and its recipe, the labels of the scan whose levels it takes.

    That scan shares study and frame of reference; the primary series of its modality comes first.
    """
    labels = _labels(store)

    def levels_of(row: Mapping[str, Any], recipe: ResolvedRecipe) -> str | None:
        frame = row.get("frame_of_reference_key")
        return labels.get((recipe.document["levels_from"], row["study_key"], frame)) if frame else None

    return levels_of


def outdated(store: Store, recipes: Iterable[ResolvedRecipe]) -> dict[str, str]:
    """Series, each with its shard, whose levels were taken before the scan that lends them was done last."""
    borrowing = [recipe for recipe in recipes if borrows(recipe)]
    if not borrowing:
        return {}
    labels, found = _labels(store), {}
    connection = connect(store, footers_kept=False)
    try:
        for recipe in borrowing:
            for key, shard, study, frame, made in connection.execute(_BORROWERS, [recipe.recipe_id]).fetchall():
                lent = labels.get((recipe.document["levels_from"], study, frame))
                if lent is not None and is_older(made, lent):
                    found[key] = shard
    finally:
        connection.close()
    return found


def is_older(labels_uri: str, other: str) -> bool:
    """Whether labels were made before others: their addresses end with attempts, which sort by time."""
    return labels_uri.rsplit("/", 1)[-1] < other.rsplit("/", 1)[-1]


def _labels(store: Store) -> Labels:
    connection = connect(store, footers_kept=False)
    try:
        rows = connection.execute(_LABELS).fetchall()
    finally:
        connection.close()
    return {(recipe_id, study, frame): uri for recipe_id, study, frame, uri in rows}


def no_levels(_row: Mapping[str, Any], _recipe: ResolvedRecipe) -> str | None:
    """For recipes that borrow none."""
    return None
