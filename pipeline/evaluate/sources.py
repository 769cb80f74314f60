"""Where the reference standard of a cohort lies: masks that the manifest names, or a table of points."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError, SourceError
from pipeline.store import open_filesystem, service_errors
from schemas.evaluation import SPLITS

Point = tuple[float, float, float, float]
"""x, y, z in LPS and a radius, all in mm."""


@dataclass(frozen=True)
class TruthSource:
    """The reference standard of one series, by one reader."""

    series_key: str
    """The series it is of."""
    study_key: str
    patient_key: str
    reader: str = "1"
    """Whose annotation."""
    uri: str | None = None
    """A mask; never shown, for paths carry names."""
    points: tuple[Point, ...] | None = None
    """Points, in place of a mask."""
    split: str | None = None
    """train, tune, internal or external."""


@dataclass(frozen=True)
class Assignment:
    """To which part of the cohort a series belongs."""

    series_key: str
    patient_key: str
    split: str | None


def assignments(clinical: pa.Table, split_column: str) -> list[Assignment]:
    """The part of each series, from the manifest's column; empty where there is no such column.

    Raises:
        ConfigError: a part has another name than train, tune, internal, external.
    """
    if split_column not in clinical.column_names:
        return []
    found = []
    for row in clinical.select(["series_key", "patient_key", split_column]).to_pylist():
        split = str(row[split_column]).strip().lower() if row[split_column] is not None else None
        if split and split not in SPLITS:
            raise ConfigError(
                f"column {split_column!r} of the manifest holds {split!r}: {', '.join(SPLITS)} are allowed"
            )
        found.append(Assignment(row["series_key"], row["patient_key"], split or None))
    return found


def truth_sources(
    series: Sequence[Any],
    parts: Sequence[Assignment] = (),
    *,
    reader: str = "1",
    points: Mapping[str, Sequence[Point]] | None = None,
) -> list[TruthSource]:
    """The reference standard of every series that has one.

    Args:
        series: entries of the index (`pipeline.series.SeriesEntry`), with `masks.truth_uri`.
        parts: to which part each series belongs.
        reader: whose annotation it is.
        points: series key to points; a series with a mask needs none.
    """
    split = {part.series_key: part.split for part in parts}
    return [
        TruthSource(
            series_key=entry.series_key,
            study_key=entry.study_key,
            patient_key=entry.patient_key,
            reader=reader,
            uri=entry.masks.truth_uri,
            points=None if entry.masks.truth_uri else tuple((points or {})[entry.series_key]),
            split=split.get(entry.series_key),
        )
        for entry in series
        if entry.masks.truth_uri or entry.series_key in (points or {})
    ]


def read_points(
    uri: str, crosswalk: pa.Table, *, storage_options: dict[str, Any] | None = None
) -> dict[str, list[Point]]:
    """Points of a CSV by series key.

    Args:
        uri: CSV with `patient_id` or `series` (a SeriesInstanceUID or the file's name in a NIfTI cohort), `x`, `y`, `z`
            in LPS mm and `radius_mm`. A row with empty coordinates says that the scan was read and holds no lesion.
        crosswalk: keys and original identifiers, as the index makes it.
        storage_options: for fsspec.

    Raises:
        SourceError: it cannot be read, or a row names nobody of the cohort, or a patient with several series.
    """
    filesystem, path = open_filesystem(uri, storage_options or {})
    with service_errors("reading the points of the reference standard"):
        try:
            text = filesystem.cat_file(path).decode("utf-8-sig")
        except FileNotFoundError:
            raise SourceError("the table of points (`truth.points`) is not there: give its address") from None
    rows = list(csv.DictReader(io.StringIO(text)))
    by_name = _series_by_name(crosswalk)
    found: dict[str, list[Point]] = defaultdict(list)
    for number, row in enumerate(rows, 1):
        key = _series_of(row, by_name, number)
        points = found[key]
        if any((row.get(name) or "").strip() for name in ("x", "y", "z")):
            points.append(_point(row, number))
    return dict(found)


def _series_by_name(crosswalk: pa.Table) -> dict[tuple[str, str], set[str]]:
    by_name: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in crosswalk.select(["series_key", "patient_id", "series"]).to_pylist():
        by_name["patient_id", str(row["patient_id"])].add(row["series_key"])
        by_name["series", str(row["series"])].add(row["series_key"])
    return by_name


def _series_of(row: Mapping[str, str | None], by_name: dict[tuple[str, str], set[str]], number: int) -> str:
    column = "series" if row.get("series") else "patient_id"
    keys = by_name.get((column, str(row.get(column) or "").strip()), set())
    if len(keys) != 1:
        problem = "names nobody of this cohort" if not keys else f"fits {len(keys)} series"
        raise SourceError(
            f"row {number} of the points {problem}: give `series` (its UID), or a `patient_id` of one series"
        )
    return next(iter(keys))


def _point(row: Mapping[str, str | None], number: int) -> Point:
    try:
        x, y, z, radius = (float(str(row[name])) for name in ("x", "y", "z", "radius_mm"))
    except (KeyError, ValueError):
        raise SourceError(f"row {number} of the points lacks x, y, z or radius_mm as numbers, in mm") from None
    if radius <= 0:
        raise SourceError(f"row {number} of the points has a radius of {radius:g} mm: above 0 is allowed")
    return x, y, z, radius


def source_id(source: TruthSource, *, storage_options: dict[str, Any] | None = None, version: str | None = None) -> str:
    """A hash that changes when the annotation or its scan does, made without opening a file.

    Raises:
        ServiceError: the object storage does not answer.
    """
    said: dict[str, Any] = {"points": source.points, "split": source.split, "scan": version}
    if source.uri is not None:
        filesystem, path = open_filesystem(source.uri, storage_options or {})
        with service_errors("looking at the reference standard"):
            try:
                info = filesystem.info(path)
                said |= {"size": info.get("size"), "stamp": str(info.get("ETag") or info.get("mtime"))}
            except FileNotFoundError:
                said |= {"size": None}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]
