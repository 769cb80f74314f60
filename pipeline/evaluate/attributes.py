"""What cases are divided by: acquisition and patient of each scan, and how far two parts differ in them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from pipeline.evaluate.cohort import Cohort, Texts
from pipeline.evaluate.figures import Figure
from pipeline.evaluate.statistics.differences import standardised_difference, standardised_difference_of_shares
from pipeline.evaluate.statistics.estimate import Estimate, not_estimable

_EXPRESSIONS = {
    "slice_spacing": """CASE WHEN spacing_mm[1] <= 1.5 THEN '<=1.5 mm' WHEN spacing_mm[1] <= 3 THEN '1.5-3 mm'
        WHEN spacing_mm[1] <= 5 THEN '3-5 mm' WHEN spacing_mm[1] > 5 THEN '>5 mm' END""",
    "contrast": "CASE WHEN modality IN ('CT', 'MR') THEN if(contrast_bolus_agent IS NULL, 'not stated', 'given') END",
    "age_band": """CASE WHEN patient_age < 40 THEN '<40' WHEN patient_age < 60 THEN '40-59'
        WHEN patient_age < 75 THEN '60-74' WHEN patient_age >= 75 THEN '>=75' END""",
    "convolution_kernel": "array_to_string(convolution_kernel, '/')",
}
"""Subgroups that are made of a column."""

_NUMBERS = ("patient_age", "slice_spacing_mm", "kvp", "exposure")
"""Columns whose means are compared between parts."""


def scan_attributes(
    connection: duckdb.DuckDBPyConnection, series: Sequence[str], subgroups: Sequence[str]
) -> dict[str, Texts]:
    """Subgroup to (scans,) strata; a subgroup that the store has no column for is passed over."""
    known = {row[0] for row in connection.execute("SELECT column_name FROM (DESCRIBE series)").fetchall()}
    shown = {name: _EXPRESSIONS.get(name, f'"{name}"') for name in subgroups if name in _EXPRESSIONS or name in known}
    rows = _rows(connection, series, shown)
    return {name: np.array([rows.get(key, {}).get(name) for key in series], dtype=object) for name in shown}


def scan_numbers(connection: duckdb.DuckDBPyConnection, series: Sequence[str]) -> dict[str, np.ndarray]:
    """Column to (scans,) numbers, NaN where it is missing."""
    shown = {"slice_spacing_mm": "spacing_mm[1]"} | {
        name: f'"{name}"' for name in _NUMBERS if name != "slice_spacing_mm"
    }
    rows = _rows(connection, series, shown)
    return {name: np.array([rows.get(key, {}).get(name) for key in series], dtype=np.float64) for name in shown}


def _rows(
    connection: duckdb.DuckDBPyConnection, series: Sequence[str], shown: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    connection.register("wanted_series", pa.table({"series_key": pa.array(list(series), pa.string())}))
    columns = ", ".join(f'({expression}) AS "{name}"' for name, expression in shown.items())
    sql = f"SELECT series_key{', ' if columns else ''}{columns} FROM series JOIN wanted_series USING (series_key)"  # noqa: S608
    found = connection.sql(sql).to_arrow_table()
    connection.unregister("wanted_series")
    return {row["series_key"]: row for row in found.to_pylist()}


def difference_figures(
    cohorts: Mapping[str, Cohort],
    categories: Mapping[str, Mapping[str, Texts]],
    numbers: Mapping[str, Mapping[str, np.ndarray]],
) -> list[Figure]:
    """Standardised differences of case mix and acquisition between every two parts.

    Args:
        cohorts: part to its scans.
        categories: part to subgroup to (scans,) strata.
        numbers: part to column to (scans,) numbers.
    """
    figures: list[Figure] = []
    for first, second in itertools.combinations(cohorts, 2):
        between = f"{first} to {second}"
        found = _differences(cohorts[first], cohorts[second], categories, numbers, first, second)
        for name, value in found.items():
            estimate = not_estimable("nothing in common, or too few cases") if value is None else Estimate(value)
            figure = Figure("scan", "standardised_difference", estimate, split=between, subgroup=name)
            figures.append(replace(figure, n_patients=cohorts[first].patients.size + cohorts[second].patients.size))
    return figures


def _differences(
    one: Cohort,
    two: Cohort,
    categories: Mapping[str, Mapping[str, Texts]],
    numbers: Mapping[str, Mapping[str, np.ndarray]],
    first: str,
    second: str,
) -> dict[str, float | None]:
    found: dict[str, float | None] = {
        "prevalence": standardised_difference_of_shares(one.positive.tolist(), two.positive.tolist()),
        "lesions_per_scan": standardised_difference(one.scans.n_truth, two.scans.n_truth),
        "lesion_diameter_mm": standardised_difference(one.truths.diameter_mm, two.truths.diameter_mm),
    }
    for name in categories[first].keys() & categories[second].keys():
        a, b = ([str(s) for s in categories[part][name] if s is not None] for part in (first, second))
        found[name] = standardised_difference_of_shares(a, b)
    for name in numbers[first].keys() & numbers[second].keys():
        x, y = (values[np.isfinite(values)] for values in (numbers[first][name], numbers[second][name]))
        found[name] = standardised_difference(x, y)
    return dict(sorted(found.items()))
