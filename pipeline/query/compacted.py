"""Which merged tables of `compact/` may stand for the files that they were made from.

    compact/<attempt>/<view>/part-00000.parquet, ...
    compact/<attempt>/made_from.json                  written last: the files merged, with their sizes, and the tables

They may as long as those files are still all there is: one more file of results, and the views read the files again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipeline.query.columns import definitions
from pipeline.store import Store
from schemas.views import TALLIED_LESIONS, VIEWS

FOLDER = "compact"
RECORD = "made_from.json"

MEANING = 2
"""Goes up when a view gives other values in the same columns, for the same files."""

TABLES: dict[str, pa.Schema] = {
    "series": VIEWS["series"],
    "scans": VIEWS["scans"],
    "lesions": TALLIED_LESIONS,
    "candidates": VIEWS["candidates"],
    "vertebrae": VIEWS["vertebrae"],
    "studies": VIEWS["studies"],
    "failures": VIEWS["failures"],
}
"""The views that are merged; the others are small, or made from these. Lesions are merged without readers' verdicts,
which may come at any time."""

Parts = dict[str, list[str]]
"""View to its files, relative to the store."""


def sources(files: Mapping[str, int]) -> dict[str, int]:
    """Those files, of all published ones, that merged tables are made from."""
    return {path: size for path, size in files.items() if path.startswith(("catalog/", "results/"))}


def columns_id() -> str:
    """Hash of the merged views' columns and of `MEANING`: tables of a program that made them otherwise are not used."""
    text = "\n".join(f"{view}: {definitions(columns)}" for view, columns in TABLES.items())
    return hashlib.sha256(f"{MEANING}\n{text}".encode()).hexdigest()[:16]


def record(files: Mapping[str, int], parts: Parts, rows: Mapping[str, int]) -> bytes:
    """What stands in `made_from.json`."""
    document = {"columns": columns_id(), "rows": dict(rows), "tables": parts, "files": sources(files)}
    return json.dumps(document, indent=1).encode()


def usable(store: Store, files: Mapping[str, int]) -> str | None:
    """The folder of the newest merge that was made from all the files there are now; None without one."""
    for path in sorted((path for path in files if path.endswith(f"/{RECORD}")), reverse=True):
        document: dict[str, Any] = json.loads(store.read(path))
        if (
            document["columns"] == columns_id()
            and document["files"] == sources(files)
            and all(part in files for found in document["tables"].values() for part in found)
        ):
            return path.removesuffix(f"/{RECORD}")
    return None
