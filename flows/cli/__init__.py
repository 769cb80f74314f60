"""The command `spinetally`. Answers go to stdout, logs to stderr.

Exit codes: 0 done, 1 some scans failed, 2 the request was wrong, 3 a service was not there.
"""

from __future__ import annotations

import io
import os
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from flows.cli import after, ask, care, demo, evaluation, look, models, removal, run, survey
from flows.cli.console import log_to_stderr
from pipeline.errors import RequestError, ServiceError, SpinetallyError

app = typer.Typer(
    name="spinetally",
    help="Detect and tally spinal lesions over whole imaging cohorts, and ask the results in SQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(demo.demo)
app.command()(survey.index)
app.command()(run.run)
app.command()(survey.status)
app.command()(ask.sql)
app.command()(run.retry)
app.command()(evaluation.evaluate)
app.command()(after.report)
app.command()(after.export)
app.command()(look.view)
app.command()(care.compact)
app.command()(care.verdict)
app.command()(removal.gc)
app.command()(removal.forget)
app.add_typer(models.app, name="models")


def _say_version(wanted: bool) -> None:
    if wanted:
        print(version("spinetally"))
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More log lines.")] = False,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    """Options of all commands."""
    log_to_stderr(verbose)


_INTERRUPTED = 130
"""Of Ctrl-C: typer ends so, without a word."""


def main() -> None:
    """Run a command; what goes wrong is one clear line and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that this terminal cannot show ends nothing
    try:
        app()
    except RequestError as error:
        _end(error, 2)
    except ServiceError as error:
        _end(error, 3)
    except SpinetallyError as error:
        _end(error, 1)
    except BrokenPipeError:  # `spinetally sql ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            _end("stopped: what was committed stays; run again to go on", _INTERRUPTED)
        raise
    except Exception as error:
        if "--verbose" in sys.argv or "-v" in sys.argv:
            raise
        _end(f"an error of spinetally ({type(error).__name__}): run `spinetally -v ...` for where, and report it", 1)


def _end(what: object, code: int) -> None:
    print(f"spinetally: {what}", file=sys.stderr)
    sys.exit(code)
