"""All files of a cohort's source, of whatever kind it is, and what a manifest says of them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.errors import SourceError
from pipeline.manifest import ManifestRow, is_manifest, parse_manifest
from pipeline.sources.files import SourceFile
from pipeline.sources.folder import list_folder, source_file
from pipeline.sources.opening import read_file
from schemas.config import CohortConfig


@dataclass(frozen=True)
class Listing:
    """The files of a source."""

    files: list[SourceFile]
    """Each once, sorted by address."""
    rows: dict[str, ManifestRow] = field(default_factory=dict)
    """Address of a file to the row of the manifest that named it or its folder."""
    missing: list[ManifestRow] = field(default_factory=list)
    """Rows of the manifest whose file or folder is not there."""


def list_source(config: CohortConfig) -> Listing:
    """List the cohort's source; nothing is opened but a manifest.

    Raises:
        SourceError: there is no such source, or it holds no file.
        ServiceError: the service that holds it does not answer.
    """
    if is_manifest(config.source):
        return _list_manifest(config)
    files = list(_list_one(config.source))
    if not files:
        raise SourceError("the source holds no file: give the folder, prefix or manifest of the scans as `source`")
    return Listing(sorted(files, key=lambda file: file.uri))


def _list_manifest(config: CohortConfig) -> Listing:
    uri = config.source if "://" in config.source else str(Path(config.source).expanduser().absolute())
    if "://" not in uri and not Path(uri).is_file():
        raise SourceError("the manifest that `source` names is not there")
    truth = config.truth.masks if config.truth else None
    rows = parse_manifest(
        read_file(uri, storage_options=config.storage_options), uri=uri, clinical=config.clinical, truth=truth
    )
    if not rows:
        raise SourceError("the manifest has no rows")
    listing = Listing([])
    for row in rows:
        found = _named_by_row(row)
        if not found:
            listing.missing.append(row)
        for file in found:
            if file.uri not in listing.rows:
                listing.files.append(file)
                listing.rows[file.uri] = row
    listing.files.sort(key=lambda file: file.uri)
    return listing


def _named_by_row(row: ManifestRow) -> list[SourceFile]:
    try:
        found = list(_list_one(row.uri))
    except SourceError:
        return []
    # a file is known by what the manifest calls it, a file of a folder by that and its place in the folder
    return [SourceFile(f.uri, row.name if f.uri == row.uri else f"{row.name}/{f.name}", f.size, f.stamp) for f in found]


def _list_one(uri: str) -> Iterator[SourceFile]:
    path = Path(uri).expanduser().absolute()
    try:
        mode = path.stat().st_mode
    except OSError:
        raise SourceError("there is no such file or folder as `source` names") from None
    if stat.S_ISDIR(mode):
        yield from list_folder(path)
    else:
        yield source_file(path, path.parent)
