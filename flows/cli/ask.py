"""`spinetally sql`: one question, read-only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.console import CohortArgument
from flows.cohort_file import load_cohort
from pipeline.errors import QueryError

_FORMATS = ("table", "csv", "json", "parquet")
_WHOLE_MEANING = 1000
"""Characters: the data dictionary is not cut."""


def sql(
    cohort: CohortArgument,
    question: Annotated[str | None, typer.Argument(metavar="SQL", help="One SELECT.", show_default=False)] = None,
    chosen: Annotated[
        str | None, typer.Option("--format", "-f", help="table, csv, json or parquet; else as FILE ends, else table.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there.")] = None,
    describe: Annotated[bool, typer.Option("--describe", help="All columns, their units and meanings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Ask the views in SQL; nothing can be written."""
    from pipeline.query import FORMATS, as_text, run_query
    from pipeline.query import describe as dictionary

    form = "json" if as_json else chosen or _ending(output)
    if form not in _FORMATS:
        raise QueryError(f"no format {form!r}: allowed are {', '.join(_FORMATS)}")
    if form == "parquet" and output is None and sys.stdout.isatty():
        raise QueryError("Parquet is not for a terminal: give -o FILE")
    if describe == (question is not None):
        raise QueryError(
            'give either a question, such as "SELECT level, count(*) FROM lesions GROUP BY level", or --describe'
        )
    config = load_cohort(cohort)
    answer = (
        dictionary() if question is None else run_query(config.store, question, storage_options=config.storage_options)
    )
    data = as_text(answer, longest=_WHOLE_MEANING) if question is None and form == "table" else FORMATS[form](answer)
    if output is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    else:
        _write(output, data)


def _ending(output: Path | None) -> str:
    """The format that a file's name asks for; `table` where it asks for none."""
    ending = output.suffix.removeprefix(".").lower() if output is not None else ""
    return ending if ending in _FORMATS else "table"


def _write(output: Path, data: bytes) -> None:
    try:
        output.write_bytes(data)
    except OSError as error:
        raise QueryError(f"cannot write {output}: {error.strerror}") from error
