"""`spinetally report` and `export`: what is made of a finished store."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.console import CohortArgument, JsonOption, files_bar, print_json, print_table, say
from flows.cohort_file import load_cohort
from pipeline.errors import RequestError


class Kind(StrEnum):
    """What can be written out."""

    TABLES = "tables"
    NIFTI = "nifti"
    DICOM = "dicom"


class Segmentation(StrEnum):
    """Kinds of DICOM SEG."""

    BINARY = "binary"
    LABELMAP = "labelmap"


def report(
    cohort: CohortArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where to.")] = Path("report.html"),
    checklists: Annotated[
        Path | None,
        typer.Option("--checklists", metavar="DIR", help="Also write CLAIM, STARD-AI, ... as Markdown and CSV."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one page of results that opens without a network."""
    from pipeline.store import Store

    config = load_cohort(cohort)
    require_report()
    from pipeline.report.checklists.sheets import write_checklists
    from pipeline.report.report import write_report

    if not output.absolute().parent.is_dir():
        raise RequestError(f"cannot write {output}: its folder is not there; make it, or give another -o FILE")
    store = Store.open(config.store, storage_options=config.storage_options)
    try:
        facts = write_report(store, config, output, view_command=view_command(cohort))
        sheets = [] if checklists is None else write_checklists(store, config, checklists)
    except OSError as error:
        raise RequestError(f"cannot write the report: {error.strerror}: {error.filename}") from error
    if as_json:
        print_json(facts | {"checklists": [str(path) for path in sheets]})
        return
    say(f"the report is {output}")
    if checklists is not None:
        say(f"{len(sheets)} checklists are in {checklists}")


def require_report() -> None:
    """See whether what draws and fills the page is installed.

    Raises:
        RequestError: it is not.
    """
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise RequestError(f"the report needs {' and '.join(missing)}: pip install 'spinetally[report]'")


def view_command(cohort: Path) -> str:
    """What shows a scan, as it is copied from the report: without the folders of who wrote it."""
    shown = Path(cohort.name) if cohort.is_absolute() else cohort
    return "spinetally view" if str(shown) == "cohort.yaml" else f"spinetally view --cohort {shlex.quote(str(shown))}"


def export(
    cohort: CohortArgument,
    dest: Annotated[str, typer.Argument(metavar="DEST", help="A folder, or a prefix s3://bucket/prefix.")],
    kind: Annotated[
        list[Kind] | None,
        typer.Option("--kind", metavar="KIND", help="tables, nifti or dicom (SEG and SR); several; all by default."),
    ] = None,
    segmentation: Annotated[
        Segmentation, typer.Option(help="What DICOM SEG is written as; few viewers read labelmap.")
    ] = Segmentation.BINARY,
    recipe: Annotated[
        list[str] | None, typer.Option("--recipe", metavar="ID", help="Only these recipes; first digits do.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write flat tables, masks as NIfTI, DICOM SEG and SR; exported.csv there lists every file and omission."""
    from pipeline.export.cohort import KINDS, export_store
    from pipeline.store import Store

    config = load_cohort(cohort)
    with files_bar("writing scans") as progress:
        summary = export_store(
            Store.open(config.store, storage_options=config.storage_options),
            dest,
            kinds=[each.value for each in kind] if kind else KINDS,
            segmentation="LABELMAP" if segmentation is Segmentation.LABELMAP else "BINARY",
            recipe_ids=recipe,
            storage_options=config.storage_options,
            progress=progress,
        )
    if as_json:
        print_json(asdict(summary))
        return
    if summary.rows:
        print_table("Tables", ["table", "rows"], list(summary.rows.items()), numbers=1)
    if summary.skipped:
        print_table("No DICOM objects, and why", ["reason", "scans"], summary.skipped.most_common(), numbers=1)
    scans = "1 scan" if summary.n_scans == 1 else f"{summary.n_scans} scans"
    say(f"{scans}, {summary.n_files} files of masks and measurements in {dest}")
