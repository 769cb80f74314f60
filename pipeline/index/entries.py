"""From header records to series: one `SeriesEntry` for each volume of a source."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from pipeline.dicom import nm
from pipeline.dicom.headers import Header
from pipeline.dicom.parts import Part, Slice, split
from pipeline.dicom.refusals import refusal
from pipeline.dicom.series_columns import series_columns
from pipeline.identity import Identity
from pipeline.manifest import ManifestRow
from pipeline.nifti import bids_entities, bids_modality
from pipeline.series import MaskUris, SeriesEntry, SeriesFile, ingest_id, version_of
from pipeline.sources.files import SourceFile
from schemas.config import CohortConfig
from schemas.reasons import Reason

_NO_ROW = ManifestRow(0, "", "")


@dataclass(frozen=True)
class Found:
    """A file that belongs to a scan."""

    file: SourceFile
    record: str = field(repr=False)
    """Its header, as JSON."""
    row: ManifestRow = _NO_ROW
    """What the manifest says of it."""


@dataclass(frozen=True)
class Person:
    """Whom a series belongs to, in the source's own words; for `private/` and nothing else."""

    patient_key: str
    study_key: str
    patient_id: str | None = field(repr=False)
    study: str = field(repr=False)
    series: str = field(repr=False)


@dataclass(frozen=True)
class Described:
    """An entry, and whose it is."""

    entry: SeriesEntry
    person: Person
    clinical: Mapping[str, Any] = field(default_factory=dict)
    """What the manifest says in columns of the cohort's `clinical`."""
    row: int = 0
    """Number of the manifest's row that named it; 0 where none did."""


