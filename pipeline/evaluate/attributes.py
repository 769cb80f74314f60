"""What cases are divided by: acquisition and patient of each scan, and how far two parts differ in them."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import ConfigError
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


def check_subgroups(connection: duckdb.DuckDBPyConnection, subgroups: Sequence[str]) -> None:
    """See whether every subgroup can be made.

    Raises:
        ConfigError: one is no column of the view `series`; it names those that are near.
    """
    columns = {row[0] for row in connection.execute("SELECT column_name FROM (DESCRIBE series)").fetchall()}
    known = sorted(columns | _EXPRESSIONS.keys())
    for name in subgroups:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise ConfigError(f"evaluation.subgroups: {name!r} is no column of the view `series`{hint}")


def scan_attributes(
    connection: duckdb.DuckDBPyConnection, series: Sequence[str], subgroups: Sequence[str]
) -> dict[str, Texts]:
    """Subgroup to (scans,) strata as text, None where the scan's column holds nothing."""
    shown = {name: _EXPRESSIONS.get(name, f'"{name}"') for name in subgroups}
    rows = _rows(connection, series, {name: f"({expression})::VARCHAR" for name, expression in shown.items()})
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
        for name, estimate in found.items():
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
) -> dict[str, Estimate]:
    ill = [np.where(cohort.positive, "with disease", "without").tolist() for cohort in (one, two)]
    found = {
        "prevalence": _of_shares(*ill),
        "lesions_per_scan": _of_means(one.scans.n_truth, two.scans.n_truth),
        "lesion_diameter_mm": _of_means(one.truths.diameter_mm, two.truths.diameter_mm),
    }
    for name in categories[first].keys() & categories[second].keys():
        a, b = ([str(s) for s in categories[part][name] if s is not None] for part in (first, second))
        found[name] = _of_shares(a, b)
    for name in numbers[first].keys() & numbers[second].keys():
        x, y = (values[np.isfinite(values)] for values in (numbers[first][name], numbers[second][name]))
        found[name] = _of_means(x, y)
    return dict(sorted(found.items()))


def _of_means(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> Estimate:
    value = standardised_difference(first, second)
    why = "fewer than two cases" if min(first.size, second.size) < 2 else "no variance in either part"
    return _told(value, why, *(_mean(values) for values in (first, second)))


def _mean(values: npt.NDArray[np.float64]) -> str:
    if not values.size:
        return ""
    return f"{values.mean():.4g}" + (f" (SD {values.std(ddof=1):.3g})" if values.size > 1 else "")


def _of_shares(first: list[str], second: list[str]) -> Estimate:
    value = standardised_difference_of_shares(first, second)
    why = "nothing in common" if first and second else "no case"
    return _told(value, why, *(_shares(values) for values in (first, second)))


def _shares(values: list[str]) -> str:
    common = Counter(values).most_common()
    said = ", ".join(f"{name} {n / len(values):.0%}" for name, n in common[:3])
    return said + (f", {len(common) - 3} others" if len(common) > 3 else "")


def _told(value: float | None, why: str, first: str, second: str) -> Estimate:
    """The difference, with what the two parts hold."""
    held = f"{first or 'no case'}; then {second or 'no case'}"
    return Estimate(value, note=held) if value is not None else not_estimable(f"{why}: {held}")
