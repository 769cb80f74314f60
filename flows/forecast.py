"""What a run would do: what `run --dry-run` says."""

from __future__ import annotations

from typing import Any

from flows.cluster import check_description
from flows.memory import largest_need, plan_capacity
from flows.prepare import Outlook
from flows.shards import expected_scans
from pipeline.query import connect

_SECONDS = """
SELECT (SELECT avg(seconds_ingest) FROM series WHERE status = 'ok'),
    (SELECT avg(seconds_total) FROM scans WHERE status = 'ok' AND list_contains($1, recipe_id))
"""


def forecast(outlook: Outlook) -> dict[str, Any]:
    """What a run would go through, and what it would take; nothing is written.

    Hours and cost follow from the scans that the store holds already, and are None before the first of them; so are
    the sizes of workers that are not of this machine.

    Raises:
        ConfigError: `cluster` describes none, or not even one scan fits it.
    """
    check_description(outlook.config.cluster)
    entries = [entry for each in outlook.work for entry in each.entries]
    n_scans = sum(len(each.scans) for each in outlook.work) + expected_scans(entries, outlook.recipes.keys())
    need = largest_need(outlook)
    capacity = plan_capacity(outlook.config, need) if outlook.config.cluster == "local" else None
    slots = capacity.slots if capacity else 1
    hours = _slot_hours(outlook, len(entries), n_scans)
    cost = None if hours is None else round(hours / slots * outlook.config.cost.per_hour, 2)
    return {
        "series": len(outlook.index.series),
        "to_ingest": len(entries),
        "to_process": n_scans,
        "shards": len(outlook.work),
        "bytes_to_read": sum(entry.source_bytes for entry in entries),
        "voxels_to_read": sum(entry.n_voxels for entry in entries),
        "workers": capacity.workers if capacity else None,
        "slots": slots,
        "worker_memory_mb": need.worker_bytes(slots) >> 20 if need else None,
        "worker_memory_limit_mb": capacity.memory_bytes >> 20 if capacity else None,
        "slot_hours": None if hours is None else round(hours, 3),
        "hours": None if hours is None or capacity is None else round(hours / (capacity.workers * slots), 3),
        "cost": cost,
        "currency": outlook.config.cost.currency,
    }


def _slot_hours(outlook: Outlook, n_series: int, n_scans: int) -> float | None:
    """Hours that one slot alone would take."""
    if outlook.store is None:
        return None
    connection = connect(outlook.store)
    try:
        row = connection.execute(_SECONDS, [list(outlook.recipe_ids.values())]).fetchone()
    finally:
        connection.close()
    ingest, scan = row or (None, None)
    if (n_series and ingest is None) or (n_scans and scan is None):
        return None
    return float(n_series * (ingest or 0) + n_scans * (scan or 0)) / 3600
