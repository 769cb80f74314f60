"""Series to shards: append-only, and the same for all who plan the same listing.

Members are taken in a fixed order (patient, study, series). A shard holds at most 32 series and a bounded number of
voxels; a patient stays together while it fits. A shard is named after its members, so two planners need no lock, and
what is planned never moves: what is new fills new shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby

import pyarrow as pa

from pipeline.series import SeriesEntry
from schemas.catalog import PLAN
from schemas.columns import table

MAX_SERIES = 32
MAX_VOXELS = 4_000_000_000
"""About 25 chest CTs; 8 GB of int16."""


def make_plan(
    series: Sequence[SeriesEntry],
    known: pa.Table | None,
    *,
    max_series: int = MAX_SERIES,
    max_voxels: int = MAX_VOXELS,
) -> pa.Table:
    """Rows of `schemas.catalog.PLAN` to add for the series and versions that `known` lacks; empty where none is new."""
    planned = _planned(known)
    fresh = {(s.series_key, s.version): s for s in series if (s.series_key, s.version) not in planned}
    ordered = sorted(fresh.values(), key=lambda s: (s.patient_key, s.study_key, s.series_key, s.version))
    rows = []
    for members in _shards(ordered, max_series, max_voxels):
        shard = shard_name(members)
        rows += [_row(shard, position, entry) for position, entry in enumerate(members)]
    return table(rows, PLAN)


def plan_id(plan: pa.Table) -> str:
    """Name of a plan by its content."""
    shards = sorted(set(plan["shard"].to_pylist()))
    return hashlib.sha256("\n".join(shards).encode()).hexdigest()[:16]


def shard_name(members: Sequence[SeriesEntry]) -> str:
    """Name of a shard: a hash of its members' keys and versions."""
    text = "\n".join(f"{m.series_key} {m.version}" for m in members)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _planned(known: pa.Table | None) -> set[tuple[str, str]]:
    if known is None:
        return set()
    return set(zip(known["series_key"].to_pylist(), known["version"].to_pylist(), strict=True))


def _shards(ordered: Sequence[SeriesEntry], max_series: int, max_voxels: int) -> Iterator[list[SeriesEntry]]:
    shard: list[SeriesEntry] = []

    def fits(more: Sequence[SeriesEntry]) -> bool:
        voxels = sum(m.n_voxels for m in shard) + sum(m.n_voxels for m in more)
        return len(shard) + len(more) <= max_series and voxels <= max_voxels

    for _, group in groupby(ordered, key=lambda s: s.patient_key):
        patient = list(group)
        if shard and not fits(patient):
            yield shard
            shard = []
        for entry in patient:
            if shard and not fits([entry]):
                yield shard
                shard = []
            shard.append(entry)
    if shard:
        yield shard


def _row(shard: str, position: int, entry: SeriesEntry) -> dict[str, object]:
    return {
        "shard": shard,
        "position": position,
        "series_key": entry.series_key,
        "study_key": entry.study_key,
        "patient_key": entry.patient_key,
        "version": entry.version,
        "modality": entry.modality,
        "n_voxels": entry.n_voxels,
        "source_bytes": entry.source_bytes,
    }
