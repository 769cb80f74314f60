"""Write the report of a store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb

from pipeline.evaluate.names import plain
from pipeline.evaluate.part import DROPS
from pipeline.evaluate.summary import annotation
from pipeline.query import connect
from pipeline.report import gather, places
from pipeline.report.checklists.evidence import collect
from pipeline.report.checklists.sheets import checklist_tables
from pipeline.report.evaluated import comparison_tables, evaluation_tables, site_tables
from pipeline.report.figures import performance, tally
from pipeline.report.figures.flow import flow
from pipeline.report.gallery import SIDE_MM, Tile, Wanted, picture
from pipeline.report.gather import Rows, ask
from pipeline.report.page import render
from pipeline.report.places import FALSE, LESIONS, MISSED, evaluated_rows, pictured_rows, question_of
from pipeline.report.tables import shown
from pipeline.store import Store
from schemas.config import CohortConfig
from schemas.spine import OUTSIDE, craniocaudal_rank, level_number

MOST_TILES = {"gallery": 12, "missed": 24, "false_calls": 24}
"""Pictures of each kind, for each recipe; of the gallery also for each type."""
ANCHORS = {"gallery": "lesion", "missed": "missed", "false_calls": "false"}
"""How the anchors of each kind begin on the page."""

MapTiles = Callable[[Callable[[Wanted], Tile], Sequence[Wanted]], Iterable[Tile]]


def write_report(
    store: Store,
    config: CohortConfig,
    path: Path | str,
    *,
    view_command: str = "spinetally view",
    map_tiles: MapTiles = map,
) -> dict[str, Any]:
    """Write one HTML file that needs nothing else.

    Args:
        store: what is reported.
        config: the cohort file, for what it says of the reference standard.
        path: of the file.
        view_command: what shows a scan, before its key; to be copied from each picture.
        map_tiles: applies a function to many places; `map`, or one that spreads them out.

    Returns:
        path, bytes, and how many pictures there are.

    Raises:
        StoreError: there is no store.
        ServiceError: it cannot be read.
    """
    connection = connect(store)
    try:
        parts = _parts(store, config, connection)
        wanted = {
            "gallery": places.places(connection, LESIONS, MOST_TILES["gallery"]),
            "missed": places.places(connection, MISSED, MOST_TILES["missed"]),
            "false_calls": places.places(connection, FALSE, MOST_TILES["false_calls"]),
        }
    finally:
        connection.close()
    tiles = {name: list(map_tiles(partial(picture, store=store), found)) for name, found in wanted.items()}
    pictured = pictured_rows({ANCHORS[name]: found for name, found in tiles.items()})
    asked = {name: [(tile, question_of(tile.row)) for tile in found] for name, found in tiles.items()}
    text = render(**parts, **asked, pictured=pictured, view_command=view_command)
    Path(path).write_text(text, encoding="utf-8")
    return {"path": str(path), "bytes": len(text.encode()), "pictures": sum(map(len, tiles.values()))}


def _parts(store: Store, config: CohortConfig, connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    evaluated = evaluated_rows(connection)
    models, recipes = gather.recipe_table(connection)
    sections = [("flow", "Who is in it"), ("acquisition", "Acquisition"), ("tallies", "Tallies")]
    sections += [("evaluation", "Evaluation")] if evaluated["metrics"] else []
    sections += [("gallery", "Gallery"), ("cost", "Time and cost"), ("models", "Models"), ("checklists", "Checklists")]
    (counts,) = ask(connection, gather.COUNTS)
    steps, scans = ask(connection, gather.FLOW), ask(connection, gather.SCAN_FLOW)
    return {
        "cohort": store.cohort,
        "version": version("spinetally"),
        "made_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "counts": counts,
        "sections": sections,
        "drops": _drops(evaluated["metrics"]),
        "flow_drawn": flow(steps, scans),
        "flow": gather.flow_tables(steps, scans),
        "failures": gather.as_table(
            "Without a result", ask(connection, gather.FAILURES), note="And what to do.", sql=gather.FAILURES.strip()
        ),
        "acquisition": gather.acquisition_table(connection),
        "tallies": [_tally(connection, recipe) for recipe in recipes],
        "evaluations": _evaluations(evaluated),
        "annotation": annotation(config),
        "side": f"{SIDE_MM:g}",
        "cost": gather.cost_table(connection, config.cost),
        "models": models,
        "software": gather.as_table("Software", ask(connection, gather.SOFTWARE), sql=gather.SOFTWARE.strip()),
        "cards": _cards(recipes),
        "checklists": checklist_tables(collect(connection, config)),
    }


def _tally(connection: duckdb.DuckDBPyConnection, recipe: dict[str, Any]) -> dict[str, Any]:
    recipe_id = recipe["recipe_id"]
    levels = sorted(ask(connection, gather.LEVELS, recipe_id), key=lambda row: _place(row["level"]))
    lesions = ask(connection, gather.LESIONS, recipe_id)
    studies = ask(connection, gather.BURDEN, recipe_id)
    changes = [row for row in ask(connection, gather.CHANGES) if row["recipe_id"] == recipe_id]
    affected = sum(bool(row["n_lesions"]) for row in studies)
    without_name = sum(str(row["level"] or "").startswith("V") for row in lesions)
    unnamed = ""
    if without_name:
        unnamed = (
            f" {shown(without_name)} are in vertebrae that were told apart, not named (V1, V2, ...): in the table only."
        )
    return {
        "recipe_id": recipe_id,
        "modality": recipe["modality"],
        "summary": f"{shown(len(lesions))} lesions in {shown(affected)} of {shown(len(studies))} studies.{unnamed}",
        "spine": tally.spine(levels),
        "volumes": tally.volumes(lesions),
        "burden": tally.burden(studies),
        "changes": tally.changes(changes),
        "levels": gather.as_table("Levels", levels, sql=gather.LEVELS.strip().replace("?", f"'{recipe_id}'")),
    }


def _place(level: str) -> int:
    """From head to foot; lesions outside all vertebrae last."""
    return 1000 if level == OUTSIDE else craniocaudal_rank(level_number(level))


def _drops(metrics: Rows) -> Rows:
    """What fell from the internal to the external part, with the figures of both."""
    found = []
    for row in metrics:
        kind = (row["unit"], row["metric"].removeprefix("drop_"))
        if row["metric"].startswith("drop_") and row["value"] is not None:
            ends = {
                m["split"]: m["value"]
                for m in metrics
                if (m["recipe_id"], m["unit"], m["metric"], m["subgroup"]) == (row["recipe_id"], *kind, "all")
            }
            found.append(row | {"what": plain(kind[1]), "ends": ends, "kind": kind})
    return sorted(found, key=lambda row: (row["recipe_id"], DROPS.index(row["kind"])))


def _evaluations(evaluated: dict[str, Rows]) -> list[dict[str, Any]]:
    found = []
    for recipe_id in sorted({m["recipe_id"] for m in evaluated["metrics"]}):
        metrics, sites, curves, comparisons = (
            [row for row in evaluated[name] if row["recipe_id"] == recipe_id]
            for name in ("metrics", "site_metrics", "curves", "comparisons")
        )
        kinds = sorted({(s["unit"], s["metric"]) for s in sites})
        forests = [performance.forest(sites, unit=unit, metric=metric) for unit, metric in kinds]
        found.append(
            {
                "recipe_id": recipe_id,
                "scans": _scans_said(row for row in evaluated["scans"] if row["recipe_id"] == recipe_id)
                + _threshold_said(row for row in evaluated["thresholds"] if row["recipe_id"] == recipe_id),
                "stale": sum(row["n"] for row in evaluated["stale"] if row["recipe_id"] == recipe_id),
                "froc": performance.froc(curves),
                "roc_patient": performance.roc(curves, "patient"),
                "roc_vertebra": performance.roc(curves, "vertebra"),
                "calibration": performance.calibration(curves),
                "forests": [forest for forest in forests if forest],
                "tables": [*evaluation_tables(metrics), *site_tables(sites), *comparison_tables(comparisons)],
            }
        )
    return found


def _scans_said(rows: Iterable[dict[str, Any]]) -> str:
    """What became of the scans with a reference, and how many results have none."""
    counts = {row["status"]: row["n"] for row in rows}
    alone, done = counts.pop(places.ALONE, 0), counts.pop("ok", 0)
    said = f"{shown(done)} scans with a reference have a result."
    counts = {("not processed yet" if status == "missing" else status): n for status, n in counts.items()}
    if counts:
        left = ", ".join(f"{shown(n)} {status}" for status, n in sorted(counts.items()))
        said += f" Without a result: {left}."
    return said + (f" Studies with a result but no reference, in no figure: {shown(alone)}." if alone else "")


def _threshold_said(rows: Iterable[dict[str, Any]]) -> str:
    """At which score a candidate is a lesion."""
    found = [row for row in rows if row["low"] is not None]
    if not found:
        return ""
    low, high = found[0]["low"], found[0]["high"]
    return f" Lesions are candidates with a score of {low:g} and more" + (f", up to {high:g}." if high > low else ".")


def _cards(recipes: Rows) -> list[tuple[str, str]]:
    """Cards of the built-in models that the recipes name; those of others are stated in the table."""
    cards: dict[str, str] = {}
    for recipe in recipes:
        for found in (json.loads(recipe["document"]).get("models") or {}).values():
            for model in found:
                spec = model.get("spec") or {}
                name = str(spec.get("name", ""))
                if spec.get("format") == "builtin":
                    folder = files("pipeline.models.builtin") / name.removeprefix("builtin/").replace("-", "_")
                    card = folder / "CARD.md"
                    if card.is_file():
                        cards[name] = card.read_text()
    return sorted(cards.items())
