"""From header records to series: one `SeriesEntry` for each volume of a source."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from pipeline.dicom.headers import Header
from pipeline.dicom.parts import Part, Slice, split
from pipeline.dicom.series_columns import series_columns
from pipeline.identity import Identity
from pipeline.manifest import ManifestRow
from pipeline.nifti import bids_entities, bids_modality
from pipeline.series import MaskUris, SeriesEntry, SeriesFile, version_of
from pipeline.sources.files import SourceFile
from schemas.reasons import Reason


@dataclass(frozen=True)
class Found:
    """A file that belongs to a scan."""

    file: SourceFile
    record: str
    """Its header, as JSON."""
    row: ManifestRow | None
    """What the manifest says of it."""


@dataclass(frozen=True)
class Person:
    """Whom a series belongs to, in the source's own words; for `private/` and nothing else."""

    patient_key: str
    study_key: str
    patient_id: str | None
    study: str
    series: str


@dataclass(frozen=True)
class Described:
    """An entry, and whose it is."""

    entry: SeriesEntry
    person: Person
    clinical: Mapping[str, Any]
    """What the manifest says in columns of the cohort's `clinical`."""


def dicom_entries(found: Sequence[Found], *, identity: Identity, ingest: str) -> Iterator[Described]:
    """The volumes of the DICOM files of a source."""
    series: dict[tuple[Any, ...], list[tuple[Found, Header]]] = defaultdict(list)
    for each in found:
        header = Header.from_json(each.record)
        common = header.common
        key = (common.get("patient_id"), common.get("study_uid"), common["series_uid"], _row_number(each.row))
        series[key].append((each, header))
    for key in sorted(series, key=str):
        yield from _series(series[key], identity=identity, ingest=ingest)


def _series(members: list[tuple[Found, Header]], *, identity: Identity, ingest: str) -> Iterator[Described]:
    members.sort(key=lambda m: (m[1].uid, m[0].file.uri))
    row = members[0][0].row or ManifestRow(0, "", "")
    common = _usual([header.common for _, header in members])
    site = row.site or (identity.site_pseudonym(common["institution"]) if common.get("institution") else None)
    study, series_uid = str(common.get("study_uid") or common["series_uid"]), str(common["series_uid"])
    person = _person(
        identity,
        patient_id=row.patient_id or common.get("patient_id"),
        scope=row.site or common.get("issuer") or _folded(common.get("institution")),
        study=study,
        series=series_uid,
    )
    slices = [
        Slice(number, header.uid, frame, (header.common["rows"], header.common["columns"]))
        for number, (_, header) in enumerate(members)
        for frame in header.frames
    ]
    modality = row.modality or common.get("modality")
    for number, part in enumerate(split(slices)):
        files = _files(part, members)
        headers = [members[i][1] for i in sorted({s.file for s in part.slices})]
        entry = SeriesEntry(
            series_key=identity.series_key(person.study_key, series_uid, modality, number),
            study_key=person.study_key,
            patient_key=person.patient_key,
            series_uid_key=identity.uid_key(series_uid),
            version=version_of(_objects(part, members), ingest),
            ingest_id=ingest,
            kind="dicom",
            files=files,
            modality=modality,
            part=number,
            part_reason=part.reason,
            study_date_shifted=_shifted(row.study_date or _date(common.get("study_date")), identity, person),
            site=site,
            n_voxels=sum(s.shape[0] * s.shape[1] for s in part.slices),
            source_bytes=sum(f.size for f in files),
            columns=series_columns(common, headers, part.slices, identity=identity),
            masks=row.masks,
        )
        yield Described(entry, person, row.clinical)


def nifti_entries(found: Sequence[Found], *, identity: Identity, ingest: str) -> Iterator[Described]:
    """The volumes of the NIfTI files of a source; patient and session come from the manifest, else from BIDS names."""
    for each in found:
        header = json.loads(each.record)
        row = each.row or ManifestRow(0, "", "")
        subject, session = bids_entities(each.file.name)
        day = row.study_date.isoformat() if row.study_date else session
        patient_id = row.patient_id or subject
        person = _person(
            identity,
            patient_id=patient_id,
            scope=row.site,
            study=day or (subject if subject and not row.patient_id else None) or each.file.name,
            series=each.file.name,
        )
        modality = row.modality or bids_modality(each.file.name)
        content = f"{each.file.name} {header.get('checksum', '')}"
        entry = SeriesEntry(
            series_key=identity.series_key(person.study_key, person.series, modality, 0),
            study_key=person.study_key,
            patient_key=person.patient_key,
            series_uid_key=identity.uid_key(person.series),
            version=version_of({content: each.file.size}, ingest),
            ingest_id=ingest,
            kind="nifti",
            files=(SeriesFile(each.file.uri, each.file.size),),
            modality=modality,
            study_date_shifted=_shifted(row.study_date, identity, person),
            site=row.site,
            n_voxels=_product(header["shape"]),
            source_bytes=each.file.size,
            columns=_nifti_columns(header),
            masks=row.masks,
        )
        yield Described(entry, person, row.clinical)


