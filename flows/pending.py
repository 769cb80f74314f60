"""What the store holds, and what is still to do: the store alone says what is done.

A series is to be ingested where the store has no row for its present version, or where it was left out and now is not
(or the other way round). A scan is to be done where its series is `ok` and has no row under the recipe of its modality,
or one that was made with other masks, or other names of levels, than the manifest gives now, or with levels of another
scan that has been done again since. What was quarantined or failed has a row, so it is done until somebody says
`retry`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb
import pyarrow as pa
from pydantic import BaseModel

from pipeline.longitudinal.changes import all_compared
from pipeline.query.connection import open_views
from pipeline.series import SeriesEntry
from pipeline.store import Store
from schemas.reasons import Reason

_SERIES = "SELECT series_key, version, status, reason_code, modality, shard, shape, spacing_mm FROM series"
_SCANS = "SELECT recipe_id, series_key, status, reason_code, given_id FROM scans"


class Retry(BaseModel, frozen=True):
    """Another attempt at what failed or was quarantined."""

    reason: str | None = None
    """Only what has this reason code; None for all."""

    def wants(self, status: str, reason_code: str | None) -> bool:
        """Whether a row with this status and reason is to be tried again."""
        return status in ("failed", "quarantined") and self.reason in (None, reason_code)


@dataclass(frozen=True)
class KnownSeries:
    """The row of a series that counts."""

    version: str
    """Version that was ingested last."""
    status: str
    """ok, quarantined or excluded."""
    reason_code: str | None
    """Why it is quarantined."""
    modality: str | None
    """DICOM modality."""
    shard: str
    """Whose file has the row."""
    shape: list[int]
    """Voxels along z, y, x; where it is `ok`."""
    spacing_mm: list[float]
    """Along z, y, x; where it is `ok`."""


@dataclass(frozen=True)
class Known:
    """What a store says."""

    series: Mapping[str, KnownSeries] = field(default_factory=dict)
    """By series key."""
    scans: Mapping[tuple[str, str], tuple[str, str | None]] = field(default_factory=dict)
    """By recipe and series key: status and reason code."""
    given: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    """By recipe and series key: the hash of the masks that it was made with."""
    outdated: frozenset[str] = frozenset()
    """Keys of series whose levels come from a scan that has been done again since."""
    is_compared: bool = True
    """Whether the scans of each patient were compared since the last of them was done."""


@dataclass(frozen=True)
class ShardWork:
    """What is to do in one shard."""

    shard: str
    """Its name."""
    entries: tuple[SeriesEntry, ...]
    """Series to ingest; those that turn out well are processed next."""
    scans: tuple[str, ...]
    """Keys of series that are in the store already, whose scan is to be done."""

    def __len__(self) -> int:
        return len(self.entries) + len(self.scans)


def read_known(store: Store) -> Known:
    """What counts now, by the views' own rules."""
    connection, files = open_views(store, footers_kept=False)
    try:
        return replace(known_of(connection), is_compared=all_compared(files.sizes))
    finally:
        connection.close()


def known_of(connection: duckdb.DuckDBPyConnection) -> Known:
    """The same over a connection that is there."""
    series = connection.execute(_SERIES).fetchall()
    scans = connection.execute(_SCANS).fetchall()
    return Known(
        {key: KnownSeries(*rest) for key, *rest in series},
        {(recipe_id, key): (status, reason) for recipe_id, key, status, reason, _ in scans},
        {(recipe_id, key): given for recipe_id, key, _, _, given in scans},
    )


