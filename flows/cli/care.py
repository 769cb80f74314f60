"""`spinetally compact` and `spinetally verdict`: what is added to a store besides results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.console import CohortArgument, JsonOption, print_json, print_table, say
from flows.cohort_file import load_cohort
from pipeline.errors import RequestError


def compact(cohort: CohortArgument, as_json: JsonOption = False) -> None:
    """Merge the rows that count into few large tables, for speed and for other programs."""
    from pipeline.compact import compact as merge
    from pipeline.store import Store

    config = load_cohort(cohort)
    done = merge(Store.open(config.store, storage_options=config.storage_options))
    if as_json:
        print_json(asdict(done))
    elif done.folder is None:
        say("nothing has come since the last time: the merged tables are still good")
    else:
        print_table("Rows", ["view", "n"], list(done.rows.items()), numbers=1)
        say(f"{done.n_files_before} files into {done.n_files} in {done.folder}")


def verdict(
    cohort: CohortArgument,
    decisions: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="Columns series_key, decision, reader (a pseudonym), lesion_id; where wanted recipe_id, comment, "
            "decided_at, and for an edit new_level, new_lesion_type. It is taken whole or not at all.",
            show_default=False,
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Add readers' decisions about lesions: accept, reject, edit, comment."""
    from pipeline.store import Store
    from pipeline.verdicts import add_verdicts

    config = load_cohort(cohort)
    try:
        data = decisions.read_bytes()
    except OSError as error:
        raise RequestError(f"cannot read {decisions}: {error.strerror}. Give a CSV of decisions") from error
    added = add_verdicts(Store.open(config.store, storage_options=config.storage_options), data)
    if as_json:
        print_json(asdict(added))
    else:
        say(f"{added.n_added} decisions added, {added.n_known} were there already")
