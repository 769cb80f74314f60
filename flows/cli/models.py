"""`spinetally models`: what models there are, what one expects, whether it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer
import yaml

from flows.cli.console import JsonOption, print_json, print_table, say
from pipeline.errors import ModelError

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


@app.command()
def check(
    model: ModelArgument,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    backend: Annotated[str, typer.Option(help="auto, torch or openvino.")] = "auto",
    trust: Annotated[bool, typer.Option("--trust", help="Allow weights that run code when they are opened.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run a model on a small synthetic scan and say what it saw; exit code 2 where it does not run."""
    from pipeline.models.check import check_model

    seen = check_model(model, device=device, backend=backend, trust=trust)
    if as_json:
        print_json(seen.as_dict())
    else:
        say(yaml.safe_dump({k: v for k, v in seen.as_dict().items() if v is not None}, sort_keys=False).rstrip())
    if seen.problem is not None:
        raise ModelError(f"{seen.name} does not run: {seen.problem}")
