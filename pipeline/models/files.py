"""Files of models: their digests, and a local copy of what lies in object storage."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from pipeline.errors import ModelError
from pipeline.store.filesystem import open_filesystem, service_errors

CACHE_VARIABLE = "SPINETALLY_CACHE"
"""Environment variable that names the folder of copies; by default `spinetally` in the user's cache."""

_digests: dict[tuple[str, int, int], str] = {}
_fetching = threading.Lock()


def cache_folder(kind: str) -> Path:
    """Where copies of one kind are kept between processes; it may not be there yet.

    Raises:
        ModelError: this user has no home folder, as in some containers, and nothing names another one.
    """
    if named := os.environ.get(CACHE_VARIABLE):
        return Path(named) / kind
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise ModelError(f"this user has no home folder: set {CACHE_VARIABLE} to where copies may be kept") from None
    return base / "spinetally" / kind


def digest_of(path: Path) -> str:
    """sha256 of a file; of a folder, that of its files' relative paths and digests in order of name."""
    if not path.is_dir():
        return _file_digest(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {_file_digest(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    state = path.stat()
    key = (str(path.resolve()), state.st_size, state.st_mtime_ns)
    if key not in _digests:
        with path.open("rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def local_folder(uri: str, storage_options: dict[str, Any] | None) -> Path | None:
    """The folder itself, or the copy of one in object storage; None where there is no such folder.

    A copy is named by the listing (names, sizes, ETags) of what it was copied from and is kept for other processes.

    Raises:
        ServiceError: the storage does not answer.
        StoreError: the options do not fit it, or name an environment variable that is not set.
    """
    if "://" not in uri:
        folder = Path(uri).expanduser()
        return folder if folder.is_dir() else None
    try:
        with service_errors("reading a model"):
            fs, root = open_filesystem(uri, storage_options or {})
            listing = {name: entry for name, entry in fs.find(root, detail=True).items() if not name.endswith("/")}
            return _copied(fs, root, listing) if listing else None
    except FileNotFoundError:
        return None


def _copied(fs: Any, root: str, listing: dict[str, dict[str, Any]]) -> Path:
    state = [(name, entry.get("size"), str(entry.get("ETag", ""))) for name, entry in sorted(listing.items())]
    copy = cache_folder("models") / hashlib.sha256(repr(state).encode()).hexdigest()
    with _fetching:
        if copy.is_dir():
            return copy
        copy.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=copy.parent))
        try:
            for name in listing:
                target = beside / name.removeprefix(root.rstrip("/") + "/")
                target.parent.mkdir(parents=True, exist_ok=True)
                fs.get_file(name, str(target))
            with contextlib.suppress(OSError):  # another process was first
                beside.rename(copy)
        finally:
            shutil.rmtree(beside, ignore_errors=True)  # of a copy that was not finished, or came second
        return copy