@dataclass(frozen=True)
class Describer:
    """Makes entries; holds what all of them need."""

    identity: Identity
    ingest: str
    """The `ingest_id`."""
    max_voxels: int

    @classmethod
    def of(cls, config: CohortConfig, identity: Identity) -> Describer:
        """The describer of a cohort."""
        return cls(identity, ingest_id(config.ingest), config.limits.max_voxels)

    def dicom(self, found: Sequence[Found]) -> Iterator[Described]:
        """The volumes of DICOM files."""
        series: dict[tuple[Any, ...], list[tuple[Found, Header]]] = defaultdict(list)
        for each in found:
            header = Header.from_json(each.record)
            common = header.common
            key = (common.get("patient_id"), common.get("study_uid"), common["series_uid"], _said(each.row))
            series[key].append((each, header))
        scopes = _institutions(header.common for members in series.values() for _, header in members)
        for members in series.values():
            yield from self._series(sorted(members, key=lambda m: (m[1].uid, m[0].file.uri)), scopes)

    def nifti(self, found: Sequence[Found]) -> Iterator[Described]:
        """The volumes of NIfTI files; patient and session come from the manifest, else from BIDS names."""
        for each in found:
            header = json.loads(each.record)
            name, row = each.file.name, each.row
            person = self._person_of_file(each)
            modality = row.modality or bids_modality(name)
            entry = SeriesEntry(
                **self._keys(person, modality, part=0),
                version=version_of({f"{name} {header.get('checksum', '')}": each.file.size}, self.ingest),
                kind="nifti",
                files=(SeriesFile(each.file.uri, each.file.size),),
                study_date_shifted=self._shifted(row.study_date, person),
                site=row.site,
                n_voxels=math.prod(max(int(n), 0) for n in header["shape"]),
                source_bytes=each.file.size,
                columns=_nifti_columns(header),
                masks=row.masks,
            )
            yield Described(entry, person, row.clinical, row.number)

    def broken(
        self,
        found: Sequence[Found],
        problem: tuple[Reason, str],
        *,
        absent: bool = False,
        readable: Container[int] = frozenset(),
    ) -> Iterator[Described]:
        """A row for each file that should be a scan and is not, with the keys of a NIfTI of that name.

        Its reference standard stays with it, once, so that what it shows can be counted as missed; not so where other
        files of its row of the manifest could be read (`readable`, numbers of rows): then it is theirs.
        """
        seen: set[int] = set()
        for each in found:
            name, row = each.file.name, each.row
            alone = row.number not in readable and row.number not in seen
            seen.add(row.number)
            person = self._person_of_file(each)
            why = json.loads(each.record).get("why", problem[1])
            entry = SeriesEntry(
                **self._keys(person, row.modality or bids_modality(name), part=0),
                version=version_of({name: each.file.size}, self.ingest),
                kind="dicom",
                files=(SeriesFile(each.file.uri, each.file.size),),
                study_date_shifted=self._shifted(row.study_date, person),
                site=row.site,
                source_bytes=each.file.size,
                masks=MaskUris(truth_uri=row.masks.truth_uri if alone else None),
                is_absent=absent,
                problem=(problem[0], why),
            )
            yield Described(entry, person, row.clinical, row.number)

    def _series(
        self, members: list[tuple[Found, Header]], institutions: Mapping[tuple[Any, Any], set[str]]
    ) -> Iterator[Described]:
        row = members[0][0].row
        common = _usual([header.common for _, header in members])
        of_study = institutions.get((common.get("patient_id"), common.get("study_uid")), set())
        if not common.get("institution") and len(of_study) == 1:  # what was made of a scan often lacks it
            common = {**common, "institution": next(iter(of_study))}
        person = self._person(
            row.patient_id or common.get("patient_id"),
            row.site or common.get("issuer") or _folded(common.get("institution")),
            study=str(common.get("study_uid") or common["series_uid"]),
            series=str(common["series_uid"]),
        )
        slices = [
            Slice(
                number,
                header.uid,
                frame,
                (header.common["rows"], header.common["columns"]),
                str(header.common.get("sop_class")),
            )
            for number, (_, header) in enumerate(members)
            for frame in header.frames
        ]
        for number, part in enumerate(split(slices, planar=nm.is_planar(common))):
            yield Described(self._part(number, part, members, common, person), person, row.clinical, row.number)

    def _part(
        self,
        number: int,
        part: Part,
        members: list[tuple[Found, Header]],
        common: Mapping[str, Any],
        person: Person,
    ) -> SeriesEntry:
        row = members[0][0].row
        institution = common.get("institution")
        frames = _frames(part)
        files = tuple(_file(*members[index], frames[index]) for index in frames)
        headers = [members[index][1] for index in frames]
        own = _usual([header.common for header in headers])
        n_voxels = sum(_voxels(members[index][1], numbers) for index, numbers in frames.items())
        return SeriesEntry(
            **self._keys(person, row.modality or common.get("modality"), part=number),
            version=version_of(_objects(frames, members), self.ingest),
            kind="dicom",
            files=files,
            part_reason=part.reason,
            study_date_shifted=self._shifted(row.study_date or _date(common.get("study_date")), person),
            site=row.site or (self.identity.site_pseudonym(institution) if institution else None),
            n_voxels=n_voxels,
            source_bytes=sum(file.size for file in files),
            columns=series_columns(own, headers, part.slices, identity=self.identity),
            masks=row.masks,
            study_uid_key=self.identity.uid_key(common["study_uid"]) if "study_uid" in common else None,
            problem=refusal(own, part, n_voxels, max_voxels=self.max_voxels),
        )

    def _person_of_file(self, found: Found) -> Person:
        """Whose a file is that does not say it itself: by the manifest, else by BIDS names, else each its own."""
        name, row = found.file.name, found.row
        subject, session = bids_entities(name)
        day = row.study_date.isoformat() if row.study_date else session
        if row.patient_id and not day:  # undated scans of one patient are not taken for one study
            return self._person(row.patient_id, row.site, study=name, series=name)
        return self._person(row.patient_id or subject, row.site, study=day or subject or name, series=name)

    def _person(self, patient_id: str | None, scope: str | None, *, study: str, series: str) -> Person:
        identity = self.identity
        patient = identity.patient_key(scope, patient_id) if patient_id else identity.stranger_key(study)
        return Person(patient, identity.study_key(patient, study), patient_id, study, series)

    def _keys(self, person: Person, modality: str | None, *, part: int) -> dict[str, Any]:
        return {
            "series_key": self.identity.series_key(person.study_key, person.series, modality, part),
            "study_key": person.study_key,
            "patient_key": person.patient_key,
            "series_uid_key": self.identity.uid_key(person.series),
            "ingest_id": self.ingest,
            "modality": modality,
            "part": part,
        }

    def _shifted(self, day: date | None, person: Person) -> date | None:
        try:
            return day + timedelta(days=self.identity.shift_days(person.patient_key)) if day else None
        except OverflowError:
            return None


