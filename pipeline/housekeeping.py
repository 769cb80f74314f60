"""The only two ways in which anything leaves a store: what no row names, and one patient.

`gc` removes arrays of attempts that ended before their rows were written, merged tables that are out of date and files
that were half written. `forget` removes a patient from every table and with all arrays; tables that hold others too
are written again without that patient. Scans that are still in the source come back with the next run.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_ISREG

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RequestError
from pipeline.query.compacted import FOLDER as MERGED
from pipeline.query.compacted import usable
from pipeline.query.files import published
from pipeline.store import TEMPORARY, Store
from schemas.evaluation import MASKS, TABLES

GRACE = timedelta(days=1)
"""What is younger may belong to a run that has not written its rows yet."""

_NAMING = (("catalog", "volume_uri"), ("results", "labels_uri"), (f"{TABLES}/references", "labels_uri"))
_ARRAYS = ("volumes", "labels", MASKS)


@dataclass(frozen=True)
class GcSummary:
    """What was removed, or would be."""

    paths: tuple[str, ...]
    """Folders and files, relative to the store."""
    n_bytes: int
    """Their size."""


@dataclass(frozen=True)
class ForgetSummary:
    """What was removed of one patient."""

    n_rows: int
    """Rows of all tables."""
    n_tables: int
    """Tables that held them."""
    n_arrays: int
    """Volumes and masks."""


def gc(store: Store, *, dry_run: bool = False, grace: timedelta = GRACE) -> GcSummary:
    """Remove what no row names.

    Args:
        store: the store.
        dry_run: only tell.
        grace: what is younger is left alone, for its rows may be on their way.

    Raises:
        ServiceError: the store was not there.
    """
    before = datetime.now(UTC) - grace
    sizes = _array_groups(store)  # listed before the rows are read: what is committed in between is then named
    named = _named(store)
    lost = {group: size for group, size in sizes.items() if group not in named and _is_older(group, before)}
    lost |= _stale_merges(store, before)
    lost |= _half_written(store, before)
    if not dry_run:
        for path in sorted(lost):
            store.remove(path)
    return GcSummary(tuple(sorted(lost)), sum(lost.values()))


def forget(store: Store, patient_key: str) -> ForgetSummary:
    """Remove one patient everywhere: rows, arrays, changes, truth, verdicts, merged tables, the index of the source.

    No run should be under way. A second call after a crash goes on where the first ended.

    Args:
        store: the store.
        patient_key: as in the views; `patient_keys` gives it for a PatientID.

    Raises:
        RequestError: the store knows no such patient.
        ServiceError: the store was not there.
    """
    series, shards, others = _traces(store, patient_key)
    for path in store.list(MERGED):
        store.remove(path)
    removed = [_without(store, path, patient_key, series) for path in _tables(store, shards)]
    groups = [group for group in _array_groups(store) if posixpath.basename(posixpath.dirname(group)) in series]
    for group in groups:
        store.remove(group)
    removed += [_only_of_others(store, path, others) for path in _parquet(store, "private/index")]
    removed += [_without(store, path, patient_key, series) for path in _last_tables(store)]
    return ForgetSummary(sum(removed), sum(n > 0 for n in removed), len(groups))


def check_patient(store: Store, patient_key: str) -> None:
    """See whether there is anything to forget.

    Raises:
        RequestError: the store knows no such patient.
    """
    _traces(store, patient_key)


def patient_keys(store: Store, patient_id: str) -> list[str]:
    """The keys of a PatientID in this store; several where sites use the same one."""
    found: set[str] = set()
    for path in store.list("private/crosswalk"):
        rows = store.read_table(path, ["patient_key", "patient_id"])
        found |= set(rows.filter(pc.equal(rows["patient_id"], patient_id))["patient_key"].to_pylist())
    return sorted(found)


def _array_groups(store: Store) -> dict[str, int]:
    """Every group of arrays, `<shard>.zarr/<series>/<attempt>`, with its bytes."""
    groups: dict[str, int] = {}
    for folder in _ARRAYS:
        for path, size in store.sizes(folder).items():
            if (group := _group_of(path)) is not None:
                groups[group] = groups.get(group, 0) + size
    return groups


def _group_of(path: str) -> str | None:
    head, zarr, rest = path.partition(".zarr/")
    parts = rest.split("/")
    return f"{head}{zarr}{parts[0]}/{parts[1]}" if len(parts) > 2 else None


def _named(store: Store) -> set[str]:
    """The groups that any row names, whichever row counts."""
    named: set[str] = set()
    for folder, column in _NAMING:
        for path in store.list(folder):
            rows = store.read_table(path, [column])
            named |= {group for uri in rows[column].to_pylist() if uri and (group := _group_of(f"{uri}/0"))}
    return named


def _is_older(path: str, moment: datetime) -> bool:
    """Whether an attempt, which begins with its time, began before; what has no such name is not ours to remove."""
    try:
        began = datetime.strptime(posixpath.basename(path)[:21], "%Y%m%dT%H%M%S%f")
    except ValueError:
        return False
    return began.replace(tzinfo=UTC) < moment


def _stale_merges(store: Store, before: datetime) -> dict[str, int]:
    files = published(store)
    current = usable(store, files)
    stale: dict[str, int] = {}
    for path, size in files.items():
        folder = "/".join(path.split("/")[:2])
        if path.startswith(f"{MERGED}/") and folder != current and _is_older(folder, before):
            stale[folder] = stale.get(folder, 0) + size
    return stale


def _half_written(store: Store, before: datetime) -> dict[str, int]:
    """Temporary files of writers that ended; an object storage has none."""
    if not store.is_local:
        return {}
    root = Path(store.root)
    found: dict[str, int] = {}
    for path in root.rglob(".*"):
        if TEMPORARY.fullmatch(path.name):
            with suppress(FileNotFoundError):  # its writer has just renamed it
                about = path.lstat()
                if S_ISREG(about.st_mode) and about.st_mtime < before.timestamp():
                    found[str(path.relative_to(root))] = about.st_size
    return found


def _traces(store: Store, patient_key: str) -> tuple[set[str], set[str], set[str]]:
    """The patient's series, their shards, and the addresses of all files that belong to others."""
    series: set[str] = set()
    shards: set[str] = set()
    mine: set[str] = set()
    others: set[str] = set()
    for path in store.list("plan"):
        rows = _of_patient(store.read_table(path, ["patient_key", "series_key", "shard"]), patient_key)
        series |= set(rows["series_key"].to_pylist())
        shards |= set(rows["shard"].to_pylist())
    for path in store.list("private/crosswalk"):
        table = store.read_table(path)
        series |= set(_of_patient(table, patient_key)["series_key"].to_pylist())
        for column in {"uris", "mask_uris"}.intersection(table.column_names):
            for key, uris in zip(table["patient_key"].to_pylist(), table[column].to_pylist(), strict=True):
                (mine if key == patient_key else others).update(uris or ())
    if not series:
        raise RequestError(
            "the store knows no patient with this key: `SELECT DISTINCT patient_key FROM series` lists them"
        )
    return series, shards, others - mine


