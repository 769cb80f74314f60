"""What a run would do: what `run --dry-run` says."""

from __future__ import annotations

from typing import Any

from flows.prepare import Outlook
from flows.shards import expected_scans


def forecast(outlook: Outlook) -> dict[str, Any]:
    """Series, scans and bytes that a run would go through; nothing is written."""
    entries = [entry for each in outlook.work for entry in each.entries]
    scans = sum(len(each.scans) for each in outlook.work) + expected_scans(entries, outlook.recipes.keys())
    return {
        "series": len(outlook.index.series),
        "to_ingest": len(entries),
        "to_process": scans,
        "shards": len(outlook.work),
        "bytes_to_read": sum(entry.source_bytes for entry in entries),
        "voxels_to_read": sum(entry.n_voxels for entry in entries),
    }
