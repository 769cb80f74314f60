"""`spinetally view`: one scan with its lesions, in the browser of this machine."""

from __future__ import annotations

import sys
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.console import say
from flows.cohort_file import load_cohort


def view(
    series_key: Annotated[
        str, typer.Argument(metavar="SERIES_KEY", help="Of the view `series`; its first digits do.", show_default=False)
    ],
    cohort: Annotated[Path, typer.Option("--cohort", metavar="COHORT.yaml", help="The cohort file.")] = Path(
        "cohort.yaml"
    ),
    recipe: Annotated[
        str | None, typer.Option(metavar="ID", help="Whose masks, its first digits do; the newest result's by default.")
    ] = None,
    port: Annotated[int, typer.Option(help="Of the loopback; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
) -> None:
    """Show one scan with its lesions and levels, on this machine only, until Ctrl-C."""
    from pipeline.store import Store
    from pipeline.view.scan import viewed_scan
    from pipeline.view.server import serve

    config = load_cohort(cohort)
    store = Store.open(config.store, storage_options=config.storage_options)
    with serve(viewed_scan(store, series_key, recipe_id=recipe), port=port) as address, suppress(KeyboardInterrupt):
        say(address)
        print("Ctrl-C ends it", file=sys.stderr)
        if browser:
            webbrowser.open(address)
        threading.Event().wait()
