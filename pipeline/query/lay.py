"""Tables and views laid into a connection: all of them, or those that one question needs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import duckdb
import pyarrow as pa

from pipeline.query.compacted import sources
from pipeline.query.documents import clinical_table, levels_table, reasons_table, recipes_table
from pipeline.query.files import StoreFiles
from pipeline.query.statement import tables_read
from pipeline.query.tables import table_statements
from pipeline.query.views import view_statements
from pipeline.store import Store
from schemas.views import VIEWS

_DOCUMENTS: dict[str, Callable[[Store], pa.Table]] = {
    "store.reasons": reasons_table,
    "store.recipes": recipes_table,
    "store.clinical": clinical_table,
    "store.levels": levels_table,
}
"""Small tables that are made in memory."""


def lay(
    connection: duckdb.DuckDBPyConnection, files: StoreFiles, merged: str | None, question: str | None = None
) -> None:
    """Make the views and what they stand on; with a `question`, only what it needs."""
    verdicts = any(path.startswith("truth/verdicts/") for path in files.sizes)
    statements = table_statements(files, merged) | view_statements(merged=merged is not None, verdicts=verdicts)
    wanted = _needed(dict.fromkeys(_DOCUMENTS, "") | statements, _asked(question))
    if "store.catalog" in wanted:
        files.fetch_ahead([path for path in sources(files.sizes) if "store.results" in wanted or path[0] == "c"])
    connection.execute("CREATE SCHEMA store")
    for name in wanted:
        if name in statements:
            connection.execute(statements[name])
        else:
            _lay_rows(connection, name, _DOCUMENTS[name](files.store))


def _asked(question: str | None) -> set[str] | None:
    """The views that a question names; None where it has to be all, as for SHOW TABLES or a misspelt name."""
    named = tables_read(question) if question is not None else None
    return named if named is not None and named <= set(VIEWS) else None


def _needed(statements: Mapping[str, str], asked: Iterable[str] | None) -> list[str]:
    """The names of those that are asked for and of all that they read, in the order of `statements`."""
    if asked is None:
        return list(statements)
    words = {name: set(re.findall(r"\b(?:store\.)?[a-z_]\w*", sql)) for name, sql in statements.items()}
    pending, needed = list(asked), set()
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        needed.add(name)
        pending += [other for other in statements if other != name and other in words[name]]
    return [name for name in statements if name in needed]


def _lay_rows(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("incoming", rows)
    connection.execute(f"CREATE TABLE {name} AS FROM incoming")
    connection.unregister("incoming")
