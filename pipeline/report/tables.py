"""Tables of the page, and how figures are written in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Table:
    """A table that a reader can sort and filter."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    note: str = ""
    """What it shows and rests on."""
    sql: str = ""
    """The question that gives it, to be copied."""

    def numeric(self) -> list[bool]:
        """Whether each column holds numbers alone, which are set to the right."""
        columns = ([row[i] for row in self.rows if row[i] is not None] for i in range(len(self.columns)))
        return [bool(c) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in c) for c in columns]


def shown(value: Any) -> str:
    """A value as people read it: three significant figures, lists joined, nothing for what is missing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(shown(each) for each in value)
    return str(value)


def signed(value: float) -> str:
    """A difference with its sign, as people write it."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def sort_key(value: Any) -> str:
    """What a column is sorted by in the browser: numbers as they are, else the text."""
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else shown(value)


def interval(row: dict[str, Any]) -> str:
    """`0.81 (0.74 to 0.87)`, or the reason why there is none."""
    if row["value"] is None:
        return str(row["note"] or "not estimable")
    if row["low"] is None or row["high"] is None:
        return f"{row['value']:.3f}"
    return f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"


def median_range(values: Sequence[float]) -> str:
    """Median and quartiles, as acquisition tables have them."""
    if not values:
        return ""
    ordered = sorted(values)

    def quantile(share: float) -> float:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (place - low) * (ordered[high] - ordered[low])

    middle, first, third = quantile(0.5), quantile(0.25), quantile(0.75)
    return f"{middle:.3g}" if first == third else f"{middle:.3g} [{first:.3g}, {third:.3g}]"
