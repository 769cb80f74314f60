"""`spinetally compact`: many small files into few large ones."""

from __future__ import annotations

from dataclasses import asdict

from flows.cli.console import CohortArgument, JsonOption, print_json, print_table, say
from flows.cohort_file import load_cohort


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
