"""What may be asked: one statement that reads the views.

DuckDB itself is locked against files, extensions and settings before a question reaches it. This refuses, with a clear
sentence, what would get past that lock: DuckDB 2.0 lets a SELECT insert in its WITH clause and start a log file by a
table function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import duckdb

from pipeline.errors import QueryError
from schemas.views import VIEWS

TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree", "histogram",
     "histogram_values", "summary", "duckdb_functions", "duckdb_keywords"}
)  # fmt: skip
"""Functions that may stand where a table stands; none of them reads a file or changes a setting."""

_READS = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_EXPLAIN = re.compile(r"\s*explain\b(\s+analyze\b)?(\s*\(\s*(analyze|format)\b[^)]*\))?", re.IGNORECASE)
_COMMENT = re.compile(r"\s*(--[^\n]*\n|/\*.*?\*/)", re.DOTALL)
_CHANGES = {"setval", "nextval", "write_log", "setseed"}


def check(sql: str) -> str:
    """The statement as it will be run.

    Raises:
        QueryError: it is not one statement that only reads.
    """
    statement = _only_one(sql)
    for node in _nodes(parsed(statement)):
        _refuse_writing(node)
        _refuse_function(node)
    return statement


def _only_one(sql: str) -> str:
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(one_line(error)) from None
    if not statements:
        raise QueryError("there is no question: give one SELECT, such as SELECT * FROM scans")
    if len(statements) > 1:
        raise QueryError(f"one statement at a time, got {len(statements)}: leave out what does not belong to it")
    kind = statements[0].type.name
    if kind == "MULTI":
        raise QueryError("PIVOT needs its values here: write PIVOT ... ON column IN ('a', 'b') USING ...")
    if kind not in {"SELECT", "EXPLAIN"}:
        raise QueryError(
            f"{kind} is not allowed: a question is one SELECT (or WITH, FROM, VALUES, PIVOT, DESCRIBE, SUMMARIZE, "
            "EXPLAIN); nothing can be written, loaded or set"
        )
    return statements[0].query


def _without_explain(statement: str) -> str:
    while comment := _COMMENT.match(statement):
        statement = statement[comment.end() :]
    return _EXPLAIN.sub("", statement, count=1) if _EXPLAIN.match(statement) else statement


def parsed(statement: str) -> dict[str, Any]:
    """The statement, or what it explains, as DuckDB's parser has it.

    Raises:
        QueryError: it does more than read.
    """
    with duckdb.connect(":memory:") as connection:
        answer = connection.execute("SELECT json_serialize_sql($1)", [_without_explain(statement)]).fetchall()
    tree: dict[str, Any] = json.loads(answer[0][0])
    if tree["error"]:
        raise QueryError("only a question that reads can be asked or explained: SELECT, WITH, FROM, VALUES, PIVOT")
    return tree


def tables_read(statement: str) -> set[str] | None:
    """The names that stand where tables stand, in lower case; None for SHOW and DESCRIBE, which look at all."""
    nodes = list(_nodes(parsed(statement)))
    if any(node.get("type") == "SHOW_REF" for node in nodes):
        return None
    named = {str(node["table_name"]).lower() for node in nodes if node.get("type") == "BASE_TABLE"}
    maps = (node["cte_map"]["map"] for node in nodes if "cte_map" in node)
    local = {str(entry["key"]).lower() for entries in maps for entry in entries}
    return named - (local - set(VIEWS))  # WITH scans AS (FROM scans ...) reads the view


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in the parsed statement, whatever holds it."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _refuse_writing(node: dict[str, Any]) -> None:
    kind = node.get("type")
    if isinstance(kind, str) and kind.endswith("_NODE") and "modifiers" in node and kind not in _READS:
        raise QueryError(f"{kind.split('_')[0]} inside a question is not allowed: nothing can be written")


def _refuse_function(node: dict[str, Any]) -> None:
    name = str(node.get("function_name", "")).lower()
    if name in _CHANGES:
        raise QueryError(f"{name}() is not allowed: a question changes nothing")
    called = node.get("function")
    if node.get("type") == "TABLE_FUNCTION" and isinstance(called, dict):
        name = str(called.get("function_name", "")).lower()
        if name not in TABLE_FUNCTIONS:
            raise QueryError(
                f"{name}() is not allowed in FROM: a question reads the views only; "
                f"besides them {', '.join(sorted(TABLE_FUNCTIONS))} may stand there"
            )


def one_line(error: Exception) -> str:
    """DuckDB's message without the lines that repeat the statement."""
    text = str(error).split("\nLINE ")[0]
    return " ".join(text.split())
