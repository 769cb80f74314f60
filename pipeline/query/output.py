"""An answer as text or bytes: a table to look at, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_SHOWN_CHARACTERS = 48
_MILLION, _MANY_DIGITS = 1e6, 1e15
"""Between these a number is shown whole: the volume of a spine is 1023400 mm3, not 1.0234e+06."""


def as_json(answer: pa.Table) -> bytes:
    """An array of objects; lists are arrays, maps are objects, dates are ISO 8601, NaN and infinity are null."""
    return (json.dumps(_records(answer), ensure_ascii=False, allow_nan=False) + "\n").encode()


def as_csv(answer: pa.Table) -> bytes:
    """RFC 4180 with a head line; NULL is empty, lists and maps are JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.column_names)
    for row in _rows(answer):
        writer.writerow(["" if value is None else _cell(value) for value in row])
    return text.getvalue().encode()


def as_parquet(answer: pa.Table) -> bytes:
    """A Parquet file."""
    data = io.BytesIO()
    pq.write_table(answer, data, compression="zstd")
    return data.getvalue()


def as_text(answer: pa.Table, longest: int = _SHOWN_CHARACTERS) -> bytes:
    """Aligned columns, numbers to the right, and the number of rows; of a text at most `longest` characters."""
    head = answer.column_names
    rows = [[_shown(value, longest) for value in row] for row in _rows(answer)]
    widths = [max(len(name), *(len(row[i]) for row in rows), 0) for i, name in enumerate(head)]
    right = [_is_number(field.type) for field in answer.schema]
    lines = [head, ["-" * width for width in widths], *rows]
    text = "\n".join(
        "  ".join(_aligned(*cell) for cell in zip(line, widths, right, strict=True)).rstrip() for line in lines
    )
    return f"{text}\n({answer.num_rows} row{'s' if answer.num_rows != 1 else ''})\n".encode()


FORMATS: dict[str, Callable[[pa.Table], bytes]] = {
    "table": as_text,
    "csv": as_csv,
    "json": as_json,
    "parquet": as_parquet,
}
"""What `--format` offers."""


def plain_numbers(answer: pa.Table) -> pa.Table:
    """Sums of whole numbers, which DuckDB gives 128 bits, as 64 bits where they fit; other decimals as doubles."""
    for i, field in enumerate(answer.schema):
        if pa.types.is_decimal(field.type):
            answer = answer.set_column(i, field.name, _plain_number(answer.column(i)))
    return answer


def _plain_number(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if column.type.scale == 0:
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            pass
    # not cast(): Arrow multiplies by a power of ten, which makes 0.3 to 0.30000000000000004
    values = (None if value is None else float(value) for value in column.to_pylist())
    return pa.chunked_array([pa.array(values, pa.float64())])


def _records(answer: pa.Table) -> list[dict[str, Any]]:
    names = _distinct(answer.column_names)
    return [dict(zip(names, row, strict=True)) for row in _rows(answer)]


def _rows(answer: pa.Table) -> list[tuple[Any, ...]]:
    columns = [[_plain(value) for value in column.to_pylist(maps_as_pydicts="lossy")] for column in answer.columns]
    return list(zip(*columns, strict=True)) if columns else []


def _distinct(names: list[str]) -> list[str]:
    """Names as they are, a repeated one with its number: two columns must not become one key."""
    seen: dict[str, int] = {}
    distinct = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name}_{seen[name] - 1}")
    return distinct


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.hex() if isinstance(value, bytes) else str(value)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict | bool) else value


def _shown(value: Any, longest: int) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float):
        return f"{value:.0f}" if _MILLION <= abs(value) < _MANY_DIGITS else f"{value:.6g}"
    text = str(_cell(value)).replace("\n", "\\n")
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
