"""Figures of an evaluation: FROC, ROC, calibration, forest of sites."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from pipeline.evaluate.names import plain
from pipeline.report.figures.style import COLOURS, INK, as_svg, drawing
from schemas.evaluation import SPLITS

Rows = list[dict[str, Any]]

RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)


def froc(curves: Rows) -> str | None:
    """Sensitivity over false positives per scan, a line and a band for each part."""
    parts = _parts(curves, "froc")
    if not parts:
        return None
    with drawing() as (figure, axes):
        for colour, (name, points) in zip(COLOURS, parts.items(), strict=False):
            x = [p["x"] for p in points]
            axes.plot(x, [p["y"] for p in points], color=colour, label=name)
            banded = [p for p in points if p["low"] is not None]
            axes.fill_between(
                [p["x"] for p in banded], [p["low"] for p in banded], [p["high"] for p in banded],
                color=colour, alpha=0.2, linewidth=0,
            )  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
        axes.set_xlabel("false positives per scan")
        axes.set_ylabel("lesion sensitivity")
        axes.set_ylim(0, 1.02)
        axes.set_title("FROC")
        if list(parts) != ["all"]:
            axes.legend(loc="lower right")
        return as_svg(figure, "FROC: lesion sensitivity over false positives per scan, with bootstrap bands")


def roc(curves: Rows, unit: str) -> str | None:
    """True over false positive rate of patients or vertebrae."""
    parts = _parts(curves, f"roc_{unit}")
    if not parts:
        return None
    with drawing(3.6, 3.4) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":")
        for colour, (name, points) in zip(COLOURS, parts.items(), strict=False):
            axes.plot([p["x"] for p in points], [p["y"] for p in points], color=colour, label=name)
        axes.set_xlabel("1 - specificity")
        axes.set_ylabel("sensitivity")
        axes.set_title(f"ROC by {unit}")
        axes.set_aspect("equal")
        if list(parts) != ["all"]:
            axes.legend(loc="lower right")
        return as_svg(figure, f"ROC curve by {unit}")


def calibration(curves: Rows) -> str | None:
    """Share of patients with disease over the mean score, by tenths."""
    parts = _parts(curves, "calibration")
    if not parts:
        return None
    with drawing(3.6, 3.4) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, linestyle=":")
        for colour, (name, points) in zip(COLOURS, parts.items(), strict=False):
            x, y = [p["x"] for p in points], [p["y"] for p in points]
            below = [p["y"] - (p["low"] if p["low"] is not None else p["y"]) for p in points]
            above = [(p["high"] if p["high"] is not None else p["y"]) - p["y"] for p in points]
            axes.errorbar(x, y, yerr=[below, above], color=colour, marker="o", markersize=3, linewidth=1, label=name)
        axes.set_xlabel("mean score")
        axes.set_ylabel("share with disease")
        axes.set_title("Calibration by patient")
        if list(parts) != ["all"]:
            axes.legend(loc="upper left")
        return as_svg(figure, "Calibration: share of patients with disease over their mean score")


def forest(sites: Rows, *, unit: str, metric: str) -> str | None:
    """Each site's estimate with its interval, part by part; a part's pooled one as a diamond with its prediction
    interval. None of fewer than two sites.
    """
    rows = [s for s in sites if (s["unit"], s["metric"]) == (unit, metric) and s["value"] is not None]
    parts = sorted({s["split"] for s in rows}, key=[*SPLITS, "all"].index)
    lines = [(part, s) for part in parts for kind in ("site", "pooled") for s in rows
             if (s["split"], s["kind"]) == (part, kind)]  # fmt: skip
    if sum(site["kind"] == "site" for _, site in lines) < 2:
        return None
    with drawing(5.2, 0.8 + 0.28 * len(lines)) as (figure, axes):
        for place, (part, row) in enumerate(lines):
            colour = COLOURS[parts.index(part)]
            (_site_line if row["kind"] == "site" else _pooled_line)(axes, row, place, colour)
        axes.set_yticks(range(len(lines)), [_label(part, row, len(parts)) for part, row in lines])
        axes.set_ylim(len(lines) - 0.4, -0.6)
        axes.set_xlim(0, 1.02)
        name = plain(metric)
        axes.set_title(f"{unit.capitalize()} {name} by site")
        return as_svg(figure, f"Forest plot of {unit} {name} by site")


def _label(part: str, row: dict[str, Any], n_parts: int) -> str:
    of_part = f"{part}: " if n_parts > 1 else ""
    if row["kind"] == "site":
        return f"{of_part}{row['site']} (n = {row['n_patients']})"
    return f"{of_part}pooled, I² {row['i2']:.0%}, τ² {row['tau2']:.2f}"


def _site_line(axes: Axes, site: dict[str, Any], place: int, colour: str) -> None:
    axes.scatter([site["value"]], [place], s=16 + 90 * (site["weight"] or 0.0), marker="s", color=colour)
    if site["low"] is not None:
        axes.plot([site["low"], site["high"]], [place, place], color=colour, linewidth=1)


def _pooled_line(axes: Axes, pooled: dict[str, Any], place: int, colour: str) -> None:
    low, value, high = pooled["low"], pooled["value"], pooled["high"]
    axes.fill([low, value, high, value], [place, place + 0.3, place, place - 0.3], color=colour)
    if pooled["prediction_low"] is not None:
        axes.plot([pooled["prediction_low"], pooled["prediction_high"]], [place, place], color=colour, linewidth=0.8)


def _parts(curves: Rows, curve: str) -> dict[str, Rows]:
    parts: dict[str, Rows] = {}
    for point in curves:
        if point["curve"] == curve:
            parts.setdefault(point["split"] or "all", []).append(point)
    return {name: sorted(points, key=lambda p: (p["x"], p["y"])) for name, points in parts.items()}
