"""Recipes as people name them: by their first digits."""

from __future__ import annotations

import duckdb

from pipeline.errors import RequestError


def recipe_named(connection: duckdb.DuckDBPyConnection, name: str) -> str:
    """The recipe with results that has this id, or whose id begins so.

    Raises:
        RequestError: none or several do; it names those that there are.
    """
    known = [row[0] for row in connection.execute("SELECT DISTINCT recipe_id FROM scans ORDER BY 1").fetchall()]
    found = [recipe_id for recipe_id in known if recipe_id.startswith(name)]
    if len(found) != 1:
        problem = f"{len(found)} recipes begin with {name!r}" if found else f"no recipe {name!r} has results here"
        raise RequestError(f"{problem}; those that have: {', '.join(known) or 'none'}")
    return str(found[0])