def broken_entries(
    found: Sequence[Found], *, identity: Identity, ingest: str, problem: tuple[Reason, str]
) -> Iterator[Described]:
    """A row for each file that should be a scan and cannot be read: each the only series of its own patient."""
    for each in found:
        row = each.row or ManifestRow(0, "", "")
        name = each.file.name
        person = _person(identity, patient_id=row.patient_id, scope=row.site, study=name, series=name)
        entry = SeriesEntry(
            series_key=identity.series_key(person.study_key, name, row.modality, 0),
            study_key=person.study_key,
            patient_key=person.patient_key,
            series_uid_key=identity.uid_key(name),
            version=version_of({name: each.file.size}, ingest),
            ingest_id=ingest,
            kind="dicom",
            files=(SeriesFile(each.file.uri, each.file.size),),
            modality=row.modality,
            study_date_shifted=_shifted(row.study_date, identity, person),
            site=row.site,
            source_bytes=each.file.size,
            masks=MaskUris(),
            problem=problem,
        )
        yield Described(entry, person, row.clinical)


def _person(identity: Identity, *, patient_id: str | None, scope: str | None, study: str, series: str) -> Person:
    patient = identity.patient_key(scope, patient_id) if patient_id else identity.stranger_key(study)
    return Person(patient, identity.study_key(patient, study), patient_id, study, series)


def _row_number(row: ManifestRow | None) -> int:
    return row.number if row else 0


def _usual(commons: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What most files of a series say; the records of equal headers are one object."""
    counts = Counter(id(common) for common in commons)
    most = max(counts.values())
    return min((c for c in commons if counts[id(c)] == most), key=lambda c: json.dumps(c, sort_keys=True))


def _objects(part: Part, members: list[tuple[Found, Header]]) -> dict[str, int]:
    """Objects of a part and their sizes; the frames where it has only some of an object's."""
    objects: dict[str, int] = {}
    for number, frames in _frames(part).items():
        found, header = members[number]
        some = "" if len(frames) == len(header.frames) else f" {sorted(frames)}"
        name = f"{header.uid}{some}"
        objects[name] = objects.get(name, 0) + found.file.size
    return objects


def _files(part: Part, members: list[tuple[Found, Header]]) -> tuple[SeriesFile, ...]:
    files = []
    for number, frames in _frames(part).items():
        found, header = members[number]
        all_of_it = len(frames) == len(header.frames)
        files.append(SeriesFile(found.file.uri, found.file.size, None if all_of_it else tuple(sorted(frames))))
    return tuple(files)


def _frames(part: Part) -> dict[int, list[int]]:
    frames: dict[int, list[int]] = defaultdict(list)
    for each in part.slices:
        frames[each.file].append(each.frame.number or 0)
    return frames


def _folded(institution: str | None) -> str | None:
    return " ".join(institution.casefold().split()) if institution else None


def _date(text: str | None) -> date | None:
    try:
        return datetime.strptime(text or "", "%Y%m%d").date()
    except ValueError:
        return None


def _shifted(day: date | None, identity: Identity, person: Person) -> date | None:
    try:
        return day + timedelta(days=identity.shift_days(person.patient_key)) if day else None
    except OverflowError:
        return None


def _product(shape: Sequence[int]) -> int:
    count = 1
    for n in shape:
        count *= max(int(n), 0)
    return count


def _nifti_columns(header: dict[str, Any]) -> dict[str, Any]:
    shape, zooms = header["shape"], header["zooms"]
    if len(shape) < 3:
        return {}
    return {"shape": shape[2::-1], "spacing_mm": [float(z) for z in zooms[2::-1]], "n_instances": 1}
