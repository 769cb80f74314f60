"""A file of a source: its address, its size, and what tells that it has not changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file that a source lists."""

    uri: str
    """Absolute path, or an address with a scheme."""
    name: str
    """Path relative to the source: what identifies a file that has no UID, wherever the source is moved to."""
    size: int
    """Bytes."""
    stamp: str
    """Modification time or ETag: an equal one means unchanged."""