def find_work(
    known: Known, series: Sequence[SeriesEntry], plan: pa.Table, *, recipes: Mapping[str, str], retry: Retry | None
) -> list[ShardWork]:
    """What is to do, shard by shard in the order of the plan.

    Args:
        known: what the store says.
        series: what the source holds.
        plan: `schemas.catalog.PLAN`, every series of `series` in it.
        recipes: modality to recipe_id.
        retry: what to try again, and nothing else.
    """
    shard_of = dict(zip(_pairs(plan), plan["shard"].to_pylist(), strict=True))
    entries: dict[str, list[SeriesEntry]] = defaultdict(list)
    scans: dict[str, list[str]] = defaultdict(list)
    ingested = set()
    for entry in series:
        row = known.series.get(entry.series_key)
        if _to_ingest(entry, row, retry) or (row and _is_lost(entry, row, known, recipes, retry)):
            entries[shard_of[entry.series_key, entry.version]].append(entry)
            ingested.add(entry.series_key)
    given = {entry.series_key: entry.given_id for entry in series}
    for key, row in known.series.items():
        again = retry is None and _rests_on_other(key, row, known, recipes, given)
        if key not in ingested and (again or _to_process(key, row, known, recipes, retry)):
            scans[row.shard].append(key)
    ordered = [*dict.fromkeys(plan["shard"].to_pylist()), *sorted(scans)]
    return [
        ShardWork(shard, tuple(entries[shard]), tuple(sorted(scans[shard])))
        for shard in dict.fromkeys(ordered)
        if shard in entries or shard in scans
    ]


def first_scans(work: Sequence[ShardWork], limit: int | None) -> list[ShardWork]:
    """The first `limit` series and scans of the work; all of it without a limit."""
    if limit is None:
        return list(work)
    chosen = []
    for each in work:
        entries = each.entries[:limit]
        scans = each.scans[: limit - len(entries)]
        limit -= len(entries) + len(scans)
        if entries or scans:
            chosen.append(ShardWork(each.shard, entries, scans))
    return chosen


def count_statuses(known: Known, recipes: Mapping[str, str]) -> Counter[str]:
    """Of the store's series and scans: `done`, `no_model`, and scans by status."""
    counts: Counter[str] = Counter()
    for key, row in known.series.items():
        if row.status != "ok":
            counts[row.status] += 1
        elif row.modality is None or row.modality not in recipes:
            counts["no_model"] += 1
        elif (found := known.scans.get((recipes[row.modality], key))) is not None:
            counts["done"] += 1
            counts[f"scan_{found[0]}"] += 1
        else:
            counts["pending"] += 1
    return counts


def _pairs(plan: pa.Table) -> list[tuple[str, str]]:
    return list(zip(plan["series_key"].to_pylist(), plan["version"].to_pylist(), strict=True))


def _to_ingest(entry: SeriesEntry, row: KnownSeries | None, retry: Retry | None) -> bool:
    if retry is not None:
        return row is not None and entry.excluded_by is None and retry.wants(row.status, row.reason_code)
    if entry.is_absent and row is not None and row.status == "ok":
        return False
    if row is None or row.version != entry.version:
        return True
    return (row.status == "excluded") != (entry.excluded_by is not None)


def _is_lost(
    entry: SeriesEntry, row: KnownSeries, known: Known, recipes: Mapping[str, str], retry: Retry | None
) -> bool:
    """Whether a scan found its voxels damaged in the store, and they are to be read from the source again."""
    found = known.scans.get((recipes.get(row.modality or "", ""), entry.series_key), ("", None))
    is_damaged = found[1] == Reason.STORED_DAMAGED and row.status == "ok" and not entry.is_absent
    return retry is not None and is_damaged and retry.wants(*found)


def _to_process(key: str, row: KnownSeries, known: Known, recipes: Mapping[str, str], retry: Retry | None) -> bool:
    if row.status != "ok" or row.modality is None or row.modality not in recipes:
        return False
    found = known.scans.get((recipes[row.modality], key))
    return found is None if retry is None else found is not None and retry.wants(*found)


def _rests_on_other(
    key: str, row: KnownSeries, known: Known, recipes: Mapping[str, str], given: Mapping[str, str | None]
) -> bool:
    """Whether a scan was done with other masks, names of levels or borrowed levels than there are now."""
    done = (recipes.get(row.modality or "", ""), key)
    given_otherwise = key in given and done in known.given and known.given[done] != given[key]
    return row.status == "ok" and (given_otherwise or key in known.outdated)
