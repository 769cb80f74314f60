"""How every figure looks, and how it becomes a piece of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#010203"
"""Stands for the colour of the text around the figure; no data has it."""

COLOURS = ("#3b82c4", "#d9772b", "#2f9e77", "#b0579f", "#9a8700", "#6b7684")
"""Of series; told apart by eyes that confuse red and green, and on light and dark paper."""

TYPE_COLOURS = {"lytic": COLOURS[1], "blastic": COLOURS[0], "mixed": COLOURS[3], "indeterminate": COLOURS[5]}

_SETTINGS = {
    "svg.fonttype": "none",  # text stays text: it can be found, copied and read aloud
    "svg.hashsalt": "spinetally",  # the same figure gives the same file
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.0,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


@contextmanager
def drawing(width: float = 5.2, height: float = 3.4) -> Iterator[tuple[Figure, Axes]]:
    """A figure and its axes, in inches, in the style of the report; nothing global is changed."""
    with mpl.rc_context(_SETTINGS):  # type: ignore[arg-type] # its stub lists every key by name
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.add_subplot()


def as_svg(figure: Figure, description: str) -> str:
    """A figure as SVG for the page: described for those who cannot see it, with ids that clash with no other's."""
    buffer = io.StringIO()
    with mpl.rc_context(_SETTINGS):  # type: ignore[arg-type]
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    prefix = f"f{abs(hash_of(description)):x}-"
    text = re.sub(r'(id="|href="#|url\(#)', lambda found: found.group(1) + prefix, text)
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    value = 5381
    for character in text:
        value = (value * 33 + ord(character)) % 2**31
    return value
