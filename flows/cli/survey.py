"""`spinetally index` and `spinetally status`: what is there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.console import CohortArgument, JsonOption, files_bar, print_json, print_table, say
from flows.cohort_file import load_cohort
from schemas.config import CohortConfig


def index(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="Folder, s3:// prefix, manifest, or a cohort.yaml.", show_default=False),
    ],
    as_json: JsonOption = False,
) -> None:
    """Say what is in a source, by headers alone; nothing is written."""
    from pipeline.identity import Identity
    from pipeline.index.source_index import index_source

    is_cohort = source.endswith((".yaml", ".yml"))
    config = load_cohort(Path(source)) if is_cohort else CohortConfig(source=_absolute(source), store="unused")
    with files_bar("reading headers") as progress:
        found = index_source(config, identity=Identity.throwaway(), progress=progress)
    series = found.series
    facts: dict[str, Any] = {
        "series": len(series),
        "studies": len({entry.study_key for entry in series}),
        "patients": len({entry.patient_key for entry in series}),
        "bytes": sum(entry.source_bytes for entry in series),
        "voxels": sum(entry.n_voxels for entry in series),
        "modalities": Counter(entry.modality or "unknown" for entry in series),
        "excluded": Counter(entry.excluded_by for entry in series if entry.excluded_by),
        "problems": Counter(entry.problem[0].value for entry in series if entry.problem),
        "files": found.counts,
    }
    if as_json:
        print_json(facts)
        return
    _print_counts("What is there", {name: n for name, n in facts.items() if isinstance(n, int)})
    for name in ("modalities", "excluded", "problems", "files"):
        if facts[name]:
            _print_counts(name.capitalize(), facts[name])


def status(cohort: CohortArgument, as_json: JsonOption = False) -> None:
    """Say what is done, pending, quarantined, excluded and failed; from the store alone."""
    from flows.standing import standing

    config = load_cohort(cohort)
    facts = standing(config)
    if as_json:
        print_json(facts)
        return
    _print_counts(f"Series of {facts['cohort']}", facts["series"])
    scans = [[m, s["recipe_id"], *(s[n] for n in ("done", "pending", "quarantined", "failed", "lesions"))]
             for m, s in facts["scans"].items()]  # fmt: skip
    if scans:
        print_table("Scans", ["", "recipe", "done", "pending", "quarantined", "failed", "lesions"], scans, numbers=5)
    if facts["reasons"]:
        rows = [[r["reason_code"], r["meaning"], r["what_to_do"], r["n"]] for r in facts["reasons"]]
        print_table("Reasons", ["reason", "meaning", "what to do", "n"], rows, numbers=1)
    say(f"store: {facts['store']}")


def _print_counts(title: str, counts: dict[str, int]) -> None:
    print_table(title, ["", "n"], list(counts.items()), numbers=1)


def _absolute(source: str) -> str:
    return source if "://" in source else str(Path(source).expanduser().absolute())
