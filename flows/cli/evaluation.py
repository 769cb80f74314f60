"""`spinetally evaluate`, and how it is printed: the parts of a cohort side by side, their difference first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import typer

from flows.cli.console import CohortArgument, JsonOption, files_bar, print_json, print_table, say
from flows.cohort_file import load_cohort
from schemas.config import CohortConfig
from schemas.evaluation import SPLITS

FEW = 20
"""Fewer patients than these, and the page says how few there are."""


def evaluate(
    cohort: CohortArgument,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="RECIPE", help="Also compare every other recipe with this one, in pairs."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the results against the reference standard, with confidence intervals."""
    config = load_cohort(cohort)
    summary = evaluate_cohort_file(config)
    if against is not None:
        summary["comparisons"] = _compare(config, against, list(summary["recipes"]))
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


def _compare(config: CohortConfig, first: str, recipes: list[str]) -> list[dict[str, Any]]:
    from pipeline.evaluate.evaluation import compare_store
    from pipeline.store import Store

    store = Store.open(config.store, storage_options=config.storage_options)
    names = ("split", "unit", "metric", "value", "low", "high", "note")
    return [
        {"recipe": second, "against": first} | {name: row[name] for name in names}
        for second in recipes
        if second != first
        for row in compare_store(store, first, second, settings=config.evaluation)
    ]


def print_evaluation(summary: dict[str, Any]) -> None:
    """The main figures of every recipe, and what they do not rest on."""
    for recipe_id, recipe in summary["recipes"].items():
        parts = {name: recipe["parts"][name] for name in (*SPLITS, "all") if name in recipe["parts"]}
        _print_recipe(recipe_id, recipe, parts)
    if rows := summary.get("comparisons"):
        print_table(
            f"Compared with recipe {rows[0]['against']}, scan by scan",
            ["recipe", "part", "difference in", "value (95 % interval)"],
            [
                [
                    r["recipe"],
                    r["split"],
                    f"{r['unit']} {_plain(r['metric'].removeprefix('difference_'))}",
                    _said(r, "+.3f"),
                ]
                for r in rows
            ],
        )
    if summary["readers"]:
        print_table(
            "Between readers",
            ["measure", "value (95 % interval)"],
            [[_plain(f["metric"].removeprefix("reader_")), _said(f)] for f in summary["readers"]],
        )
    _print_reference(summary)


def _print_recipe(recipe_id: str, recipe: dict[str, Any], parts: dict[str, list[dict[str, Any]]]) -> None:
    from pipeline.evaluate.statistics.resampling import LEAST_PATIENTS

    drops = {(f["unit"], f["metric"].removeprefix("drop_")): f for f in recipe["drops"]}
    for (unit, metric), figure in drops.items():
        say(f"{unit} {_plain(metric)}, from internal to external: {_said(figure, '+.2f')}")
    found = {name: {(f["unit"], f["metric"]): f for f in figures} for name, figures in parts.items()}
    kinds = list(dict.fromkeys(kind for figures in found.values() for kind in figures))
    rows = [
        [f"{unit} {_plain(metric)}", *(_said(figures.get((unit, metric)), counts=True) for figures in found.values())]
        for unit, metric in kinds
    ]
    print_table(f"Against the reference standard, recipe {recipe_id}", ["value (95 % interval)", *parts], rows)
    if left := recipe["scans_in_no_part"]:
        say(f"{left} scans with a reference are in no part of the cohort, and so in no figure: name their part.")
    if shared := recipe["sites_in_several_parts"]:
        said = f"{len(shared)} sites ({', '.join(shared[:3])}, ...)" if len(shared) > 3 else ", ".join(shared)
        say(f"In more than one part: {said}. External are other patients there, but not another place.")
    few = [f"{_many(n, 'patient')} in {name}" for name, n in recipe["patients_of_part"].items() if n < LEAST_PATIENTS]
    if recipe["patients"] < FEW:
        few = [_many(recipe["patients"], "patient"), _many(recipe["true_lesions"], "true lesion")]
    if few:
        say(
            f"Only {', '.join(few)}: the intervals are wide, and below {LEAST_PATIENTS} patients a part they take the "
            "lesions of a patient for unrelated."
        )


def _print_reference(summary: dict[str, Any]) -> None:
    counts = summary["references"]
    parts = [f"{counts['ok']} annotations read"]
    parts += [f"{counts['unplaced']} of scans that have no volume"] if counts["unplaced"] else []
    if counts["failed"]:
        reasons = ", ".join(f"{reason} {n}" for reason, n in summary["reference_reasons"].items())
        parts.append(f"{counts['failed']} could not be read ({reasons}): the view `reference_standard` says which")
    outside = summary["lesions_outside_their_volume"]
    if further := summary["references_not_compared"]:
        parts.append(
            f"{further} further series with a reference are other series of a study, or of no recipe: in no figure"
        )
    parts += [f"{outside} true lesions outside their volume, not counted"] if outside else []
    say("; ".join(parts))
    if missing := summary["annotation"]["not_stated"]:
        say(f"Not stated of the reference standard: {', '.join(map(_plain, missing))}")


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def _plain(metric: str) -> str:
    from pipeline.evaluate.summary import PLAIN

    return PLAIN.get(metric, metric.replace("_", " "))


def _said(figure: dict[str, Any] | None, form: str = ".2f", *, counts: bool = False) -> str:
    """`0.61 (0.36 to 0.81), 11 of 18`, or why there is no value."""
    if figure is None:
        return ""
    if figure.get("value") is None:
        return str(figure.get("note") or "not estimable")
    text = f"{figure['value']:{form}}"
    if figure.get("low") is not None and figure.get("high") is not None:
        text += f" ({figure['low']:{form}} to {figure['high']:{form}})"
    top, bottom = figure.get("numerator"), figure.get("denominator")
    if counts and top is not None and bottom is not None and float(top).is_integer():
        text += f", {top:.0f} of {bottom:.0f}" if figure["metric"] != "false_positives_per_scan" else ""
    return text
