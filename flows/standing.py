"""How a cohort stands, from its store alone: what `spinetally status` says."""

from __future__ import annotations

from typing import Any

from flows.pending import Known, known_of
from flows.prepare import last_crosswalk
from pipeline.query import connect
from pipeline.recipe import resolve_all
from pipeline.store import Store
from schemas.config import CohortConfig

_REASONS = """
SELECT stage, reason_code, any_value(meaning) AS meaning, any_value(what_to_do) AS what_to_do, count(*)::INTEGER AS n
FROM failures WHERE recipe_id IS NULL OR list_contains($1, recipe_id)
GROUP BY stage, reason_code ORDER BY n DESC, reason_code
"""
_LESIONS = "SELECT recipe_id, sum(n_lesions)::BIGINT FROM scans WHERE status = 'ok' GROUP BY recipe_id"


def standing(config: CohortConfig) -> dict[str, Any]:
    """Series and scans by what became of them, and the reasons.

    Raises:
        RequestError: there is no store, or the recipe names an unknown model.
        ServiceError: the store does not answer.
    """
    store = Store.open(config.store, storage_options=config.storage_options)
    recipes = resolve_all(config.recipe, storage_options=config.storage_options)
    ids = {modality: recipe.recipe_id for modality, recipe in recipes.items()}
    connection = connect(store)
    try:
        known = known_of(connection)
        cursor = connection.execute(_REASONS, [list(ids.values())])
        names = [column[0] for column in cursor.description or ()]
        reasons = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        lesions = dict(connection.execute(_LESIONS).fetchall())
    finally:
        connection.close()
    return {
        "cohort": store.cohort,
        "store": store.uri,
        "series": _series(known, _planned(store), ids) | {"vanished": _vanished(known, store)},
        "scans": {
            m: _scans(known, m, i) | {"recipe_id": i, "lesions": int(lesions.get(i) or 0)} for m, i in ids.items()
        },
        "reasons": reasons,
    }


def _planned(store: Store) -> set[str]:
    return {
        key for path in store.list("plan") for key in store.read_table(path, ["series_key"])["series_key"].to_pylist()
    }


def _vanished(known: Known, store: Store) -> int:
    """Series that the source no longer held when it was indexed last."""
    crosswalk = last_crosswalk(store)
    return 0 if crosswalk is None else len(known.series.keys() - set(crosswalk["series_key"].to_pylist()))


def _series(known: Known, planned: set[str], ids: dict[str, str]) -> dict[str, int]:
    statuses = [row.status for row in known.series.values()]
    without = sum(row.status == "ok" and row.modality not in ids for row in known.series.values())
    return {
        "series": len(planned | known.series.keys()),
        **{status: statuses.count(status) for status in ("ok", "quarantined", "excluded")},
        "pending": len(planned - known.series.keys()),
        "no_model": without,
    }


def _scans(known: Known, modality: str, recipe_id: str) -> dict[str, int]:
    keys = [key for key, row in known.series.items() if row.status == "ok" and row.modality == modality]
    found = [known.scans[recipe_id, key][0] for key in keys if (recipe_id, key) in known.scans]
    return {
        "done": found.count("ok"),
        "pending": len(keys) - len(found),
        "quarantined": found.count("quarantined"),
        "failed": found.count("failed"),
    }
