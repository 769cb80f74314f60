"""`spinetally evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from flows.cli.console import CohortArgument, JsonOption, files_bar, print_json
from flows.cli.evaluation_summary import print_evaluation
from flows.cohort_file import load_cohort
from pipeline.errors import RequestError
from schemas.config import CohortConfig


def evaluate(
    cohort: CohortArgument,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="RECIPE",
            help="Also compare every other recipe with this one, in pairs; its first digits do.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the results against the reference standard, with confidence intervals."""
    config = load_cohort(cohort)
    first = None if against is None else _recipe_named(config, against)  # before the long part
    summary = evaluate_cohort_file(config)
    if first is not None:
        summary["comparisons"] = compare_recipes(config, first, list(summary["recipes"]))
    if as_json:
        print_json(summary)
    else:
        print_evaluation(summary)


def evaluate_cohort_file(config: CohortConfig) -> dict[str, Any]:
    """Evaluate what the cohort's store holds; the summary."""
    from flows.prepare import last_index
    from pipeline.evaluate.evaluation import evaluate_store
    from pipeline.evaluate.from_cohort import cohort_truth
    from pipeline.identity import Identity
    from pipeline.store import Store

    store = Store.open(config.store, storage_options=config.storage_options)
    with files_bar("reading headers") as progress:
        truths, parts = cohort_truth(config, identity=Identity.of(store), previous=last_index(store), progress=progress)
    with files_bar("reading and comparing") as progress:
        return evaluate_store(store, config, truths=truths, parts=parts, map_scans=partial(_counted, progress))


def _counted(progress: Callable[[int, int], None], function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """`map`, which says how far it is."""
    found = []
    for done, item in enumerate(items, 1):
        found.append(function(item))
        progress(done, len(items))
    return found


def _recipe_named(config: CohortConfig, name: str) -> str:
    from pipeline.query import connect, recipe_named
    from pipeline.store import Store

    with connect(Store.open(config.store, storage_options=config.storage_options)) as connection:
        return recipe_named(connection, name)


def compare_recipes(config: CohortConfig, first: str, recipes: list[str]) -> list[dict[str, Any]]:
    """Every other recipe less the first; of one that shares no scan with it a row that says so."""
    from pipeline.evaluate.evaluation import compare_store
    from pipeline.store import Store

    store = Store.open(config.store, storage_options=config.storage_options)
    names = ("split", "unit", "metric", "value", "low", "high", "note")
    found: list[dict[str, Any]] = []
    for second in (recipe for recipe in recipes if recipe != first):
        try:
            rows = compare_store(store, first, second, settings=config.evaluation)
        except RequestError as error:  # of another modality, say
            rows = [dict.fromkeys(names) | {"unit": "scan", "metric": "difference", "note": str(error)}]
        found += [{"recipe": second, "against": first} | {name: row[name] for name in names} for row in rows]
    return found
