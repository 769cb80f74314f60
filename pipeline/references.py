"""DICOM masks of a source, matched to the series that they say they were drawn on.

A segmentation whose segments are mostly named after vertebrae gives levels, any other lesions. What the manifest names
comes first, and where several masks of one kind refer to a series, none is chosen: a manifest must say which.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.identity import Identity
from pipeline.mask_sources.source import level_by_code, level_by_name
from pipeline.series import SeriesEntry


@dataclass(frozen=True)
class MaskObject:
    """A DICOM SEG or RTSTRUCT of the source."""

    uri: str
    """Address of its file."""
    record: str
    """What index read of it: `pipeline.dicom.headers.mask_record`."""


def attach(series: Sequence[SeriesEntry], masks: Sequence[MaskObject], identity: Identity) -> list[SeriesEntry]:
    """The same series, each with the one mask of lesions and the one of levels that refer to it."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for mask in masks:
        record = json.loads(mask.record)
        role = _role(record.get("segments", []))
        for uid in record.get("series", []):
            found[identity.uid_key(uid), role].append(mask.uri)
    return [_with_masks(entry, found) for entry in series]


def _with_masks(entry: SeriesEntry, found: dict[tuple[str, str], list[str]]) -> SeriesEntry:
    named = {
        role: uris[0]
        for role in ("lesions_uri", "levels_uri")
        if len(uris := found.get((entry.series_uid_key, role), [])) == 1 and getattr(entry.masks, role) is None
    }
    return replace(entry, masks=replace(entry.masks, **named)) if named and entry.problem is None else entry


def _role(segments: Sequence[Sequence[str]]) -> str:
    named = sum(level_by_name(label) is not None or level_by_code(code, scheme) is not None
                for label, code, scheme in segments)  # fmt: skip
    return "levels_uri" if 2 * named > len(segments) else "lesions_uri"
