"""How an evaluation is printed: the parts of a cohort side by side, their difference first."""

from __future__ import annotations

from typing import Any

from flows.cli.console import print_table, say
from pipeline.evaluate.names import plain
from schemas.evaluation import SPLITS

FEW = 20
"""Fewer patients than these, and it says how few there are."""


def print_evaluation(summary: dict[str, Any]) -> None:
    """The main figures of every recipe, and what they do not rest on."""
    for number, (recipe_id, recipe) in enumerate(summary["recipes"].items()):
        if number:
            say()
        if len(summary["recipes"]) > 1:
            say(f"Recipe {recipe_id}")
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
                    f"{r['unit']} {plain(r['metric'].removeprefix('difference_'))}",
                    _said(r, "+.3f"),
                ]
                for r in rows
            ],
        )
    if summary["readers"]:
        print_table(
            "Between readers",
            ["measure", "value (95 % interval)"],
            [[plain(f["metric"]), _said(f)] for f in summary["readers"]],
        )
    _print_reference(summary)


def _print_recipe(recipe_id: str, recipe: dict[str, Any], parts: dict[str, list[dict[str, Any]]]) -> None:
    drops = {(f["unit"], f["metric"].removeprefix("drop_")): f for f in recipe["drops"]}
    for (unit, metric), figure in drops.items():
        say(f"{unit} {plain(metric)}, from internal to external: {_said(figure, '+.2f')}")
    found = {name: {(f["unit"], f["metric"]): f for f in figures} for name, figures in parts.items()}
    kinds = list(dict.fromkeys(kind for figures in found.values() for kind in figures))
    rows = [
        [f"{unit} {plain(metric)}", *(_said(figures.get((unit, metric)), counts=True) for figures in found.values())]
        for unit, metric in kinds
    ]
    print_table(f"Against the reference standard, recipe {recipe_id}", ["value (95 % interval)", *parts], rows)
    _print_scans(recipe)
    if left := recipe["scans_in_no_part"]:
        say(f"{left} scans with a reference are in no part of the cohort, and so in no figure: name their part.")
    if shared := recipe["sites_in_several_parts"]:
        said = f"{len(shared)} sites ({', '.join(shared[:3])}, ...)" if len(shared) > 3 else ", ".join(shared)
        say(f"In more than one part: {said}. External are other patients there, but not another place.")
    _print_few(recipe, parts)


def _print_scans(recipe: dict[str, Any]) -> None:
    """What became of the scans with a reference, and which results have none."""
    scans = dict(recipe["scans"])
    done, pending = scans.pop("ok", 0), scans.pop("missing", 0)
    if scans:
        failed = ", ".join(f"{n:,} {status}" for status, n in sorted(scans.items()))
        say(
            f"Of {_many(done + pending + sum(scans.values()), 'scan')} with a reference {done:,} have a result; "
            f"{failed}: their lesions count as missed where scans without a result do, and in no other figure."
        )
    if pending:
        say(f"{_many(pending, 'scan')} with a reference not processed yet: in no figure, run `spinetally run` first.")
    if alone := recipe["studies_without_reference"]:
        say(f"{alone:,} {'study has' if alone == 1 else 'studies have'} a result but no reference: in no figure.")


def _print_few(recipe: dict[str, Any], parts: dict[str, list[dict[str, Any]]]) -> None:
    from pipeline.evaluate.statistics.resampling import LEAST_PATIENTS, LEAST_WITH_CASES

    few = [f"{_many(n, 'patient')} in {name}" for name, n in recipe["patients_of_part"].items() if n < LEAST_PATIENTS]
    if recipe["patients"] < FEW:
        few = [_many(recipe["patients"], "patient"), _many(recipe["true_lesions"], "true lesion")]
    if few:
        say(f"Only {', '.join(few)}: the intervals are wide.")
    others = {"wilson", "delong_logit"}
    if any(f["unit"] != "patient" and f.get("interval") in others for figures in parts.values() for f in figures):
        say(
            f"Below {LEAST_PATIENTS} patients in a part, or {LEAST_WITH_CASES} with such a case, there is no bootstrap "
            "over them: intervals of lesions and vertebrae take those of a patient for unrelated, others are left out."
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
        say(f"Not stated of the reference standard: {', '.join(name.replace('_', ' ') for name in missing)}")


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}" + ("" if n == 1 else "s")


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
