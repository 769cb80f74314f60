"""Lists of records go into list columns and come back as they were."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from schemas.columns import column, meaning, unit
from schemas.nested import gather, records_of, spread, spread_schema
from schemas.results import LESION, RESULTS

RECORD = pa.struct(
    [
        column("number", pa.int32(), "A number.", required=True),
        column("size_mm", pa.float64(), "A size.", "mm"),
        column("point", pa.list_(pa.float64()), "A point.", "mm"),
        column("features", pa.map_(pa.string(), pa.float64()), "Features."),
    ]
)
SCHEMA = pa.schema([column("name", pa.string(), "A name."), column("things", pa.list_(RECORD), "Things.")])

records = st.fixed_dictionaries(
    {
        "number": st.integers(0, 1000),
        "size_mm": st.none() | st.floats(allow_nan=False),
        "point": st.none() | st.lists(st.floats(allow_nan=False), max_size=3),
        "features": st.none() | st.lists(st.tuples(st.text(max_size=3), st.floats(allow_nan=False)), max_size=2),
    }
)
rows = st.lists(
    st.fixed_dictionaries(
        {"name": st.none() | st.text(max_size=3), "things": st.none() | st.lists(records, max_size=4)}
    ),
    max_size=6,
)


@given(rows)
def test_what_is_spread_comes_back(rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    assert gather(spread(table), SCHEMA).equals(table)


@given(rows, st.integers(0, 6), st.integers(0, 6))
def test_a_slice_of_a_table_is_spread_by_its_own_rows(rows: list[dict[str, object]], start: int, length: int) -> None:
    part = pa.Table.from_pylist(rows, schema=SCHEMA).slice(start, length)
    assert gather(spread(part), SCHEMA).to_pylist() == part.to_pylist()


@given(rows)
def test_it_survives_a_file(rows: list[dict[str, object]]) -> None:
    buffer = io.BytesIO()
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    pq.write_table(spread(table), buffer)
    assert gather(pq.read_table(buffer), SCHEMA).to_pylist() == table.to_pylist()


def test_columns_of_an_older_file_are_null() -> None:
    table = pa.Table.from_pylist([{"name": "a", "things": [{"number": 1, "size_mm": 2.0}]}, {"name": "b"}], SCHEMA)
    older = spread(table).drop_columns(["things__size_mm", "name"])
    assert gather(older, SCHEMA).to_pylist() == [
        {"name": None, "things": [{"number": 1, "size_mm": None, "point": None, "features": None}]},
        {"name": None, "things": None},
    ]
    assert gather(table.select(["name"]), SCHEMA)["things"].null_count == 2


def test_units_and_meanings_stay() -> None:
    schema = spread_schema(RESULTS)
    for field in LESION:
        stored = schema.field(f"lesions__{field.name}")
        assert (meaning(stored), unit(stored)) == (meaning(field), unit(field))
    assert list(records_of(RESULTS)) == ["lesions", "candidates", "vertebrae"]
    assert not records_of(schema)
