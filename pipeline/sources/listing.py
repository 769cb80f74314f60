"""All files of a cohort's source, of whatever kind it is, and what a manifest says of them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.errors import ScanError, SourceError
from pipeline.manifest import ManifestRow, is_manifest, parse_manifest
from pipeline.sources import dicomweb
from pipeline.sources.archives import Contents, is_archive, list_archive
from pipeline.sources.files import SourceFile
from pipeline.sources.folder import list_folder, source_file
from pipeline.sources.opening import read_file
from pipeline.sources.remote import list_remote
from schemas.config import CohortConfig

_AT_A_TIME = 16
"""Rows of a manifest that are looked up at the same time."""


@dataclass(frozen=True)
class Listing:
    """The files of a source."""

    files: list[SourceFile]
    """Each once, sorted by address."""
    rows: dict[str, ManifestRow] = field(default_factory=dict)
    """Address of a file to the row of the manifest that named it or its folder."""
    missing: list[ManifestRow] = field(default_factory=list)
    """Rows of the manifest whose file or folder is not there."""


def list_source(config: CohortConfig, known: Contents | None = None) -> Listing:
    """List the cohort's source; nothing is opened but a manifest, and archives that are not in `known` as they are.

    Raises:
        SourceError: there is no such source, or it holds no file.
        ServiceError: the service that holds it does not answer.
    """
    if is_manifest(config.source):
        return _list_manifest(config, known or {})
    files = _list_address(config.source, config.storage_options, known or {})
    if not files:
        raise SourceError("the source holds no file: give the folder, prefix or manifest of the scans as `source`")
    return Listing(sorted(files, key=lambda file: file.uri))


def _list_manifest(config: CohortConfig, known: Contents) -> Listing:
    rows = _read_manifest(config)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        found = list(pool.map(lambda row: _list_row(row, config.storage_options, known), rows))
    listing = Listing([])
    for row, files in zip(rows, found, strict=True):
        if not files:
            listing.missing.append(row)
        for file in files:
            if file.uri in listing.rows:
                raise SourceError(
                    f"rows {listing.rows[file.uri].number} and {row.number} of the manifest name the same file: "
                    "each row names a scan of its own"
                )
            listing.files.append(file)
            listing.rows[file.uri] = row
    listing.files.sort(key=lambda file: file.uri)
    return listing


def _read_manifest(config: CohortConfig) -> list[ManifestRow]:
    uri = config.source if "://" in config.source else str(Path(config.source).expanduser().absolute())
    try:
        data = read_file(uri, storage_options=config.storage_options)
    except ScanError:
        raise SourceError(
            "the manifest that `source` names cannot be read: check that it is there, a file, and may be read"
        ) from None
    truth = config.truth.masks if config.truth else None
    rows = parse_manifest(data, uri=uri, clinical=config.clinical, truth=truth)
    if not rows:
        raise SourceError("the manifest has no rows: give one for each scan")
    return rows


def _list_row(row: ManifestRow, storage_options: dict[str, Any], known: Contents) -> list[SourceFile]:
    try:
        found = _list_address(row.uri, storage_options, known)
    except SourceError:
        return []
    # a file is known by what the manifest calls it, a file of a folder by that and its place in the folder
    return [replace(f, name=row.name if f.uri == row.uri else f"{row.name}/{f.name}") for f in found]


def _list_address(uri: str, storage_options: dict[str, Any], known: Contents) -> list[SourceFile]:
    """The files at an address, and those in the archives among them."""
    found: list[SourceFile] = []
    for file in _list_place(uri, storage_options):
        found += list_archive(file, storage_options, known) if is_archive(file.name) else [file]
    return found


def _list_place(uri: str, storage_options: dict[str, Any]) -> Iterator[SourceFile]:
    if uri.startswith(dicomweb.SCHEME):
        return dicomweb.list_server(uri)
    if "://" in uri:
        return list_remote(uri, storage_options)
    path = Path(uri).expanduser().absolute()
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except OSError:
        raise SourceError("there is no such file or folder as `source` names: check the path") from None
    return list_folder(path) if is_folder else iter([source_file(path)])
