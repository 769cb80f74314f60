"""`spinetally gc` and `spinetally forget`: the only commands that remove anything."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.cli.console import CohortArgument, JsonOption, print_json, say
from flows.cohort_file import load_cohort
from pipeline.errors import RequestError


def gc(
    cohort: CohortArgument,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what no row names and is older than a day: left by runs that were ended."""
    from pipeline.housekeeping import gc as collect
    from pipeline.store import Store

    config = load_cohort(cohort)
    removed = collect(Store.open(config.store, storage_options=config.storage_options), dry_run=dry_run)
    if as_json:
        print_json(asdict(removed) | {"dry_run": dry_run})
        return
    for path in removed.paths:
        say(path)
    say(f"{len(removed.paths)} {'would be ' if dry_run else ''}removed, {removed.n_bytes:,} bytes")


def forget(
    cohort: CohortArgument,
    patient: Annotated[str, typer.Argument(metavar="PATIENT", help="patient_key; with --id a PatientID.")],
    is_id: Annotated[bool, typer.Option("--id", help="PATIENT is a PatientID of the source.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove one patient everywhere; it cannot be undone."""
    from pipeline.housekeeping import check_patient, patient_keys
    from pipeline.housekeeping import forget as remove
    from pipeline.store import Store

    config = load_cohort(cohort)
    store = Store.open(config.store, storage_options=config.storage_options)
    keys = patient_keys(store, patient) if is_id else [patient]
    if not keys:
        raise RequestError("no patient of the store has this PatientID: check it, or give a patient_key without --id")
    if len(keys) > 1:
        raise RequestError(f"{len(keys)} patients have this PatientID: give the patient_key of one: {', '.join(keys)}")
    check_patient(store, keys[0])
    if not yes and not _is_confirmed():
        raise RequestError("nothing was removed")
    removed = remove(store, keys[0])
    if as_json:
        print_json(asdict(removed))
    else:
        say(f"{removed.n_rows} rows of {removed.n_tables} tables and {removed.n_arrays} arrays were removed")


def _is_confirmed() -> bool:
    try:
        return typer.confirm("Remove this patient from every table and all arrays?", err=True)
    except typer.Abort:  # there is nobody to ask
        return False
