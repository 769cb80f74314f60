"""SQL types of Arrow types, and lists of columns in SQL."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

_NAMES: dict[pa.DataType, str] = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}


def sql_type(kind: pa.DataType) -> str:
    """The type as DuckDB writes it: `DOUBLE[]` for a list of doubles.

    Raises:
        TypeError: no column has such a type.
    """
    if kind in _NAMES:
        return _NAMES[kind]
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"MAP({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    if pa.types.is_dictionary(kind):
        return sql_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "VARCHAR"
    raise TypeError(f"no column is declared as {kind}")


def quoted(name: str) -> str:
    """A name of a column or table in SQL, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in SQL."""
    return "'" + text.replace("'", "''") + "'"


def definitions(fields: Iterable[pa.Field]) -> str:
    """Columns and types, as CREATE TABLE takes them."""
    return ", ".join(f"{quoted(f.name)} {sql_type(f.type)}" for f in fields)


def parquet_schema(fields: Iterable[pa.Field]) -> str:
    """The `schema` argument of `read_parquet`: found by name, NULL where a file has no such column."""
    entries = (
        f"{literal(f.name)}: {{'name': {literal(f.name)}, 'type': {literal(sql_type(f.type))}, 'default_value': NULL}}"
        for f in fields
    )
    return f"MAP {{{', '.join(entries)}}}"
