"""`spinetally models`: what models there are, what one expects, whether it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from flows.cli.console import JsonOption, print_json, print_table, say
from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.models.check import ModelCheck

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
    """Run a model on a small drawn scan and say what it saw; exit code 2 where it does not run."""
    from pipeline.models.check import check_model

    seen = check_model(model, device=device, backend=backend, trust=trust)
    if as_json:
        print_json(seen.as_dict())
    else:
        _say_what_was_seen(seen)
    if seen.problem is not None:
        raise ModelError(f"{seen.name} does not run: {seen.problem}")


def _say_what_was_seen(seen: ModelCheck) -> None:
    say(f"{seen.name}: {seen.task} on a drawn {seen.modality} of {seen.scan}")
    say(
        f"on {seen.device}" + (f" by {seen.backend}" if seen.backend != "none" else "") + f"; digest {seen.digest[:12]}"
    )
    if seen.problem is not None:
        return
    if seen.vertebrae is not None:
        rows = [[one.drawn, one.seen_as or "nothing", f"{one.dice:.2f}"] for one in seen.vertebrae]
        print_table(f"Levels (names rest on: {seen.naming_anchor or 'nothing'})", ["drawn", "seen as", "Dice"], rows,
                    numbers=1)  # fmt: skip
    if seen.lesions is not None:
        score = "" if seen.score_max is None else f", the strongest with a score of {seen.score_max:.2f}"
        hit = "found" if seen.lesion_found else "NOT found"
        say(f"Lesions: {seen.lesions} marked{score}; the one that was drawn was {hit}; {seen.candidates} candidates")
    if seen.classes is not None:
        say("Classes of the drawn lesion: " + ", ".join(f"{name} {share:.2f}" for name, share in seen.classes.items()))
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in seen.seconds.items())
    memory = "" if seen.peak_rss_mb is None else f"; peak memory {seen.peak_rss_mb:,.0f} MiB"
    say(f"It runs: {seconds}{memory}. Whether it is any good, only scans with truth can say (`spinetally evaluate`).")
