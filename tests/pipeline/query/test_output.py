"""An answer as text and bytes."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.query.output import FORMATS, as_csv, as_json, as_parquet, as_text, plain_numbers

ANSWER = pa.table(
    {
        "name": ['a, "b"', None],
        "n": pa.array([1, None], pa.int32()),
        "x": [float("nan"), float("inf")],
        "point": [[1.0, float("nan")], None],
        "features": pa.array([[("k", 1.0)], None], pa.map_(pa.string(), pa.float64())),
        "day": [date(2020, 1, 2), None],
        "at": [datetime(2020, 1, 2, 3, tzinfo=UTC), None],
        "yes": [True, None],
    }
)


def test_json_is_an_array_of_objects() -> None:
    assert json.loads(as_json(ANSWER)) == [
        {
            "name": 'a, "b"',
            "n": 1,
            "x": None,
            "point": [1.0, None],
            "features": {"k": 1.0},
            "day": "2020-01-02",
            "at": "2020-01-02T03:00:00+00:00",
            "yes": True,
        },
        dict.fromkeys(ANSWER.column_names),
    ]
    assert json.loads(as_json(ANSWER.slice(0, 0))) == []


def test_csv_can_be_read_again() -> None:
    head, first, second = csv.reader(io.StringIO(as_csv(ANSWER).decode()))
    assert head == ANSWER.column_names
    assert first == ['a, "b"', "1", "", "[1.0, null]", '{"k": 1.0}', "2020-01-02", "2020-01-02T03:00:00+00:00", "true"]
    assert second == [""] * 8


def test_parquet_keeps_everything() -> None:
    assert pq.read_table(io.BytesIO(as_parquet(ANSWER))).schema == ANSWER.schema


def test_text_is_aligned_and_counts_rows() -> None:
    table = pa.table({"level": ["L1", None], "n": [5, 12], "long": ["x" * 80, "y"]})
    lines = as_text(table).decode().splitlines()
    assert lines[0].split() == ["level", "n", "long"]
    assert lines[2].startswith("L1      5  xxx")
    assert lines[2].endswith("…")
    assert as_text(table, longest=100).decode().splitlines()[2].endswith("x" * 80)
    assert lines[3].startswith("NULL   12  y")
    assert lines[-1] == "(2 rows)"
    assert as_text(pa.table({"a": pa.array([], pa.int32())})).decode().splitlines() == ["a", "-", "(0 rows)"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1023400.5, "1023400"), (-2.5e6, "-2500000"), (999999.4, "999999"), (1e20, "1e+20"), (1.2345678, "1.23457")],
)
def test_large_numbers_are_shown_whole(value: float, shown: str) -> None:
    assert as_text(pa.table({"x": [value]})).decode().splitlines()[2].strip() == shown


def test_two_columns_of_one_name_stay_two() -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["n", "n"])
    assert json.loads(as_json(table)) == [{"n": 1, "n_1": 2}]


@pytest.mark.parametrize(("value", "kind"), [(7, pa.int64()), (2**100, pa.float64())])
def test_sums_of_plain_numbers_are_numbers(value: int, kind: pa.DataType) -> None:
    answer = plain_numbers(pa.table({"n": pa.array([Decimal(value), None], pa.decimal128(38, 0))}))
    assert answer.schema.field("n").type == kind
    assert answer.to_pylist() == [{"n": value}, {"n": None}]


def test_every_format_takes_every_answer() -> None:
    assert all(FORMATS[name](ANSWER) for name in ("table", "csv", "json", "parquet"))


def test_decimals_are_doubles() -> None:
    answer = plain_numbers(pa.table({"x": pa.array([Decimal("0.30")], pa.decimal128(3, 2))}))
    assert answer.to_pylist() == [{"x": 0.3}]
