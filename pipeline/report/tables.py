"""Tables of the page, and how figures are written in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Link(NamedTuple):
    """A cell that leads to another place of the page."""

    text: str
    href: str
    """`#` and an anchor."""


class Said(NamedTuple):
    """A cell that says more than the number by which it is sorted, such as an estimate with its interval."""

    text: str
    key: float | None


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
    ids: Sequence[str] = ()
    """Anchor of each row; none of none."""

    def numeric(self) -> list[bool]:
        """Whether each column holds numbers alone, which are set to the right."""
        columns = ([row[i] for row in self.rows if row[i] is not None] for i in range(len(self.columns)))
        return [bool(c) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in c) for c in columns]


def shown(value: Any) -> str:
    """A value as people read it: three significant figures, lists joined, nothing for what is missing."""
    if value is None:
        return ""
    if isinstance(value, Link | Said):
        return value.text
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


def sort_key(value: Any) -> str | None:
    """What a column is sorted by in the browser where it is not the text that is shown: numbers as they are."""
    value = value.key if isinstance(value, Said) else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    key = repr(value)
    return None if key == shown(value) else key


def interval(row: dict[str, Any]) -> Said:
    """`0.81 (0.74 to 0.87)`, or the reason why there is none."""
    if row["value"] is None:
        return Said(str(row["note"] or "not estimable"), None)
    text = _three(row["value"])
    if row["low"] is None or row["high"] is None:
        return Said(text, row["value"])
    return Said(f"{text} ({_three(row['low'])} to {_three(row['high'])})", row["value"])


def _three(value: float) -> str:
    """Three decimals of what is near 1; none of volumes."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def median_range(values: Sequence[float]) -> str:
    """Median and quartiles, as acquisition tables have them."""
    if not values:
        return ""
    middle, first, third = (shown(float(value)) for value in np.quantile(values, (0.5, 0.25, 0.75)))
    return middle if first == third else f"{middle} [{first}, {third}]"
