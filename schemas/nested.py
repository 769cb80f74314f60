"""How lists of records lie in a Parquet file: each field as a list of its own, side by side in the scan's row.

A scan's `lesions` are a list of records to whoever makes or reads a row. In the file they are columns `lesions__level`,
`lesions__volume_mm3`, ..., each a list of the same length, NULL where the list of records is NULL. A reader then takes
the fields that a question names and no others: DuckDB 2.0 reads a list of records whole (measured: fifteen times as
long for two of sixty fields), and fails on records whose older files lack a field.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

SEPARATOR = "__"
"""Between the name of the list and the name of its field."""


def records_of(schema: pa.Schema) -> dict[str, pa.StructType]:
    """The columns of a schema that are lists of records, and the type of their record."""
    return {f.name: f.type.value_type for f in schema if _is_records(f.type)}


def spread_schema(schema: pa.Schema) -> pa.Schema:
    """The schema as it lies in a file; meanings and units stay with their fields.

    The lists come first, so that keys and other plain columns lie at the end, beside the footer: of a file on S3 both
    come with one request.
    """
    fields: list[pa.Field] = []
    for outer in _lists_first(schema):
        if not _is_records(outer.type):
            fields.append(outer)
            continue
        fields += [
            pa.field(f"{outer.name}{SEPARATOR}{inner.name}", pa.list_(inner.type), metadata=inner.metadata)
            for inner in outer.type.value_type
        ]
    return pa.schema(fields)


def spread(table: pa.Table) -> pa.Table:
    """A table with lists of records as it lies in a file; nothing is copied but the offsets of sliced tables."""
    columns: list[pa.Array] = []
    for outer in _lists_first(table.schema):
        column = _whole(table[outer.name])
        columns += _lists(column) if _is_records(outer.type) else [column]
    return pa.table(columns, schema=spread_schema(table.schema))


def gather(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The inverse of `spread`: the columns of `schema`, NULL where the file is older and lacks one."""
    return pa.table([_column(table, field) for field in schema], schema=schema)


def _column(table: pa.Table, field: pa.Field) -> pa.Array:
    if not _is_records(field.type):
        return _whole(table[field.name]).cast(field.type) if field.name in table.column_names else _none(table, field)
    inner = list(field.type.value_type)
    names = [f"{field.name}{SEPARATOR}{f.name}" for f in inner]
    known = [_whole(table[name]) for name in names if name in table.column_names]
    if not known:
        return _none(table, field)
    frame = known[0]
    values = [
        _whole(table[name]).flatten().cast(f.type)
        if name in table.column_names
        else pa.nulls(len(frame.flatten()), f.type)
        for name, f in zip(names, inner, strict=True)
    ]
    records = pa.StructArray.from_arrays(values, fields=inner)
    return pa.ListArray.from_arrays(_offsets(frame), records, mask=frame.is_null()).cast(field.type)


def _lists_first(schema: pa.Schema) -> list[pa.Field]:
    return sorted(schema, key=lambda field: not _is_records(field.type))


def _lists(column: pa.ListArray) -> list[pa.ListArray]:
    """The fields of a list of records as lists with the same offsets and the same NULLs."""
    offsets, records, mask = _offsets(column), column.flatten(), column.is_null()
    return [pa.ListArray.from_arrays(offsets, values, mask=mask) for values in records.flatten()]


def _offsets(column: pa.ListArray) -> pa.Array:
    """Offsets that start at 0 and give a NULL list no values, as `flatten` leaves them out."""
    lengths = pc.fill_null(pc.list_value_length(column), 0)
    return pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths).cast(pa.int32())])


def _whole(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _none(table: pa.Table, field: pa.Field) -> pa.Array:
    return pa.nulls(table.num_rows, field.type)


def _is_records(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) and pa.types.is_struct(kind.value_type))
