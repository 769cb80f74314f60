"""What a manifest gives a scan beside its voxels: masks and a name for a vertebra, as a hash by content.

A scan is done again where this hash is another than that of its row, so a corrected mask makes a new result and an
untouched one does not. Files are read once: address, size and stamp (modification time, ETag) spare the next run from
it, as they do for the source's own files.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.errors import ScanError
from pipeline.mask_sources.fetch import local_file
from pipeline.series import SeriesEntry
from pipeline.sources import archives, dicomweb
from pipeline.sources.files import file_errors
from pipeline.sources.opening import read_file
from pipeline.store.filesystem import open_filesystem, service_errors
from schemas.config import ModalityRecipe
from schemas.model import Modality

MASK = "mask"
"""Kind of such a file in the table of files of the index."""

_AT_A_TIME = 16
_READ_BYTES = 1 << 20
_ABSENT = "absent"


@dataclass(frozen=True)
class MaskFile:
    """A mask's file."""

    uri: str
    """Where it is, as the manifest says."""
    size: int
    """Bytes."""
    stamp: str
    """Modification time or ETag."""
    digest: str
    """SHA-256 of its bytes; of the ETag, which is one of the bytes, where it is in an object storage."""


Known = Mapping[tuple[str, int, str], str]
"""(uri, size, stamp) to digest, from the last index."""


def with_given(
    entries: Sequence[SeriesEntry],
    recipes: Mapping[Modality, ModalityRecipe],
    *,
    known: Known,
    storage_options: dict[str, Any],
) -> tuple[list[SeriesEntry], list[MaskFile]]:
    """The entries, each with its `given_id`, and the files that these rest on.

    Raises:
        ServiceError: the service that holds the masks does not answer.
    """
    used = {entry.series_key: _used(entry, recipes) for entry in entries}
    uris = {uri for uris, _ in used.values() for uri in uris.values()}
    files = _looked_at(sorted(uris), known, storage_options)
    given = [replace(entry, given_id=_given_id(*used[entry.series_key], files)) for entry in entries]
    return given, [file for file in files.values() if file.digest != _ABSENT]


def _used(entry: SeriesEntry, recipes: Mapping[Modality, ModalityRecipe]) -> tuple[dict[str, str], str | None]:
    """Of what the manifest gave, the masks by column and the anchor that the recipe uses."""
    recipe = next((recipe for modality, recipe in recipes.items() if modality == entry.modality), None)
    if recipe is None or entry.excluded_by is not None:
        return {}, None
    asked = {"lesions_uri": recipe.lesions, "levels_uri": recipe.levels}
    named = {
        column: getattr(entry.masks, column) for column, use in asked.items() if use and use.model == "precomputed"
    }
    return {column: uri for column, uri in named.items() if uri}, entry.masks.level_anchor if recipe.levels else None


def _given_id(uris: Mapping[str, str], anchor: str | None, files: Mapping[str, MaskFile]) -> str | None:
    if not uris and anchor is None:
        return None
    parts = [f"{column}={files[uri].digest}" for column, uri in sorted(uris.items())] + [f"anchor={anchor}"]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _looked_at(uris: Sequence[str], known: Known, storage_options: dict[str, Any]) -> dict[str, MaskFile]:
    groups: dict[str, list[str]] = defaultdict(list)
    for uri in uris:
        groups[_folder(uri)].append(uri)
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        one = pool.map(partial(_single, known=known, storage_options=storage_options), groups.pop("", []))
        several = pool.map(partial(_remote, storage_options=storage_options), groups.values())
        return {file.uri: file for some in ([*one], *several) for file in some}


def _folder(uri: str) -> str:
    """Of an object storage, where one listing tells of several; empty for what is looked at by itself."""
    by_itself = "://" not in uri or uri.startswith((archives.SCHEME, dicomweb.SCHEME))
    return "" if by_itself else uri.rsplit("/", 1)[0]


def _single(uri: str, known: Known, storage_options: dict[str, Any]) -> MaskFile:
    if uri.startswith(dicomweb.SCHEME):  # an object that changes gets another name
        return MaskFile(uri, 0, "", hashlib.sha256(uri.rpartition("/")[2].encode()).hexdigest())
    try:
        if uri.startswith(archives.SCHEME):
            return _member(uri, known, storage_options)
        return _local(uri, known)
    except (ScanError, FileNotFoundError):
        return _absent(uri)


def _member(uri: str, known: Known, storage_options: dict[str, Any]) -> MaskFile:
    place = (uri, 0, archives.stamp_of_member(uri, storage_options=storage_options))
    digest = known.get(place)
    if digest is None:
        digest = hashlib.sha256(read_file(uri, storage_options=storage_options)).hexdigest()
    return MaskFile(*place, digest)


def _local(uri: str, known: Known) -> MaskFile:
    with file_errors(), local_file(uri) as path:
        about = path.stat()
        place = (uri, about.st_size, str(about.st_mtime_ns))
        return MaskFile(*place, known.get(place) or _digest(path))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_READ_BYTES):
            digest.update(part)
    return digest.hexdigest()


def _remote(uris: Sequence[str], storage_options: dict[str, Any]) -> list[MaskFile]:
    """Masks in one folder of an object storage: one listing tells all of them."""
    filesystem, path = open_filesystem(uris[0].rsplit("/", 1)[0], storage_options)
    with service_errors("listing masks"):
        try:
            listing = {info["name"].rsplit("/", 1)[-1]: info for info in filesystem.ls(path, detail=True)}
        except FileNotFoundError:
            listing = {}
    return [_listed(uri, listing.get(uri.rsplit("/", 1)[-1])) for uri in uris]


def _listed(uri: str, info: Mapping[str, Any] | None) -> MaskFile:
    if info is None:
        return _absent(uri)
    stamp = str(info.get("ETag") or info.get("etag") or info.get("LastModified") or info.get("mtime") or "")
    size = int(info.get("size") or 0)
    return MaskFile(uri, size, stamp, hashlib.sha256(f"{size} {stamp}".encode()).hexdigest())


def _absent(uri: str) -> MaskFile:
    return MaskFile(uri, 0, "", _ABSENT)


def known_masks(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int, str], str]:
    """The digests in rows of the index's table of files."""
    return {(row["uri"], row["size"], row["stamp"]): row["header"] for row in rows if row["kind"] == MASK}
