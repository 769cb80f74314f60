"""Tables of an evaluation: parts of a cohort side by side, subgroups, rules, and what differs between parts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.evaluate.names import INTERVALS, plain
from pipeline.evaluate.part import stratum_order
from pipeline.report.tables import Said, Table, interval
from schemas.evaluation import SPLITS

Rows = list[dict[str, Any]]


def evaluation_tables(metrics: Rows) -> list[Table]:
    """Main figures; by size, type, level, site and scanner; by rule; parts compared; between readers."""
    rules = _by_rule(metrics)
    metrics = _with_intervals_where_there_are(metrics)
    main = [m for m in metrics if m["subgroup"] == "all" and not m["metric"].startswith("drop_")]
    usual = {m["rule"] for m in main}
    divided = [
        m
        for m in metrics
        if m["subgroup"] not in {"all", "rule", "readers"} and "difference" not in m["metric"] and m["rule"] in usual
    ]
    mix = [m for m in metrics if m["metric"] == "standardised_difference"]
    readers = [m for m in metrics if m["subgroup"] == "readers"]
    rule = ", ".join(sorted(str(name) for name in usual if name))
    beside = (
        f"A candidate hits a true lesion by {rule}, one to one in order of scores. "
        "Parts of a cohort stand side by side and are never put together. Estimates with their 95 % intervals: those "
        "by bootstrap draw patients again; all others take cases as unrelated, and are too narrow where those of a "
        "patient are alike."
    )
    many = "Many subgroups: of twenty that do not differ, one will seem to at the 5 % level."
    common = (
        "Standardised differences of case mix and acquisition, with what each part holds; from 0.1 one is commonly "
        "called notable (Austin 2009)."
    )
    hit = (
        "How results change with what counts as a hit, and with the size of lesions; the rule of this evaluation first."
    )
    found = [
        _side_by_side("Figures", main, "unit metric", beside),
        _side_by_side("By subgroup", _in_order(divided), "subgroup stratum unit metric rule", many, counted=False),
        _side_by_side("By rule", rules, "rule size metric", hit),
        _listed("Parts compared", mix, "split subgroup value note", common),
        _listed("Between readers", readers, "stratum metric estimate interval n_scans note", "Of the same scans."),
    ]
    return [table for table in found if table.rows]


def _in_order(divided: Rows) -> Rows:
    """Subgroups as they come, the strata of each together and in their order, whichever part has them."""
    place = {name: i for i, name in enumerate(dict.fromkeys(m["subgroup"] for m in divided))}
    return sorted(divided, key=lambda m: (place[m["subgroup"]], stratum_order(str(m["stratum"]))))


def _by_rule(metrics: Rows) -> Rows:
    """Figures that are given for several rules, of lesions of all sizes and of each; those of the usual rule first."""
    others = {m["rule"] for m in metrics if m["subgroup"] == "rule"}
    shown = {(m["unit"], m["metric"]) for m in metrics if m["subgroup"] == "rule"}
    found = [
        m | {"size": m["stratum"] or "all"}
        for m in metrics
        if m["subgroup"] in {"all", "rule", "size"} and (m["unit"], m["metric"]) in shown
    ]
    kept = _with_intervals_where_there_are(found)
    return sorted(kept, key=lambda m: (m["rule"] in others, m["rule"])) if others else []


def comparison_tables(comparisons: Rows) -> list[Table]:
    """A recipe against others, scan by scan; none without `evaluate --against`."""
    rows = [m | {"metric": m["metric"].removeprefix("difference_"), "recipe": m["stratum"]} for m in comparisons]
    note = "This recipe less the other, on the scans that both have (`spinetally evaluate --against`)."
    if any(m["stale"] for m in comparisons):
        note += " Older than the evaluation above: run it again."
    table = _listed("Against other recipes", rows, "recipe split unit metric estimate interval n_patients note", note)
    return [table] if rows else []


def site_tables(sites: Rows) -> list[Table]:
    """Each site, the sites of a part pooled, and pooled without each."""
    rows = [site | {"prediction": _prediction(site)} for site in sites]
    note = (
        "Pooled by random effects on the logit scale (Paule-Mandel, Hartung-Knapp), in a part only; `without` pools "
        "the others. A prediction interval says where a new site would lie. Lesions of a patient count as unrelated."
    )
    columns = "split unit metric kind site estimate interval weight i2 tau2 prediction n_patients"
    table = _listed("Sites", rows, columns, note, sql="FROM site_metrics")
    return [table] if rows else []


def _prediction(site: dict[str, Any]) -> str | None:
    low, high = site["prediction_low"], site["prediction_high"]
    return None if low is None or high is None else f"{low:.3f} to {high:.3f}"


def _side_by_side(title: str, metrics: Rows, columns: str, note: str, *, counted: bool = True) -> Table:
    """A row per figure and kind of interval, a column per part; a value without interval stands in the first row."""
    names = columns.split()
    parts = [split for split in (*SPLITS, "all") if any(m["split"] == split for m in metrics)]
    patients = {
        split: Counter(m["n_patients"] for m in metrics if m["split"] == split).most_common(1)[0][0] for split in parts
    }
    figures: dict[tuple[Any, ...], dict[str | None, dict[str, dict[str, Any]]]] = {}
    for m in sorted(metrics, key=lambda m: m["interval"] is None):
        kinds = figures.setdefault(tuple(m[name] for name in names), {})
        free = [kind for kind in kinds if m["interval"] is None and m["split"] not in kinds[kind]]
        kinds.setdefault(free[0] if free else m["interval"], {})[m["split"]] = m
    order = dict.fromkeys(tuple(m[name] for name in names) for m in metrics)
    body = [
        (
            *map(_plain, names, key),
            INTERVALS.get(kind or "", kind or ""),
            *(_counted(by_part.get(split)) for split in parts),
            _remark(by_part),
        )
        for key in order
        for kind, by_part in figures[key].items()
    ]
    heads = [*(_NAMES.get(name, name) for name in names), "interval"]
    heads += [f"{split}, {patients[split]} patients" if counted else split for split in parts]
    if any(row[-1] for row in body):
        return Table(title, (*heads, "remark"), body, note)
    return Table(title, tuple(heads), [row[:-1] for row in body], note)


def _plain(name: str, value: Any) -> Any:
    if name == "interval":
        return INTERVALS.get(value, value)
    return plain(str(value)) if name in {"metric", "subgroup"} else value


def _counted(metric: dict[str, Any] | None) -> Said | None:
    """`0.81 (0.57 to 0.93), 13 of 16`; of a rate `3 in 4`."""
    if metric is None:
        return None
    said, top, bottom = interval(metric), metric["numerator"], metric["denominator"]
    if metric["value"] is None or bottom is None or metric["metric"] == "f1":
        return said
    if top is None:
        return Said(f"{said.text}, n = {bottom:,.0f}", said.key)
    if not float(top).is_integer():
        return said
    word = "in" if "_per_" in metric["metric"] else "of"
    return Said(f"{said.text}, {top:,.0f} {word} {bottom:,.0f}", said.key)


def _remark(by_part: dict[str, dict[str, Any]]) -> str:
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


_NAMES = {
    "split": "part",
    "estimate": "estimate (95 % interval)",
    "n_patients": "patients",
    "n_scans": "scans",
    "subgroup": "by",
    "prediction": "prediction interval",
}


def _listed(title: str, metrics: Rows, columns: str, note: str, *, sql: str = "") -> Table:
    names = columns.split()
    rows = [tuple(interval(m) if name == "estimate" else _plain(name, m[name]) for name in names) for m in metrics]
    return Table(title, tuple(_NAMES.get(name, name) for name in names), rows, note, sql)
