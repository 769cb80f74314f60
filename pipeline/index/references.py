"""DICOM masks of a source, matched to the series that they say they were drawn on.

A segmentation whose segments are mostly named after vertebrae gives levels, any other lesions. What the manifest names
comes first, and where several masks of one kind refer to a series, none is chosen: a manifest must say which. Copies of
one object are one mask.

Where the series that a mask names is not in the source (it was resampled, or made anonymous), the mask goes to the only
series of its patient space, else to the only one of its study, whose scan then tells that the mask is of other images.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.identity import Identity
from pipeline.mask_sources.source import is_disease, level_by_code, level_by_name
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
    scans, seen = _Scans.of(series), set[str]()
    for mask in sorted(masks, key=lambda mask: mask.uri):
        record = json.loads(mask.record)
        if (uid := record.get("uid")) is not None and uid in seen:
            continue  # a copy of the same object
        seen.add(uid)
        role = _role(record.get("segments", []))
        for key in scans.meant_by(record, identity):
            found[key, role].append(mask.uri)
    return [_with_masks(entry, found) for entry in series]


@dataclass(frozen=True)
class _Scans:
    """The series of a source, by what a mask may say of them."""

    keys: frozenset[str]
    by_space: Mapping[str, set[str]]
    by_study: Mapping[str, set[str]]

    @classmethod
    def of(cls, series: Sequence[SeriesEntry]) -> _Scans:
        """The series as they are found by space and by study."""
        by_space: dict[str, set[str]] = defaultdict(set)
        by_study: dict[str, set[str]] = defaultdict(set)
        for entry in series:
            if entry.problem is None:
                by_space[entry.columns.get("frame_of_reference_key", "")].add(entry.series_uid_key)
                by_study[entry.study_uid_key or ""].add(entry.series_uid_key)
        return cls(frozenset(entry.series_uid_key for entry in series), by_space, by_study)

    def meant_by(self, record: Mapping[str, Any], identity: Identity) -> set[str]:
        """Keys of the series that a mask was drawn on."""
        named = {identity.uid_key(uid) for uid in record.get("series", [])}
        if named & self.keys:
            return named
        spaces = [self.by_space.get(identity.uid_key(uid), set()) for uid in record.get("frames_of_reference", [])]
        study = self.by_study.get(identity.uid_key(record["study"]), set()) if record.get("study") else set()
        return next((found for found in (set().union(*spaces), study) if len(found) == 1), named)


def _with_masks(entry: SeriesEntry, found: dict[tuple[str, str], list[str]]) -> SeriesEntry:
    named = {}
    for kind in ("lesions", "levels"):
        uris = found.get((entry.series_uid_key, f"{kind}_uri"), [])
        if getattr(entry.masks, f"{kind}_uri") is not None:
            continue
        if len(uris) == 1:
            named[f"{kind}_uri"] = uris[0]
        elif uris:
            named[f"{kind}_why"] = f"{len(uris)} masks of the source refer to this series, and none is chosen"
    return replace(entry, masks=replace(entry.masks, **named)) if named and entry.problem is None else entry


def _role(segments: Sequence[Sequence[str]]) -> str:
    named = sum(
        not is_disease(label) and (level_by_name(label) is not None or level_by_code(code, scheme) is not None)
        for label, code, scheme in segments
    )
    return "levels_uri" if 2 * named > len(segments) else "lesions_uri"
