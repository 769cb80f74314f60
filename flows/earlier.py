"""Results of recipes that find the same masks and measure them otherwise: those are measured again, not found again."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from flows.shards import EarlierOf
from flows.work import Row
from pipeline.query import connect
from pipeline.recipe import ResolvedRecipe, detection_id
from pipeline.scan.remeasure import OF_LESION
from pipeline.scan.request import Earlier
from pipeline.store import Store
from pipeline.store.results import read_results

_SHARDS_KEPT = 8
_DONE = """
SELECT series_key, version, given_id, shard, attempt FROM scans
WHERE recipe_id = ? AND status = 'ok' AND labels_uri IS NOT NULL
"""


@dataclass(frozen=True)
class _Place:
    """Where an earlier row is."""

    recipe_id: str
    shard: str
    attempt: str


def earlier_results(store: Store, recipes: Iterable[ResolvedRecipe]) -> EarlierOf:
    """Finds, for a row of the catalog, its recipe and the hash of its masks, a result that need only be measured again.

    Raises:
        ServiceError: the store was not there.
    """
    places = _places(store, recipes)
    rows_of = lru_cache(_SHARDS_KEPT)(lambda recipe_id, shard: _rows(store, recipe_id, shard))

    def earlier_of(row: Row, recipe: ResolvedRecipe, given_id: str | None) -> Earlier | None:
        place = places.get((recipe.recipe_id, row["series_key"], row["version"], given_id))
        found = rows_of(place.recipe_id, place.shard).get((row["series_key"], place.attempt)) if place else None
        return None if found is None else _earlier(found)

    return earlier_of


def _places(store: Store, recipes: Iterable[ResolvedRecipe]) -> dict[tuple[str, str, str, str | None], _Place]:
    """By the present recipe, series, version and hash of masks."""
    like = _alike(store, recipes)
    if not any(like.values()):
        return {}
    places = {}
    connection = connect(store, footers_kept=False)
    try:
        for recipe_id, others in like.items():
            for other in others:
                for key, version, given, shard, attempt in connection.execute(_DONE, [other]).fetchall():
                    places[recipe_id, key, version, given] = _Place(other, shard, attempt)
    finally:
        connection.close()
    return places


def _alike(store: Store, recipes: Iterable[ResolvedRecipe]) -> dict[str, list[str]]:
    """Each recipe to the others in the store that find the same."""
    stored = store.read_all(path for path in store.list("recipes") if path.endswith(".json"))
    documents = {document["recipe_id"]: document for document in map(json.loads, stored.values())}
    by_detection = defaultdict(list)
    for recipe_id, document in documents.items():
        by_detection[detection_id(document, documents)].append(recipe_id)
    return {
        recipe.recipe_id: [
            other for other in by_detection[detection_id(recipe.document, documents)] if other != recipe.recipe_id
        ]
        for recipe in recipes
    }


def _rows(store: Store, recipe_id: str, shard: str) -> Mapping[tuple[str, str], Row]:
    """The rows of a shard under a recipe, by series and attempt."""
    paths = [path for path in store.list(f"results/recipe={recipe_id}") if path.rsplit("/", 1)[-1].startswith(shard)]
    rows = [row for path in paths for row in read_results(store, path).to_pylist()]
    return {(row["series_key"], row["attempt"]): row for row in rows}


def _earlier(row: Mapping[str, Any]) -> Earlier:
    return Earlier(
        labels_uri=row["labels_uri"],
        naming_anchor=row["naming_anchor"],
        lesions=tuple({name: lesion[name] for name in OF_LESION} for lesion in row["lesions"] or ()),
        candidates=None if row["candidates"] is None else tuple(row["candidates"]),
    )
