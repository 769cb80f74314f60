"""Tables of an evaluation: parts of a cohort side by side, subgroups, rules, and what differs between parts."""

from __future__ import annotations

from typing import Any

from pipeline.report.tables import Said, Table, interval
from schemas.evaluation import SPLITS

Rows = list[dict[str, Any]]


def evaluation_tables(metrics: Rows) -> list[Table]:
    """Main figures by part; by size, type, level, site and scanner; by rule; parts compared; recipes' readers."""
    metrics = _with_intervals_where_there_are(metrics)
    main = [m for m in metrics if m["subgroup"] == "all" and not m["metric"].startswith("drop_")]
    divided = [
        m for m in metrics if m["subgroup"] not in {"all", "rule", "readers"} and "difference" not in m["metric"]
    ]
    rules = [m for m in metrics if m["subgroup"] == "rule"]
    mix = [m for m in metrics if m["metric"] == "standardised_difference"]
    readers = [m for m in metrics if m["subgroup"] == "readers"]
    many = "Many subgroups: of twenty that do not differ, one will seem to at the 5 % level."
    common = "Case mix and acquisition; from 0.1 a difference is commonly called notable (Austin 2009)."
    found = [
        _side_by_side(main),
        _figures("By subgroup", divided, "split subgroup stratum unit metric rule estimate interval n_patients", many),
        _figures("By rule", rules, "split rule metric estimate", "How results change with what counts as a hit."),
        _figures("Parts compared", mix, "split subgroup value note", common),
        _figures("Between readers", readers, "stratum metric estimate interval n_scans note", "Of the same scans."),
    ]
    return [table for table in found if table.rows]


def comparison_tables(comparisons: Rows) -> list[Table]:
    """A recipe against others, scan by scan; none without `evaluate --against`."""
    rows = [m | {"metric": m["metric"].removeprefix("difference_"), "recipe": m["stratum"]} for m in comparisons]
    note = "This recipe less the other, on the scans that both have (`spinetally evaluate --against`)."
    columns = "recipe split unit metric estimate interval n_patients note"
    table = _figures("Against other recipes", rows, columns, note)
    return [table] if rows else []


def _side_by_side(metrics: Rows) -> Table:
    """A row per figure and kind of interval, a column per part; a value without interval stands in the first row."""
    parts = [split for split in (*SPLITS, "all") if any(m["split"] == split for m in metrics)]
    patients = {split: max(m["n_patients"] for m in metrics if m["split"] == split) for split in parts}
    rows: dict[tuple[str, str, str | None], dict[str, dict[str, Any]]] = {}
    for m in sorted(metrics, key=lambda m: m["interval"] is None):
        of_figure = [key for key in rows if key[:2] == (m["unit"], m["metric"])]
        free = [key for key in of_figure if m["interval"] is None and m["split"] not in rows[key]]
        key = free[0] if free else (m["unit"], m["metric"], m["interval"])
        rows.setdefault(key, {})[m["split"]] = m
    order = list(dict.fromkeys((m["unit"], m["metric"]) for m in metrics))
    body = [
        (key[0], key[1], key[2] or "", *(_counted(rows[key].get(split)) for split in parts), _notes(rows[key]))
        for key in sorted(rows, key=lambda key: order.index(key[:2]))
    ]
    heads = [f"{split}, {patients[split]} patients" for split in parts]
    note = "Parts of a cohort stand side by side and are never put together. Estimates with their 95 % intervals."
    return Table("Figures", ("unit", "metric", "interval", *heads, "remark"), body, note)


def _counted(metric: dict[str, Any] | None) -> Said | None:
    """`0.81 (0.57 to 0.93), 13 of 16`."""
    if metric is None:
        return None
    said, top, bottom = interval(metric), metric["numerator"], metric["denominator"]
    if metric["value"] is None or top is None or bottom is None or not float(top).is_integer():
        return said
    return Said(f"{said.text}, {top:,.0f} of {bottom:,.0f}", said.key)


def _notes(by_part: dict[str, dict[str, Any]]) -> str:
    """Why there is no interval, of which part; what has no value says so in its own cell."""
    notes: dict[str, list[str]] = {}
    for split, metric in by_part.items():
        if metric["note"] and metric["value"] is not None:
            notes.setdefault(metric["note"], []).append(split)
    if len(notes) == 1 and len(next(iter(notes.values()))) == len(by_part):
        return next(iter(notes))
    return "; ".join(f"{', '.join(splits)}: {note}" for note, splits in notes.items())


def _with_intervals_where_there_are(metrics: Rows) -> Rows:
    """Without those that have no interval where the same figure stands with another kind of interval."""
    names = ("split", "subgroup", "stratum", "unit", "metric", "rule")
    known = {tuple(m[name] for name in names) for m in metrics if m["low"] is not None}
    shown: Rows = []
    for metric in metrics:
        key = tuple(metric[name] for name in names)
        if metric["low"] is not None or key not in known:
            shown.append(metric)
            known.add(key)
    return shown


_NAMES = {"split": "part", "estimate": "estimate (95 % interval)", "n_patients": "patients", "subgroup": "divided by"}


def _figures(title: str, metrics: Rows, columns: str, note: str) -> Table:
    names = columns.split()
    rows = [tuple(interval(m) if name == "estimate" else m[name] for name in names) for m in metrics]
    return Table(title, tuple(_NAMES.get(name, name) for name in names), rows, note)
