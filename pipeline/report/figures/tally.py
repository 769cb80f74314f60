"""Figures of the tallies: levels along the spine, sizes and types, burden, changes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from pipeline.report.figures.style import COLOURS, INK, TYPE_COLOURS, as_svg, drawing
from schemas.spine import LEVELS

Rows = list[dict[str, Any]]

_HEAT = LinearSegmentedColormap.from_list("heat", ["#dbe7f3", "#f2b266", "#b3261e"])
_WIDTH = {"cervical": 0.5, "thoracic": 0.7, "lumbar": 0.9, "sacral": 0.8}


def spine(rows: Rows) -> str | None:
    """The spine from head to foot, each level coloured by the share of scans that hold a lesion there."""
    known = {row["level"]: row for row in rows}
    shown = [level for level in LEVELS if level.name in known]
    if not shown:
        return None
    share = {n: (r["involved"] or 0) / max(1, r["seen"]) for n, r in known.items()}
    norm = Normalize(0, max(0.05, *(share[level.name] for level in shown)))
    with drawing(3.4, 0.6 + 0.24 * len(shown)) as (figure, axes):
        for place, level in enumerate(shown):
            width = _WIDTH[level.region]
            colour = _HEAT(norm(share[level.name]))
            box = FancyBboxPatch((-width / 2, place - 0.36), width, 0.72, boxstyle="round,pad=0,rounding_size=0.12",
                                 facecolor=colour, edgecolor=INK, linewidth=0.5)  # fmt: skip
            axes.add_patch(box)
            row = known[level.name]
            axes.text(-0.62, place, level.name, ha="right", va="center")
            axes.text(0.62, place, f"{row['involved']} of {row['seen']} scans", va="center")
        axes.set_xlim(-1.1, 1.9)
        axes.set_title("Scans with a lesion, by level")
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.axis("off")
        return as_svg(figure, "Levels of the spine, coloured by the share of scans with a lesion there")


def volumes(rows: Rows) -> str | None:
    """How many lesions of which volume, by type."""
    values = [row for row in rows if row["volume_mm3"]]
    if not values:
        return None
    kinds = sorted({row["lesion_type"] for row in values})
    logs = np.log10([row["volume_mm3"] for row in values])
    edges = np.linspace(np.floor(logs.min() * 4) / 4, np.ceil(logs.max() * 4) / 4 + 1e-9, 16)
    with drawing() as (figure, axes):
        groups = [[float(np.log10(r["volume_mm3"])) for r in values if r["lesion_type"] == kind] for kind in kinds]
        axes.hist(groups, bins=edges.tolist(), stacked=True, label=kinds,
                  color=[TYPE_COLOURS.get(kind, COLOURS[4]) for kind in kinds])  # fmt: skip
        ticks = range(int(np.floor(edges[0])), int(np.ceil(edges[-1])) + 1)
        axes.set_xticks(list(ticks), [f"{10.0**t / 1000:g}" for t in ticks])
        axes.set_xlabel("lesion volume, mL")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title("Volume of lesions")
        axes.set_ylabel("lesions")
        axes.legend()
        return as_svg(figure, "Distribution of lesion volume by type")


def burden(rows: Rows) -> str | None:
    """Share of assessed vertebral volume taken by lesions, study by study."""
    values = sorted((row["burden"] * 100 for row in rows if row["burden"] is not None), reverse=True)
    if not values:
        return None
    with drawing() as (figure, axes):
        axes.stairs(values, np.arange(len(values) + 1) + 0.5, fill=True, color=COLOURS[0], alpha=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title("Burden of studies")
        axes.set_xlabel("studies, in order of burden")
        axes.set_ylabel("burden, % of vertebral volume")
        axes.set_ylim(bottom=0)
        return as_svg(figure, "Burden of each study: lesion volume over assessed vertebral volume")


def changes(rows: Rows) -> str | None:
    """What became of lesions between studies."""
    if not rows:
        return None
    with drawing(5.2, 0.7 + 0.28 * len(rows)) as (figure, axes):
        axes.barh([str(row["state"]).replace("_", " ") for row in rows], [row["n"] for row in rows], color=COLOURS[2])
        axes.invert_yaxis()
        axes.set_xlabel("lesions")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title("From one study to the next")
        return as_svg(figure, "Changes of lesions between studies")
