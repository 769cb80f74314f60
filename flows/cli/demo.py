"""`spinetally demo`: a phantom cohort as real DICOM, everything run on it, held against its truth, and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.console import JsonOption, files_bar, print_json, print_table, say

_COHORT = """\
cohort: demo
source: ./manifest.csv
clinical: [primary_tumour]
store: ./store
truth:                       # what the phantoms were drawn with; the manifest says which part each scan belongs to
  masks: lesions_uri
  annotated_by: the program that drew the phantoms
  readers: 1
  experience: none, for the truth is known
  blinded: true
  annotated_on: CT
"""

_LEVELS = """
SELECT level, count(*) AS lesions, count(*) FILTER (lesion_type = 'lytic') AS lytic,
    count(*) FILTER (lesion_type = 'blastic') AS blastic, count(*) FILTER (lesion_type = 'mixed') AS mixed,
    count(*) FILTER (lesion_type = 'indeterminate') AS indeterminate, round(sum(volume_mm3) / 1000, 2) AS volume_ml
FROM lesions WHERE is_primary AND recipe_id IN ({recipes}) GROUP BY level
"""
_COUNTS = """
SELECT (SELECT count(DISTINCT patient_key) FROM series) AS patients, (SELECT count(*) FROM series) AS series,
    count(*) AS scans, coalesce(sum(n_lesions), 0)::BIGINT AS lesions
FROM scans WHERE is_primary AND recipe_id IN ({recipes})
"""
_FAILURES = "SELECT stage, reason_code, meaning, count(*) AS n FROM failures GROUP BY ALL ORDER BY ALL"

_QUESTIONS = (
    "SELECT level, lesion_type, volume_mm3, hu_mean, score_max FROM lesions ORDER BY volume_mm3 DESC LIMIT 5",
    "SELECT state, count(*) FROM changes GROUP BY state",
)


def demo(
    store: Annotated[Path, typer.Option("--store", metavar="DIR", help="Folder for the cohort and its store.")] = Path(
        "demo"
    ),
    as_json: JsonOption = False,
) -> None:
    """Make a phantom cohort as real DICOM, run everything, print the tallies."""
    from flows.cli.after import require_report, view_command
    from flows.cli.evaluation import evaluate_cohort_file
    from flows.cohort_file import load_cohort
    from flows.launch import launch
    from pipeline.query import run_query
    from pipeline.store import Store

    require_report()
    from pipeline.report.report import write_report

    folder = store.absolute()
    file = _write_cohort(folder)
    config = load_cohort(file)
    with files_bar("reading headers") as progress:
        summary = launch(config, progress=progress)
    levels, counts = tallies(config.store, list(summary["recipes"].values()))
    failures = run_query(config.store, _FAILURES).to_pylist()
    evaluation, page = evaluate_cohort_file(config), folder / "report.html"
    write_report(Store.open(config.store), config, page, view_command=view_command(_near(file)))
    if as_json:
        facts = {"levels": levels, "failures": failures, "store": config.store}
        print_json(summary | facts | {"evaluation": evaluation, "report": str(page)})
    else:
        _print(levels, failures, counts)
        _print_evaluation(evaluation)
        _print_next(file, page)
    if summary["failed"]:
        raise typer.Exit(1)


def _write_cohort(folder: Path) -> Path:
    """The cohort's folder, once: a second `demo` finds it and has nothing to do."""
    from pipeline.phantom.cohort import write_cohort

    file = folder / "cohort.yaml"
    if not file.exists():
        with files_bar("making phantoms") as progress:
            write_cohort(folder, progress=progress)
        file.write_text(_COHORT)
    return file


def tallies(store: str, recipe_ids: list[str]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Lesions by level from head to foot, and all counts, of these recipes alone: a store may hold older ones."""
    from pipeline.query import run_query

    recipes = ", ".join(f"'{recipe_id}'" for recipe_id in recipe_ids)
    levels = run_query(store, _LEVELS.format(recipes=recipes)).to_pylist()
    (counts,) = run_query(store, _COUNTS.format(recipes=recipes)).to_pylist()
    return sorted(levels, key=lambda row: _place(row["level"])), counts


def _place(level: str | None) -> int:
    """From head to foot; unnumbered vertebrae after the named ones, lesions outside all of them last."""
    from schemas.spine import OUTSIDE, craniocaudal_rank, level_number

    return 1000 if level in (None, OUTSIDE) else craniocaudal_rank(level_number(str(level)))


def _print(levels: list[dict[str, Any]], failures: list[dict[str, Any]], counts: dict[str, int]) -> None:
    head = ["level", "lesions", "lytic", "blastic", "mixed", "indeterminate", "volume_ml"]
    print_table("Lesions per vertebral level", head, [[row[name] for name in head] for row in levels], numbers=6)
    if failures:
        rows = [[row["stage"], row["reason_code"], row["meaning"], row["n"]] for row in failures]
        print_table("Not usable, and why", ["stage", "reason", "meaning", "n"], rows, numbers=1)
    say("{patients} patients, {series} series, {scans} scans, {lesions} lesions".format(**counts))


def _print_evaluation(summary: dict[str, Any]) -> None:
    from flows.cli.evaluation_summary import print_evaluation

    say()
    print_evaluation(summary)


def _print_next(file: Path, page: Path) -> None:
    say()
    say(f"The store:   {_near(file.parent / 'store')}")
    say(f"The report:  {_near(page)}")
    say("Try next:")
    for question in _QUESTIONS:
        say(f'  spinetally sql {_near(file)} "{question}"')


def _near(path: Path) -> Path:
    """The path as it is typed from here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
