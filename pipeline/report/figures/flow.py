"""Who is in it, drawn: what was left at each step, and beside it what was left out, and why (CLAIM 2024 item 35)."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes

from pipeline.report.figures.style import COLOURS, INK, as_svg, drawing

Rows = list[dict[str, Any]]

_LINE, _PAD, _GAP = 0.19, 0.16, 0.24
"""Height of a line of text, room in a box, room between boxes; inches."""
_LEFT, _RIGHT = (0.05, 3.35), (3.75, 7.35)


def flow(steps: Rows, scans: Rows) -> str | None:
    """Boxes from the first row of `steps` to the scans with results, reasons beside the arrows.

    Args:
        steps: step (all, left out, left), what, patients, studies, series; in order.
        scans: recipe_id, what (`scans ok`, `scans failed: ...`), patients, studies, series.
    """
    if not steps or not steps[0]["series"]:
        return None
    kept, dropped = _kept(steps, scans), _dropped(steps, scans)
    heights = [_height(2)] * len(kept)
    gaps = [max(2 * _GAP, _height(len(lines)) + _GAP if lines else 0.0) for lines in dropped]
    total = sum(heights) + sum(gaps) + 0.1
    with drawing(7.4, total) as (figure, axes):
        axes.set_xlim(0, 7.4)
        axes.set_ylim(total, 0)
        axes.axis("off")
        top = 0.05
        for number, (title, counts) in enumerate(kept):
            _box(axes, _LEFT, top, heights[number], [title, counts], first_bold=True)
            top += heights[number]
            if number < len(gaps):
                _arrow(axes, top, gaps[number], dropped[number])
                top += gaps[number]
        return as_svg(figure, "Flow of patients, studies and series, with what was left out at each step")


def _kept(steps: Rows, scans: Rows) -> list[tuple[str, str]]:
    boxes = [(_capital(row["what"]), _counts(row)) for row in steps if row["step"] != "left out"]
    done = [row for row in scans if row["what"] == "scans ok"]
    return boxes + [(f"With a result, recipe {row['recipe_id']}", _counts(row)) for row in done[:1]]


def _dropped(steps: Rows, scans: Rows) -> list[list[str]]:
    """Of each arrow, the lines of the box beside it."""
    out = [f"{row['series']:,} {row['what']}" for row in steps if row["step"] == "left out"]
    left = [row for row in steps if row["step"] == "left"]
    beside = [out]
    if len(left) == 2:
        others = left[0]["series"] - left[1]["series"]
        beside.append([f"{others:,} other series of the same study and modality"] if others else [])
    done = [row for row in scans if row["what"] == "scans ok"]
    if done:
        failed = [r for r in scans if r["recipe_id"] == done[0]["recipe_id"] and r["what"] != "scans ok"]
        beside.append([f"{row['series']:,} {row['what']}" for row in failed])
    return beside


def _counts(row: dict[str, Any]) -> str:
    return f"{row['patients']:,} patients, {row['studies']:,} studies, {row['series']:,} series"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _height(lines: int) -> float:
    return lines * _LINE + _PAD


def _box(
    axes: Axes, across: tuple[float, float], top: float, height: float, lines: list[str], *, first_bold: bool = False
) -> None:
    axes.fill([across[0], across[1], across[1], across[0]], [top, top, top + height, top + height],
              facecolor="none", edgecolor=INK, linewidth=0.8)  # fmt: skip
    for number, line in enumerate(lines):
        weight = "bold" if first_bold and number == 0 else "normal"
        place = top + _PAD / 2 + (number + 0.5) * _LINE
        axes.text(across[0] + 0.1, place, line, va="center", weight=weight)


def _arrow(axes: Axes, top: float, gap: float, lines: list[str]) -> None:
    middle = sum(_LEFT) / 2
    style = {"arrowstyle": "-|>", "color": COLOURS[5], "linewidth": 1.0}
    axes.annotate("", xy=(middle, top + gap), xytext=(middle, top), arrowprops=style)
    if lines:
        height = _height(len(lines))
        place = top + gap / 2
        axes.annotate("", xy=(_RIGHT[0], place), xytext=(middle, place), arrowprops=style)
        _box(axes, _RIGHT, place - height / 2, height, lines)
