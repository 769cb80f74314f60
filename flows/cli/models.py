"""`spinetally models`: what models there are, and what one expects."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml

from flows.cli.console import JsonOption, print_json, print_table, say

app = typer.Typer(help="What models there are, what one expects, whether it runs.", no_args_is_help=True)

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A name, or a folder with a model.yaml.")]


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """Say what models need no folder."""
    from pipeline.models.registry import find_spec, known_models

    rows = []
    for name in known_models():
        spec, digest = find_spec(name)
        rows.append(
            {"model": name, "version": spec.version, "task": spec.task, "modality": spec.modality, "digest": digest}
        )
    if as_json:
        print_json(rows)
    else:
        cells = [[r["model"], r["version"], r["task"], " ".join(r["modality"]), r["digest"][:12]] for r in rows]
        print_table("Models", ["model", "version", "task", "modality", "digest"], cells)


@app.command()
def show(model: ModelArgument, as_json: JsonOption = False) -> None:
    """Say what a model expects and where it fails."""
    from pipeline.models.registry import find_spec

    spec, digest = find_spec(model)
    facts: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True) | {"digest": digest}
    if as_json:
        print_json(facts)
    else:
        say(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True).rstrip())