def _institutions(commons: Iterable[Mapping[str, Any]]) -> dict[tuple[Any, Any], set[str]]:
    """Institutions that the series of a patient's study name, by PatientID and StudyInstanceUID."""
    found: dict[tuple[Any, Any], set[str]] = defaultdict(set)
    for common in commons:
        if (institution := _folded(common.get("institution"))) is not None:
            found[common.get("patient_id"), common.get("study_uid")].add(institution)
    return found


def _said(row: ManifestRow) -> tuple[Any, ...]:
    """What a row says: files of one series that rows say the same of belong together."""
    return row.patient_id, row.study_date, row.site, row.modality, row.masks, tuple(map(str, row.clinical.values()))


def _usual(commons: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """What most files of a series say; the records of equal headers are one object."""
    counts = Counter(id(common) for common in commons)
    most = max(counts.values())
    usual = {id(common): common for common in commons if counts[id(common)] == most}
    return min(usual.values(), key=lambda common: json.dumps(common, sort_keys=True))


def _frames(part: Part) -> dict[int, list[int]]:
    """Frames of each file, in the order of the slices."""
    frames: dict[int, list[int]] = defaultdict(list)
    for each in part.slices:
        frames[each.file].append(each.frame.number or 0)
    return frames


def _file(found: Found, header: Header, numbers: list[int]) -> SeriesFile:
    everything = len(numbers) == len(header.frames)
    return SeriesFile(found.file.uri, found.file.size, None if everything else tuple(sorted(numbers)))


def _voxels(header: Header, numbers: list[int]) -> int:
    """Voxels of some frames; a file whose frames say nothing of themselves counts with all it claims to have."""
    common = header.common
    claimed = int(common.get("n_frames", 1)) if len(header.frames) == 1 else len(numbers)
    return int(common["rows"]) * int(common["columns"]) * max(claimed, 1)


def _objects(frames: Mapping[int, list[int]], members: list[tuple[Found, Header]]) -> dict[str, int]:
    """Objects of a part and their sizes; with the frames where it has only some of an object's."""
    objects: dict[str, int] = defaultdict(int)
    for index, numbers in frames.items():
        found, header = members[index]
        some = "" if len(numbers) == len(header.frames) else f" {sorted(numbers)}"
        objects[header.uid + some] += found.file.size
    return objects


def _folded(institution: str | None) -> str | None:
    return " ".join(institution.casefold().split()) if institution else None


def _date(text: str | None) -> date | None:
    """A date as DICOM has it, 20200131, as it had it before 1993, 2020.01.31, or as others write it, 2020-01-31."""
    try:
        return datetime.strptime((text or "").replace(".", "").replace("-", ""), "%Y%m%d").date()
    except ValueError:
        return None


def _nifti_columns(header: dict[str, Any]) -> dict[str, Any]:
    shape, zooms = header["shape"], header["zooms"]
    if len(shape) < 3:
        return {}
    return {"shape": shape[2::-1], "spacing_mm": [float(z) for z in zooms[2::-1]], "n_instances": 1}
