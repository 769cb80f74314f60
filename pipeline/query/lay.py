"""Tables and views laid into a connection: all of them, or those that one question needs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping

import duckdb
import pyarrow as pa

from pipeline.query.compacted import Parts, sources
from pipeline.query.documents import clinical_table, reasons_table, recipes_table
from pipeline.query.files import StoreFiles
from pipeline.query.tables import table_statements
from pipeline.query.views import view_statements
from pipeline.store import Store
from schemas.views import VIEWS

_DOCUMENTS: dict[str, Callable[[Store], pa.Table]] = {
    "store.reasons": reasons_table,
    "store.recipes": recipes_table,
    "store.clinical": clinical_table,
}
"""Small tables that are made in memory."""


def lay(
    connection: duckdb.DuckDBPyConnection, files: StoreFiles, merged: Parts | None, question: str | None = None
) -> None:
    """Make the views and what they stand on; with a `question`, only what it needs."""
    verdicts = any(path.startswith("truth/verdicts/") for path in files.sizes)
    statements = table_statements(files, merged) | view_statements(merged=merged is not None, verdicts=verdicts)
    wanted = _needed(dict.fromkeys(_DOCUMENTS, "") | statements, _asked(connection, question))
    if "store.catalog" in wanted:
        files.fetch_ahead([path for path in sources(files.sizes) if "store.results" in wanted or path[0] == "c"])
    connection.execute("CREATE SCHEMA store")
    for name in wanted:
        if name in statements:
            connection.execute(statements[name])
        else:
            _lay_rows(connection, name, _DOCUMENTS[name](files.store))


def _asked(connection: duckdb.DuckDBPyConnection, question: str | None) -> set[str] | None:
    """The views that a question names; None where it has to be all, as for SHOW TABLES or a misspelt name."""
    if question is None:
        return None
    try:
        ((text,),) = connection.execute("SELECT json_serialize_sql($1)", [question]).fetchall()
    except duckdb.Error:
        return None
    named = {name.lower() for name in re.findall(r'"table_name":"([^"]*)"', text)}
    local = {json.loads(f'"{name}"').lower() for name in re.findall(r'"key":"((?:[^"\\]|\\.)*)"', text)}
    return named & set(VIEWS) if named and named <= set(VIEWS) | local else None


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
