"""Index: from a source to its series, by headers alone. Nothing is decoded, nothing is written.

    listing      all files, with size and stamp
    inspection   new or changed files are opened; what the last index knows is taken from it
    entries      headers become series, a row for each volume
    selection    rules of the cohort file leave series out, by name

The table of files goes to `private/`, so that the next run opens only what changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.dicom.headers import Record
from pipeline.errors import SourceError
from pipeline.identity import Identity
from pipeline.index.entries import Described, Describer, Found
from pipeline.index.given import MASK, MaskFile, known_masks, with_given
from pipeline.index.inspection import inspect_all
from pipeline.index.references import MaskObject, attach
from pipeline.index.select import select
from pipeline.manifest import ManifestRow
from pipeline.series import MaskUris, SeriesEntry
from pipeline.sources.archives import SCHEME, contents_of
from pipeline.sources.files import SourceFile
from pipeline.sources.listing import Listing, list_source
from schemas.catalog import INDEX
from schemas.columns import STRINGS
from schemas.config import CohortConfig
from schemas.reasons import Reason
from schemas.versions import HEADERS

_VERSION = b"headers"
ARCHIVE = "archive"
"""Kind of an archive in the table of files: how many members were listed, so that it need not be opened for them."""
UNREADABLE = (Reason.UNREADABLE, "a file that should be a DICOM image or a NIfTI cannot be read: fetch it again")
MISSING = (Reason.UNREADABLE, "row {number} of the manifest names a file or folder that is not there: correct the row")


@dataclass(frozen=True)
class SourceIndex:
    """What a source holds."""

    series: tuple[SeriesEntry, ...]
    """One for each volume, sorted by key."""
    counts: dict[str, int]
    """Files by kind: files, dicom, nifti, not_image, not_dicom, unreadable, and `opened`: those not known before."""
    files: pa.Table
    """`schemas.catalog.INDEX`, for `private/`."""
    crosswalk: pa.Table
    """Keys and original identifiers, for `private/`."""
    clinical: pa.Table
    """Keys and the manifest's columns that the cohort lists in `clinical`."""


def index_source(
    config: CohortConfig,
    *,
    identity: Identity,
    previous: pa.Table | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SourceIndex:
    """Find the series of a cohort's source.

    Args:
        config: the cohort file.
        identity: makes the keys.
        previous: the `files` of an earlier index: files with the same address, size and stamp are not opened again.
        progress: called with files done and files to open.

    Raises:
        SourceError: there is no such source, or no image in it, or rows of its manifest contradict each other.
        ServiceError: the service that holds it does not answer.
    """
    listing = list_source(config, _archives_before(previous))
    records, opened = _records(listing.files, previous, config, progress)
    counts = Counter(kind for kind, _ in records)
    if not counts["dicom"] + counts["nifti"] + counts["unreadable"] + len(listing.missing):
        raise SourceError(
            f"none of the {len(records)} files of the source is a DICOM image or a NIfTI: "
            "give the folder, prefix or manifest of the scans as `source`"
        )
    described = _describe(listing, records, Describer.of(config, identity))
    _check_apart(described)
    masks = [
        MaskObject(file.uri, record)
        for file, (kind, record) in zip(listing.files, records, strict=True)
        if kind == "not_image" and record != "{}"
    ]
    series, given = with_given(
        select(attach([d.entry for d in described], masks, identity), config.select),
        config.recipe,
        known=known_masks(_masks_before(previous)),
        storage_options=config.storage_options,
    )
    return SourceIndex(
        series=tuple(sorted(series, key=lambda entry: entry.series_key)),
        counts={"files": len(records), "opened": opened, **counts},
        files=_files_table(listing.files, records, given),
        crosswalk=_crosswalk(described, {entry.series_key: entry.masks for entry in series}),
        clinical=_clinical(described, config.clinical),
    )


def _records(
    files: Sequence[SourceFile],
    previous: pa.Table | None,
    config: CohortConfig,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Record], int]:
    known = _known(previous)
    fresh = [file for file in files if (file.uri, file.size, file.stamp) not in known]
    inspected = inspect_all(fresh, storage_options=config.storage_options, progress=progress)
    known |= {(f.uri, f.size, f.stamp): record for f, record in zip(fresh, inspected, strict=True)}
    return [known[file.uri, file.size, file.stamp] for file in files], len(fresh)


def _known(previous: pa.Table | None) -> dict[tuple[str, int, str], Record]:
    if previous is None or (previous.schema.metadata or {}).get(_VERSION) != str(HEADERS).encode():
        return {}
    columns = [previous[name].to_pylist() for name in ("uri", "size", "stamp", "kind", "header")]
    return {
        (uri, size, stamp): (kind, header)
        for uri, size, stamp, kind, header in zip(*columns, strict=True)
        if kind not in (MASK, ARCHIVE)
    }


