"""What the index hands to plan and ingest: one entry per volume, small enough to be sent to a worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from schemas.config import Ingest
from schemas.reasons import Reason
from schemas.versions import DECODER


@dataclass(frozen=True, slots=True)
class SeriesFile:
    """One file of a series."""

    uri: str = field(repr=False)
    """Address of the file; never shown, for paths carry names."""
    size: int
    """Bytes."""
    frames: tuple[int, ...] | None = None
    """Which frames of a multi-frame file belong to this volume, from 0; None for all."""


@dataclass(frozen=True)
class MaskUris:
    """Masks that the manifest names for a series, and what it says of its levels."""

    lesions_uri: str | None = field(default=None, repr=False)
    levels_uri: str | None = field(default=None, repr=False)
    truth_uri: str | None = field(default=None, repr=False)
    level_anchor: str | None = None
    """One vertebra's name, such as V3=L3."""
    lesions_why: str | None = None
    """Why there is no `lesions_uri`, where more is to say than that the manifest names none."""
    levels_why: str | None = None
    """The same of `levels_uri`."""

    @property
    def uris(self) -> list[str]:
        """Those that are named."""
        return [uri for uri in (self.lesions_uri, self.levels_uri, self.truth_uri) if uri]


@dataclass(frozen=True)
class SeriesEntry:
    """All that is needed to ingest one volume, and what is known of it from its headers."""

    series_key: str
    """Keyed hash of study, series UID, modality and part."""
    study_key: str
    """Keyed hash of patient and study."""
    patient_key: str
    """Keyed hash of site or issuer and PatientID."""
    series_uid_key: str
    """Keyed hash of the SeriesInstanceUID; of the address for NIfTI."""
    version: str
    """Hash of the objects, their sizes and the ingest_id."""
    ingest_id: str
    """Hash of the options and code that change voxels."""
    kind: str
    """`dicom` or `nifti`."""
    files: tuple[SeriesFile, ...]
    """Its files, in no order that means anything."""
    modality: str | None = None
    """CT, MR, PT, NM, ...; None where nothing says it."""
    part: int = 0
    """Which volume of its series."""
    part_reason: str | None = None
    """What tells the parts apart; None where there is one."""
    study_date_shifted: date | None = None
    """Study date moved by the patient's offset."""
    site: str | None = None
    """The manifest's site, or a pseudonym of the institution."""
    n_voxels: int = 0
    """Voxels expected from the headers."""
    source_bytes: int = 0
    """Size of its files."""
    columns: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Columns of the catalog that the headers give: acquisition, geometry as far as it is known."""
    excluded_by: str | None = None
    """Name of the selection rule that left it out."""
    preference: tuple[float, ...] = ()
    """Rank among the series of its study; smaller is preferred."""
    masks: MaskUris = field(default_factory=MaskUris)
    """Masks that the manifest names."""
    given_id: str | None = None
    """Hash of those of them that the recipe uses, by content; None where it uses none."""
    study_uid_key: str | None = None
    """Keyed hash of the StudyInstanceUID, whoever the patient is; masks name it."""
    is_absent: bool = False
    """Whether the manifest names it and it is not there; rows of when it was there stay."""
    problem: tuple[Reason, str] | None = None
    """What already the index knows to be wrong, with a sentence."""


def ingest_id(options: Ingest) -> str:
    """Hash of what changes voxels: the cohort's options and the version of the decoder."""
    return _hash(f"decoder={DECODER}", f"on_gap={options.on_gap}", f"on_tilt={options.on_tilt}")[:16]


def version_of(objects: Mapping[str, int], ingest: str) -> str:
    """Hash of objects (SOP Instance UID or address, to bytes) in sorted order and an `ingest_id`."""
    return _hash(ingest, *(f"{name} {size}" for name, size in sorted(objects.items())))[:32]


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
