"""Bring references and comparisons of a store up to date; what is there and unchanged is not made again.

References are keyed by series and reader, comparisons by recipe and series. Rows are added in files of their own, and
the newest attempt of each key counts.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from pipeline.evaluate.pairs import Comparison, PairRequest, compare_scan
from pipeline.evaluate.reference import ReferenceRequest, read_reference
from pipeline.evaluate.sources import TruthSource, source_id
from pipeline.evaluate.tables import read_compared, read_references, write_rows
from pipeline.store import Store
from schemas.config import TypeRule
from schemas.evaluation import LEVELS, MATCH_VERSION, MATCHES, REFERENCES, SCANS, MatchRule

FIRST_READER = "1"
"""Whose annotation is the reference standard; further readers are held against it (`readers`)."""

Row = dict[str, Any]
A = TypeVar("A")
B = TypeVar("B")

MapScans = Callable[[Callable[[A], B], Sequence[A]], Iterable[B]]
"""Applies a function to many items and gives the answers in their order: `map`, or one that spreads them out."""

_OF_SERIES = (
    "shape spacing_mm origin_mm direction volume_uri version modality intensity_unit suv_factor "
    "series_uid_key frame_of_reference_key"
).split()


@dataclass(frozen=True)
class Place:
    """Where and how an evaluation works."""

    store: Store
    attempt: str
    """Of this evaluation."""
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """For masks that lie elsewhere."""
    map_scans: MapScans[Any, Any] = map
    """Spreads scans out."""


def update_references(sources: Sequence[TruthSource], connection: duckdb.DuckDBPyConnection, place: Place) -> pa.Table:
    """Read every annotation that is new or changed; the references that count, `schemas.evaluation.REFERENCES`."""
    have = {(row["series_key"], row["reader"]): row["source_id"] for row in read_references(place.store).to_pylist()}
    series = _catalog_rows(connection, [source.series_key for source in sources])
    requests = []
    for source in sources:
        row = series.get(source.series_key)
        fresh = source_id(source, storage_options=place.storage_options, version=row["version"] if row else None)
        if have.get((source.series_key, source.reader)) != fresh:
            requests.append(ReferenceRequest(source, fresh, row if row and row["status"] == "ok" else None))
    if requests:
        read = partial(read_reference, store=place.store, attempt=place.attempt, storage_options=place.storage_options)
        rows = list(place.map_scans(read, requests))
        write_rows(place.store, f"references/{place.attempt}.parquet", rows, REFERENCES)
    wanted = {(source.series_key, source.reader) for source in sources}
    current = read_references(place.store)
    names = zip(current["series_key"].to_pylist(), current["reader"].to_pylist(), strict=True)
    return current.filter(pa.array([name in wanted for name in names], pa.bool_()))


def _catalog_rows(connection: duckdb.DuckDBPyConnection, keys: Sequence[str]) -> dict[str, Row]:
    wanted = pa.table({"series_key": pa.array(sorted(set(keys)), pa.string())})
    connection.register("wanted_series", wanted)
    columns = ", ".join(["series_key", "status", *_OF_SERIES])
    sql = f"SELECT {columns} FROM series JOIN wanted_series USING (series_key)"  # noqa: S608
    found = _rows(connection, sql)
    connection.unregister("wanted_series")
    return {row["series_key"]: row for row in found}


def update_comparisons(
    recipe_id: str, references: pa.Table, rule: MatchRule, connection: duckdb.DuckDBPyConnection, place: Place
) -> None:
    """Compare every scan of a recipe whose result or reference is new with its reference."""
    rows = scan_rows(recipe_id, references, rule, connection, attempt=place.attempt)
    known = read_compared(place.store, recipe_id)[0]
    seen = {tuple(row[name] for name in _SAME) for row in known.select(list(_SAME)).to_pylist()}
    fresh = [row for row in rows if tuple(row[name] for name in _SAME) not in seen]
    if not fresh:
        return
    by_series = {row["series_key"]: row for row in references.to_pylist() if row["reader"] == FIRST_READER}
    compared = [row for row in fresh if row["status"] == "ok" and by_series[row["series_key"]]["status"] == "ok"]
    requests = list(_requests(compared, recipe_id, by_series, rule, connection))
    answers = place.map_scans(partial(compare_scan, store=place.store), requests)
    matches: list[Row] = []
    levels: list[Row] = []
    for row, answer in zip(compared, answers, strict=True):
        _count(row, answer)
        keys = {name: row[name] for name in _KEYS}
        matches += [keys | pair for pair in answer.pairs]
        levels += [keys | level for level in answer.levels]
    name = f"{recipe_id}-{place.attempt}.parquet"
    write_rows(place.store, f"matches/{name}", matches, MATCHES)
    write_rows(place.store, f"levels/{name}", levels, LEVELS)
    write_rows(place.store, f"scans/{name}", fresh, SCANS)  # the commit


_KEYS = ("recipe_id", "series_key", "study_key", "patient_key", "attempt")
_SAME = ("series_key", "result_attempt", "reference_attempt", "match_version", "rule", "status")


def scan_rows(
    recipe_id: str, references: pa.Table, rule: MatchRule, connection: duckdb.DuckDBPyConnection, *, attempt: str
) -> list[Row]:
    """A row of `schemas.evaluation.SCANS` for each study with a reference: one series stands for it.

    That is the primary series where it has a reference, else the first that has one: eight reconstructions of one scan
    are one scan.
    """
    connection.register("reference", references.drop_columns(["points_mm"]))
    values = {"recipe": recipe_id, "attempt": attempt, "version": MATCH_VERSION, "rule": rule.name}
    rows = _rows(connection, _SCAN_ROWS, values)
    connection.unregister("reference")
    return rows


def _rows(connection: duckdb.DuckDBPyConnection, sql: str, values: object = None) -> list[Row]:
    return [dict(row) for row in connection.sql(sql, params=values).to_arrow_table().to_pylist()]


_SCAN_ROWS = """
WITH of_recipe AS (SELECT recipe_id, modality FROM recipes WHERE recipe_id = $recipe),
with_truth AS (
    SELECT r.*, s.modality, s.site, s.status AS series_status, s.reason_code AS series_reason,
        row_number() OVER (PARTITION BY r.study_key ORDER BY s.is_primary DESC NULLS LAST, r.series_key) AS nth
    FROM reference r LEFT JOIN series s USING (series_key), of_recipe
    WHERE r.reader = '1' AND (s.modality = of_recipe.modality OR s.modality IS NULL)
)
SELECT $recipe AS recipe_id, t.series_key, t.study_key, t.patient_key, $attempt AS attempt,
    $version::INTEGER AS match_version, $rule AS rule, n.attempt AS result_attempt, t.attempt AS reference_attempt,
    t.modality, t.site, t.split,
    CASE WHEN n.status IS NOT NULL THEN n.status
         WHEN t.series_status IN ('quarantined', 'excluded') THEN t.series_status
         ELSE 'missing' END AS status,
    coalesce(n.reason_code, t.series_reason) AS reason_code,
    t.n_lesions AS n_truth, t.n_outside, n.n_lesions, t.volume_mm3 AS truth_volume_mm3, n.lesion_volume_mm3
