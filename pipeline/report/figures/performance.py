"""Figures of an evaluation: FROC, ROC, calibration, forest of sites."""

from __future__ import annotations

from typing import Any

from pipeline.report.figures.style import COLOURS, INK, as_svg, drawing

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
        if len(parts) > 1:
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
        if len(parts) > 1:
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
        if len(parts) > 1:
            axes.legend(loc="upper left")
        return as_svg(figure, "Calibration: share of patients with disease over their mean score")


def forest(sites: Rows, *, unit: str, metric: str, split: str) -> str | None:
    """Each site's estimate with its interval, the pooled one as a diamond, and where a new site would lie."""
    rows = [s for s in sites if (s["unit"], s["metric"], s["split"]) == (unit, metric, split)]
    listed = [s for s in rows if s["kind"] == "site" and s["value"] is not None]
    if not listed:
        return None
    pooled = next((s for s in rows if s["kind"] == "pooled" and s["value"] is not None), None)
    with drawing(5.2, 0.9 + 0.28 * (len(listed) + 2)) as (figure, axes):
        for place, site in enumerate(listed):
            size = 16 + 90 * (site["weight"] or 0.0)
            axes.scatter([site["value"]], [place], s=size, marker="s", color=COLOURS[0])
            if site["low"] is not None:
                axes.plot([site["low"], site["high"]], [place, place], color=COLOURS[0], linewidth=1)
        labels = [f"{s['site']} (n = {s['n_patients']})" for s in listed]
        if pooled is not None:
            at = len(listed)
            axes.fill([pooled["low"], pooled["value"], pooled["high"], pooled["value"]], [at, at + 0.3, at, at - 0.3],
                      color=COLOURS[1])  # fmt: skip
            if pooled["prediction_low"] is not None:
                axes.plot(
                    [pooled["prediction_low"], pooled["prediction_high"]], [at, at], color=COLOURS[1], linewidth=0.8
                )
            labels.append(f"pooled, I² {pooled['i2']:.0%}, τ² {pooled['tau2']:.2f}")
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.set_xlim(0, 1.02)
        axes.set_title(f"{unit} {metric}, {split}")
        return as_svg(figure, f"Forest plot of {unit} {metric} by site, {split}")


def _parts(curves: Rows, curve: str) -> dict[str, Rows]:
    parts: dict[str, Rows] = {}
    for point in curves:
        if point["curve"] == curve:
            parts.setdefault(point["split"] or "all", []).append(point)
    return {name: sorted(points, key=lambda p: (p["x"], p["y"])) for name, points in parts.items()}
