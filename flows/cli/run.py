"""`spinetally run` and `spinetally retry`."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.console import CohortArgument, JsonOption, files_bar, print_json, print_table, say
from flows.cohort_file import load_cohort
from pipeline.errors import ConfigError
from schemas.reasons import Reason

if TYPE_CHECKING:
    from flows.pending import Retry
    from schemas.config import CohortConfig

LimitOption = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most N scans.")]


def run(
    cohort: CohortArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done; write nothing.")] = False,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Index, plan, ingest and process what is missing."""
    config = load_cohort(cohort)
    if dry_run:
        _forecast(config, limit, as_json)
    else:
        _run(config, limit, None, as_json)


def retry(
    cohort: CohortArgument,
    reason: Annotated[str | None, typer.Option(metavar="CODE", help="Only what has this reason code.")] = None,
    limit: LimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make another attempt at what failed or was quarantined."""
    from flows.pending import Retry

    if reason is not None and reason not in list(Reason):
        near = difflib.get_close_matches(reason, list(Reason), n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ConfigError(f"no reason code {reason!r}{hint} Known: {', '.join(sorted(Reason))}")
    again = _run(load_cohort(cohort), limit, Retry(reason=reason), as_json)
    if not as_json and not any(again[name] for name in ("ingested", "quarantined", "processed", "failed")):
        what = "nothing failed or was quarantined" if reason is None else f"nothing has the reason {reason}"
        say(f"There was nothing to try again: {what}.")


def _run(config: CohortConfig, limit: int | None, again: Retry | None, as_json: bool) -> dict[str, Any]:
    from flows.launch import launch

    with files_bar("reading headers") as progress:
        summary = launch(config, limit=limit, retry=again, progress=progress)
    if as_json:
        print_json(summary)
    else:
        print_summary(summary)
    if summary["failed"]:
        raise typer.Exit(1)
    return summary


def print_summary(summary: dict[str, Any]) -> None:
    """The summary of a run for people."""
    words = {name.replace("_", " "): value for name, value in summary.items() if name not in ("recipes", "seconds")}
    words["lesions in those processed"] = words.pop("lesions")
    print_table("Summary", ["", "n"], list(words.items()), numbers=1)
    recipes = ", ".join(f"{modality} {recipe_id}" for modality, recipe_id in summary["recipes"].items())
    say(f"{summary['seconds']:,} s; recipes: {recipes}")


def _forecast(config: CohortConfig, limit: int | None, as_json: bool) -> None:
    from flows.forecast import forecast
    from flows.prepare import look

    with files_bar("reading headers") as progress:
        facts = forecast(look(config, limit=limit, progress=progress))
    if as_json:
        print_json(facts)
    else:
        known = {name: value for name, value in facts.items() if value is not None}
        if "cost" not in known:
            known.pop("currency")
        rows = [(name.replace("_mb", ", MB").replace("_", " "), value) for name, value in known.items()]
        print_table("A run would do", ["", "n"], rows, numbers=1)
        if facts["slot_hours"] is None:
            say("Hours and cost follow from scans that are done: do some first, with `--limit 10`.")
