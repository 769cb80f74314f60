"""Which series count: the rules of the cohort file, in order; what a rule leaves out carries its name.

A rule sees a series as its row in the catalog as far as headers tell: `{"kvp": 120.0, "convolution_kernel": ["B30f"]}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.series import SeriesEntry
from schemas.catalog import CATALOG
from schemas.config import Select

DEFAULT_PREFERENCE = ("image_type=ORIGINAL", "computed_spacing_mm", "-n_voxels")
"""Which series stands for its study and modality where no rule says: an original, thin, large one."""

_EXTRA = {"n_voxels", "orientation"}
_PLANES = ("sagittal", "coronal", "axial")


def select(series: Sequence[SeriesEntry], rules: Sequence[Select]) -> list[SeriesEntry]:
    """The same series, each with `excluded_by` and `preference` set.

    Raises:
        ConfigError: a rule names a column that no series can have, or a regular expression that is none.
    """
    for rule in rules:
        _check(rule)
    preferred = [rule.prefer for rule in rules if rule.prefer]
    order = [*(preferred[-1] if preferred else ()), *DEFAULT_PREFERENCE]
    chosen = [replace(entry, preference=_preference(_row(entry), order)) for entry in series]
    for rule in rules:
        chosen = _apply(rule, chosen)
    return chosen


def orientation(direction: Sequence[float] | None) -> str | None:
    """axial, sagittal or coronal: the plane that slices lie nearest to; None where the direction is not known."""
    if direction is None:
        return None
    normal = np.abs(np.reshape(direction, (3, 3))[:, 2])
    return _PLANES[int(np.argmax(normal))]


def _apply(rule: Select, series: list[SeriesEntry]) -> list[SeriesEntry]:
    kept = [entry if entry.excluded_by or _passes(rule, _row(entry)) else _leave_out(entry, rule) for entry in series]
    if not rule.prefer:
        return kept
    best: dict[tuple[str, str | None], SeriesEntry] = {}
    for entry in kept:
        group = (entry.study_key, entry.modality)
        if entry.excluded_by is None and (group not in best or _rank(entry) < _rank(best[group])):
            best[group] = entry
    return [
        entry if entry.excluded_by or best[entry.study_key, entry.modality] is entry else _leave_out(entry, rule)
        for entry in kept
    ]


def _leave_out(entry: SeriesEntry, rule: Select) -> SeriesEntry:
    return replace(entry, excluded_by=rule.name)


def _rank(entry: SeriesEntry) -> tuple[bool, tuple[float, ...], str]:
    return entry.problem is not None, entry.preference, entry.series_key


def _row(entry: SeriesEntry) -> Mapping[str, Any]:
    return {
        **entry.columns,
        "modality": entry.modality,
        "site": entry.site,
        "part": entry.part,
        "part_reason": entry.part_reason,
        "n_voxels": entry.n_voxels,
        "source_bytes": entry.source_bytes,
        "orientation": orientation(entry.columns.get("direction")),
    }


def _passes(rule: Select, row: Mapping[str, Any]) -> bool:
    return (
        (rule.modality is None or row["modality"] in rule.modality)
        and all(_within(row.get(name), *bounds) for name, bounds in rule.ranges.items())
        and all(_found(pattern, row.get(name)) for name, pattern in rule.matches.items())
        and not any(_found(pattern, row.get(name)) for name, pattern in rule.excludes.items())
        and (rule.orientation is None or row["orientation"] == rule.orientation)
    )


def _within(value: Any, low: float | None, high: float | None) -> bool:
    """Whether a number, or every number of a list, lies within; a missing one does not."""
    values = value if isinstance(value, list) else [value]
    if not values or any(not isinstance(v, int | float) for v in values):
        return False
    return all((low is None or v >= low) and (high is None or v <= high) for v in values)


def _found(pattern: str, value: Any) -> bool:
    if value is None:
        return False
    text = "\\".join(str(v) for v in value) if isinstance(value, list) else str(value)
    return re.search(pattern, text, flags=re.IGNORECASE) is not None


def _preference(row: Mapping[str, Any], order: Iterable[str]) -> tuple[float, ...]:
    return tuple(_weight(row, term) for term in order)


def _weight(row: Mapping[str, Any], term: str) -> float:
    """Smaller is preferred: a column, `-column` for the largest first, `column=regex` for those that match first."""
    name, equals, pattern = term.partition("=")
    if equals:
        return 0.0 if _found(pattern, row.get(name)) else 1.0
    value = row.get(name.removeprefix("-"))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("inf")
    return -float(value) if name.startswith("-") else float(value)


def _check(rule: Select) -> None:
    known = set(CATALOG.names) | _EXTRA
    terms = [term.partition("=") for term in rule.prefer or ()]
    names = [*rule.ranges, *rule.matches, *rule.excludes, *(name.removeprefix("-") for name, _, _ in terms)]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"select rule {rule.name!r} asks for the column {name!r}, which the catalog does not have: "
                "see `spinetally sql --describe`"
            )
    patterns = [*rule.matches.values(), *rule.excludes.values(), *(pattern for _, _, pattern in terms)]
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"select rule {rule.name!r}: {pattern!r} is no regular expression: {error}") from None