def _archives_before(previous: pa.Table | None) -> dict[str, tuple[str, dict[str, int]]]:
    """The archives of an earlier index of which all members are there still."""
    rows = [] if previous is None else previous.filter(pc.equal(previous["kind"], ARCHIVE)).to_pylist()
    if previous is None or not rows:
        return {}
    whole = {row["uri"]: (row["stamp"], int(row["header"])) for row in rows}
    members = previous.filter(pc.and_(pc.starts_with(previous["uri"], SCHEME), pc.not_equal(previous["kind"], MASK)))
    found = contents_of(zip(*(members[name].to_pylist() for name in ("uri", "size", "stamp")), strict=True))
    return {uri: known for uri, known in found.items() if whole.get(uri) == (known[0], len(known[1]))}


def _masks_before(previous: pa.Table | None) -> list[dict[str, object]]:
    return [] if previous is None else previous.filter(pc.equal(previous["kind"], MASK)).to_pylist()


def _describe(listing: Listing, records: Sequence[Record], describer: Describer) -> list[Described]:
    by_kind: dict[str, list[Found]] = {"dicom": [], "nifti": [], "unreadable": []}
    for file, (kind, record) in zip(listing.files, records, strict=True):
        if kind in by_kind:
            by_kind[kind].append(_found(file, record, listing))
    readable = {each.row.number for kind in ("dicom", "nifti") for each in by_kind[kind]}
    described = [
        *describer.dicom(by_kind["dicom"]),
        *describer.nifti(by_kind["nifti"]),
        *describer.broken(by_kind["unreadable"], UNREADABLE, readable=readable),
    ]
    for row in listing.missing:
        problem = (MISSING[0], MISSING[1].format(number=row.number))
        described += describer.broken([_absent(row)], problem, absent=True)
    return described


def _check_apart(described: Sequence[Described]) -> None:
    """Refuse rows of a manifest that give one series two sets of masks or dates: one would silently be left out.

    Raises:
        SourceError: there are such rows.
    """
    seen: dict[str, Described] = {}
    for each in described:
        other = seen.setdefault(each.entry.series_key, each)
        if other.row != each.row:
            raise SourceError(
                f"rows {other.row} and {each.row} of the manifest name copies of one series and do not say the same "
                "of it: keep one of them, or let both say the same"
            )


def _found(file: SourceFile, record: str, listing: Listing) -> Found:
    row = listing.rows.get(file.uri)
    return Found(file, record, row) if row else Found(file, record)


def _absent(row: ManifestRow) -> Found:
    return Found(SourceFile(row.uri, row.name, 0, ""), "{}", row)


def _files_table(files: Sequence[SourceFile], records: Sequence[Record], given: Sequence[MaskFile]) -> pa.Table:
    archives = contents_of((file.uri, file.size, file.stamp) for file in files).items()
    rows = [
        *((f.uri, f.size, f.stamp, *record) for f, record in zip(files, records, strict=True)),
        *((mask.uri, mask.size, mask.stamp, MASK, mask.digest) for mask in given),
        *((uri, 0, stamp, ARCHIVE, str(len(members))) for uri, (stamp, members) in archives),
    ]
    columns = [list(values) for values in zip(*rows, strict=True)] or [[] for _ in INDEX]
    return pa.table(columns, schema=INDEX.with_metadata({_VERSION: str(HEADERS)}))


def _crosswalk(described: Sequence[Described], masks: Mapping[str, MaskUris]) -> pa.Table:
    rows = [
        {
            "patient_key": d.entry.patient_key,
            "study_key": d.entry.study_key,
            "series_key": d.entry.series_key,
            "patient_id": d.person.patient_id,
            "study": d.person.study,
            "series": d.person.series,
            "uris": [file.uri for file in d.entry.files],
            "mask_uris": masks[d.entry.series_key].uris,
        }
        for d in described
    ]
    names = ("patient_key", "study_key", "series_key", "patient_id", "study", "series")
    columns = [*((name, pa.string()) for name in names), ("uris", STRINGS), ("mask_uris", STRINGS)]
    return pa.Table.from_pylist(rows, schema=pa.schema(columns))


def _clinical(described: Sequence[Described], columns: Sequence[str]) -> pa.Table:
    keys = ("patient_key", "study_key", "series_key")
    rows = [
        {key: getattr(d.entry, key) for key in keys} | {name: d.clinical.get(name) for name in columns}
        for d in described
        if columns
    ]
    if not rows:
        return pa.table({key: pa.array([], pa.string()) for key in keys})
    return pa.Table.from_pylist(rows)