FROM with_truth t LEFT JOIN scans n ON n.series_key = t.series_key AND n.recipe_id = $recipe
WHERE t.nth = 1
ORDER BY t.series_key
"""


def _requests(
    rows: Sequence[Row],
    recipe_id: str,
    references: dict[str, Row],
    rule: MatchRule,
    connection: duckdb.DuckDBPyConnection,
) -> Iterator[PairRequest]:
    series = _catalog_rows(connection, [row["series_key"] for row in rows])
    nested = {name: _nested(connection, recipe_id, name, [row["series_key"] for row in rows]) for name in _LISTS}
    uris = dict(
        connection.execute("SELECT series_key, labels_uri FROM scans WHERE recipe_id = ?", [recipe_id]).fetchall()
    )
    type_rule = _type_rule(connection, recipe_id)
    for row in rows:
        key = row["series_key"]
        result = {"labels_uri": uris.get(key)} | {name: nested[name].get(key, []) for name in _LISTS}
        yield PairRequest(series[key], result, references[key], rule, type_rule)


_LISTS = {
    "lesions": "lesion_id centroid_mm bbox n_voxels volume_mm3 area_mm2 lesion_type level score_max",
    "candidates": "centroid_mm bbox volume_mm3 level score_max why_not",
    "vertebrae": "level assessed",
}


def _nested(
    connection: duckdb.DuckDBPyConnection, recipe_id: str, name: str, keys: Sequence[str]
) -> dict[str, list[Row]]:
    columns = ", ".join(["series_key", *_LISTS[name].split()])
    connection.register("wanted_series", pa.table({"series_key": pa.array(sorted(set(keys)), pa.string())}))
    sql = f"SELECT {columns} FROM {name} JOIN wanted_series USING (series_key) WHERE recipe_id = ?"  # noqa: S608
    found = _rows(connection, sql, [recipe_id])
    connection.unregister("wanted_series")
    rows: dict[str, list[Row]] = defaultdict(list)
    for row in found:
        rows[row["series_key"]].append(row)
    return rows


def _type_rule(connection: duckdb.DuckDBPyConnection, recipe_id: str) -> TypeRule:
    found = connection.execute("SELECT document FROM recipes WHERE recipe_id = ?", [recipe_id]).fetchall()
    use = json.loads(found[0][0]).get("use", {}) if found else {}
    return TypeRule.model_validate(use.get("type_rule") or {})


def _count(row: Row, answer: Comparison) -> None:
    """Complete a scan's row by what its comparison found."""
    candidates = {pair["candidate_id"]: pair for pair in answer.pairs if pair.get("candidate_id") is not None}
    scores = [pair["score"] for pair in candidates.values()]
    row["n_candidates"] = sum(not pair["is_lesion"] for pair in candidates.values())
    row["score_max"] = None if None in scores else max(scores, default=0.0)
