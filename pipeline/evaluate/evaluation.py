"""The whole of an evaluation: references, comparisons, figures, and their tables in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RequestError
from pipeline.evaluate.attributes import check_subgroups, difference_figures, scan_attributes, scan_numbers
from pipeline.evaluate.cohort import Cohort, Texts, build_cohort
from pipeline.evaluate.compare import compare_recipes
from pipeline.evaluate.figures import ALL, Figure
from pipeline.evaluate.part import RecipeResult, drops, evaluate_part
from pipeline.evaluate.readers import reader_figures
from pipeline.evaluate.sites import site_estimates, site_rows
from pipeline.evaluate.sources import Assignment, TruthSource
from pipeline.evaluate.splits import check_splits
from pipeline.evaluate.summary import summarise
from pipeline.evaluate.tables import read_compared, write_rows
from pipeline.evaluate.update import MapScans, Place, update_comparisons, update_references
from pipeline.query import connect
from pipeline.store import Store, new_attempt
from schemas.config import CohortConfig
from schemas.evaluation import CURVES, METRICS, SITE_METRICS, SPLITS, Evaluation


def evaluate_store(
    store: Store,
    config: CohortConfig,
    *,
    truths: Sequence[TruthSource],
    parts: Sequence[Assignment] = (),
    recipe_ids: Sequence[str] | None = None,
    settings: Evaluation | None = None,
    map_scans: MapScans[Any, Any] = map,
) -> dict[str, Any]:
    """Hold the results of a store against the reference standard, write the tables, and give the summary.

    Args:
        store: holds results; gets the tables under `truth/`.
        config: the cohort file.
        truths: every annotation (`pipeline.evaluate.from_cohort`).
        parts: to which part of the cohort each series belongs.
        recipe_ids: recipes to evaluate; None for all with results.
        settings: of the evaluation; None for the cohort file's.
        map_scans: applies a function to many scans; `map`, or one that spreads them over workers.

    Raises:
        RequestError: there is no reference standard, or no result; the parts have patients or volumes in common; a
            subgroup is no column.
        ServiceError: the store does not answer.
    """
    settings = settings or config.evaluation
    if not truths:
        raise RequestError(
            "there is no reference standard: name masks in the manifest's `truth_uri`, or points in `truth.points`"
        )
    place = Place(store, new_attempt(), config.storage_options, map_scans)
    connection = connect(store)
    try:
        check_subgroups(connection, settings.subgroups)
        check_splits(parts, _digests(connection))
        references = update_references(truths, connection, place)
        recipes = _recipes(connection, recipe_ids)
        results = [_evaluate(recipe, references, connection, place, settings) for recipe in recipes]
    finally:
        connection.close()
    compared = {key for result in results for key in result.whole.scans.series}
    others = _readers(references, compared, store, settings)
    for result in results:
        write_result(store, result, place.attempt, extra=others)
    return summarise(results, references, config, attempt=place.attempt, readers=others)


def evaluate_cohort(
    cohort: Cohort, settings: Evaluation, *, attributes: dict[str, Texts] | None = None
) -> RecipeResult:
    """Every figure of a cohort, from its arrays alone; the parts of a cohort are never put together."""
    named = [split for split in SPLITS if (cohort.scans.split == split).any()]
    chosen = {name: cohort.scans.split == name for name in named} or {
        ALL: np.ones(cohort.scans.series.size, dtype=bool)
    }
    given = attributes or {}
    parts = {
        name: evaluate_part(
            cohort.of_scans(mask), settings, name=name, attributes={n: values[mask] for n, values in given.items()}
        )
        for name, mask in chosen.items()
    }
    figures = [figure for part in parts.values() for figure in part.figures]
    if "internal" in parts and "external" in parts:
        figures += drops(parts["internal"], parts["external"])
    return RecipeResult(
        recipe_id="",
        parts=parts,
        figures=figures,
        points=[point for part in parts.values() for point in part.points],
        sites=[e for name, part in parts.items() for e in site_estimates(part.cohort, settings, split=name)],
        whole=cohort,
    )


def compare_store(store: Store, first: str, second: str, *, settings: Evaluation | None = None) -> list[dict[str, Any]]:
    """Paired differences of two evaluated recipes, second less first, part by part; rows for the view `comparisons`.

    Raises:
        RequestError: a recipe was not evaluated, or they share no scan.
    """
    cohorts = []
    for recipe_id in (first, second):
        compared = read_compared(store, recipe_id)
        if compared[0].num_rows == 0:
            raise RequestError(
                f"recipe {recipe_id} has not been evaluated in this store: run `spinetally evaluate` first"
            )
        cohorts.append(build_cohort(*compared))
    attempt = new_attempt()
    found = _compare_parts(cohorts[0], cohorts[1], settings or Evaluation())
    rows = [figure.row(recipe_id=second, attempt=attempt) | {"stratum": first} for figure in found]
    write_rows(store, f"comparisons/{second}-{attempt}.parquet", rows, METRICS)
    return rows


def _compare_parts(first: Cohort, second: Cohort, settings: Evaluation) -> list[Figure]:
    """Part by part: a difference in patients that a model was made from is no difference in others."""
    named = [split for split in SPLITS if (first.scans.split == split).any() and (second.scans.split == split).any()]
    if not named:
        return compare_recipes(first, second, settings)
    return [
        replace(figure, split=split)
        for split in named
        for figure in compare_recipes(
            first.of_scans(first.scans.split == split), second.of_scans(second.scans.split == split), settings
        )
    ]


def write_result(store: Store, result: RecipeResult, attempt: str, *, extra: Sequence[Figure] = ()) -> None:
    """Add the tables of one recipe to the store."""
    keys = {"recipe_id": result.recipe_id, "attempt": attempt}
    name = f"{result.recipe_id}-{attempt}.parquet"
    write_rows(store, f"curves/{name}", [point.row(**keys) for point in result.points], CURVES)
    write_rows(store, f"site_metrics/{name}", site_rows(result.sites, **keys), SITE_METRICS)
    write_rows(store, f"metrics/{name}", [f.row(**keys) for f in [*result.figures, *extra]], METRICS)


def _evaluate(
    recipe_id: str, references: pa.Table, connection: duckdb.DuckDBPyConnection, place: Place, settings: Evaluation
) -> RecipeResult:
    update_comparisons(recipe_id, references, settings.rule, connection, place)
    scans, matches, levels = read_compared(place.store, recipe_id)
    wanted = references.filter(pc.equal(references["reader"], "1"))["series_key"]
    known = pc.is_in(scans["series_key"], value_set=wanted.combine_chunks())
    cohort = build_cohort(scans.filter(known), *(rows.filter(_among(rows, wanted)) for rows in (matches, levels)))
    series = cohort.scans.series.tolist()
    result = evaluate_cohort(cohort, settings, attributes=scan_attributes(connection, series, settings.subgroups))
    result = _with_differences(result, recipe_id, connection, settings)
    return replace(result, n_without_reference=_without_reference(recipe_id, scans["study_key"], connection))


_UNREFERENCED = """
SELECT count(DISTINCT study_key) FROM scans ANTI JOIN wanted_studies USING (study_key)
WHERE recipe_id = ? AND status = 'ok' AND is_primary"""


def _without_reference(recipe_id: str, studies: pa.ChunkedArray, connection: duckdb.DuckDBPyConnection) -> int:
    connection.register("wanted_studies", pa.table({"study_key": studies}))
    found = connection.execute(_UNREFERENCED, [recipe_id]).fetchall()
    connection.unregister("wanted_studies")
    return int(found[0][0])


def _among(rows: pa.Table, wanted: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.is_in(rows["series_key"], value_set=wanted.combine_chunks())


def _with_differences(
    result: RecipeResult, recipe_id: str, connection: duckdb.DuckDBPyConnection, settings: Evaluation
) -> RecipeResult:
    cohorts = {name: part.cohort for name, part in result.parts.items()}
    series = {name: cohort.scans.series.tolist() for name, cohort in cohorts.items()}
    categories = {name: scan_attributes(connection, keys, settings.subgroups) for name, keys in series.items()}
    numbers = {name: scan_numbers(connection, keys) for name, keys in series.items()}
    figures = [*result.figures, *difference_figures(cohorts, categories, numbers)]
    return RecipeResult(recipe_id, result.parts, figures, result.points, result.sites, result.whole)


def _digests(connection: duckdb.DuckDBPyConnection) -> dict[str, str | None]:
    return dict(connection.execute("SELECT series_key, voxels_sha256 FROM series").fetchall())


def _recipes(connection: duckdb.DuckDBPyConnection, wanted: Sequence[str] | None) -> list[str]:
    known = [row[0] for row in connection.execute("SELECT DISTINCT recipe_id FROM scans ORDER BY 1").fetchall()]
    if wanted is not None and (missing := sorted(set(wanted) - set(known))):
        raise RequestError(
            f"recipe {missing[0]} has no result in this store; those that have: {', '.join(known) or 'none'}"
        )
    if not known:
        raise RequestError("the store holds no result to evaluate: run `spinetally run` first")
    return known if wanted is None else list(wanted)


def _readers(references: pa.Table, compared: set[str], store: Store, settings: Evaluation) -> list[Figure]:
    """Agreement of the first reader with each other, over the series that stand for their studies."""
    wanted = pa.array(sorted(compared), pa.string())
    references = references.filter(pc.is_in(references["series_key"], value_set=wanted))
    readers = sorted(set(references["reader"].to_pylist()))
    return [
        figure
        for second in readers[1:]
        for figure in reader_figures(references, store, settings, first=readers[0], second=second)
    ]
