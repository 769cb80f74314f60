"""What goes to which stream: answers to stdout, everything else to stderr."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

CohortArgument = Annotated[Path, typer.Argument(metavar="COHORT.yaml", help="The cohort file.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


def print_json(facts: Any) -> None:
    """One JSON value on stdout, in letters that it can hold."""
    text = json.dumps(facts, ensure_ascii=False, allow_nan=False, default=str)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(facts, allow_nan=False, default=str)
    print(text)


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], *, numbers: int = 0) -> None:
    """A table on stdout, as wide as its text where stdout is no terminal.

    Args:
        title: above it.
        head: names of the columns.
        rows: as many values each; None is an empty cell.
        numbers: how many of the last columns are set to the right.
    """
    say(title)  # not the table's own title, which is broken where the table is narrow
    table = Table()
    for position, name in enumerate(head):
        # folded, not cut: a key must be there to be copied however narrow the terminal is
        table.add_column(name, justify="right" if position >= len(head) - numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(
            *("" if value is None else f"{value:,}" if isinstance(value, int) else str(value) for value in row)
        )
    say(table)


def say(what: Any = "") -> None:
    """Text or a table on stdout."""
    console = Console(width=None if sys.stdout.isatty() else 200, soft_wrap=isinstance(what, str), highlight=False)
    console.print(what, markup=False) if isinstance(what, str) else console.print(what)


def log_to_stderr(verbose: bool) -> None:
    """Our log lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("spinetally")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)
    logger.propagate = False


@contextmanager
def files_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr for steps that count done and all; nothing where stderr is no terminal."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