def _of_patient(rows: pa.Table, patient_key: str) -> pa.Table:
    return rows.filter(pc.equal(rows["patient_key"], patient_key))


def _tables(store: Store, shards: set[str]) -> list[str]:
    """Tables that may hold rows of the patient, results first: a scan without a row is only done again."""
    of_shards = [p for folder in ("results", "catalog") for p in store.list(folder) if _shard_of(p) in shards]
    return [*of_shards, *_parquet(store, "changes"), *_parquet(store, "truth"), *_parquet(store, "clinical")]


def _last_tables(store: Store) -> list[str]:
    """Tables that tell where the patient's traces are, and so go last."""
    return [*_parquet(store, "private/crosswalk"), *_parquet(store, "plan")]


def _parquet(store: Store, folder: str) -> Iterable[str]:
    return [path for path in store.list(folder) if path.endswith(".parquet")]


def _shard_of(path: str) -> str:
    return posixpath.basename(path).split("-")[0]


def _without(store: Store, path: str, patient_key: str, series: set[str]) -> int:
    """Write a table again without the patient; how many rows that were."""
    rows = store.read_table(path)
    for column, values in (("patient_key", {patient_key}), ("series_key", series)):
        if column in rows.column_names:
            return _write_again(store, path, rows, rows.filter(pc.invert(_is_one_of(rows[column], values))))
    return 0


def _only_of_others(store: Store, path: str, others: set[str]) -> int:
    """Write an index of the source again with the files that belong to other patients; how many rows went.

    Reports, masks and whatever else may be of anyone go too: the next run looks at them anew.
    """
    rows = store.read_table(path)
    return _write_again(store, path, rows, rows.filter(_is_one_of(rows["uri"], others)))


def _is_one_of(column: pa.ChunkedArray, values: set[str]) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=pa.array(sorted(values), pa.string()))


def _write_again(store: Store, path: str, rows: pa.Table, kept: pa.Table) -> int:
    """Put what is kept in place of a table, or remove it where nothing is; how many rows went."""
    if kept.num_rows == rows.num_rows:
        return 0
    if kept.num_rows:
        store.write_table(path, kept)
    else:
        store.remove(path)
    return int(rows.num_rows - kept.num_rows)
