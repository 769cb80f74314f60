"""How a stored column is declared: its Arrow type, its unit and its meaning, in the field's own metadata."""

from __future__ import annotations

import pyarrow as pa

DOUBLES = pa.list_(pa.float64())
INTEGERS = pa.list_(pa.int32())
STRINGS = pa.list_(pa.string())
TIME = pa.timestamp("us", tz="UTC")


def column(name: str, kind: pa.DataType, meaning: str, unit: str | None = None, *, required: bool = False) -> pa.Field:
    """A field whose metadata holds `meaning` and, where it has one, `unit`; NULL is allowed unless `required`."""
    metadata = {"meaning": meaning} | ({"unit": unit} if unit else {})
    return pa.field(name, kind, nullable=not required, metadata=metadata)


def meaning(field: pa.Field) -> str:
    """What the column means."""
    return _metadata(field, b"meaning") or ""


def unit(field: pa.Field) -> str | None:
    """The column's unit; None where it has none."""
    return _metadata(field, b"unit")


def _metadata(field: pa.Field, key: bytes) -> str | None:
    value = (field.metadata or {}).get(key)
    return value.decode() if value else None


def table(rows: list[dict[str, object]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of exactly this schema; what a row lacks is NULL.

    Raises:
        ValueError: a row has a key that the schema does not know, or lacks a required one.
    """
    known = set(schema.names)
    for row in rows:
        if unknown := set(row) - known:
            raise ValueError(f"columns {sorted(unknown)} are not in the schema; known are {sorted(known)}")
        if lacking := [f.name for f in schema if not f.nullable and row.get(f.name) is None]:
            raise ValueError(f"columns {lacking} are required and missing")
    return pa.Table.from_pylist(rows, schema=schema)
