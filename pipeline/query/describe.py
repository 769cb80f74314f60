"""The data dictionary: every column of every view, as declared in `schemas.views`."""

from __future__ import annotations

import pyarrow as pa

from pipeline.query.columns import sql_type
from schemas.columns import meaning, unit
from schemas.views import DICTIONARY, VIEWS


def describe() -> pa.Table:
    """One row per column: `schemas.views.DICTIONARY`. Columns that a cohort adds to `clinical` are not in it."""
    rows = [
        {"view": view, "column": f.name, "type": sql_type(f.type), "unit": unit(f), "meaning": meaning(f)}
        for view, schema in VIEWS.items()
        for f in schema
    ]
    return pa.Table.from_pylist(rows, schema=DICTIONARY)
