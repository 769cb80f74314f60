"""What readers decided about lesions, added from a CSV; nothing is ever overwritten.

    series_key,lesion_id,decision,reader,comment
    4f0c...,3,reject,reader-2,vessel

Columns: `series_key`, `decision` (accept, reject, edit, comment), `reader` (a pseudonym), `lesion_id` (may be empty for
a comment on the scan), and where wanted `recipe_id` (needed where a scan has several), `comment`, `decided_at`
(ISO 8601), `new_level` and `new_lesion_type` (for `edit`). A file is taken whole or not at all. A decision holds for
the lesion that the reader saw, by its number and its box: another lesion that gets the number later has none.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline.errors import RequestError
from pipeline.query import run_query
from pipeline.query.columns import literal
from pipeline.store import Store, new_attempt
from schemas.columns import table
from schemas.spine import OUTSIDE, level_number
from schemas.verdicts import DECISIONS, FOLDER, VERDICT

_NEEDED = {"series_key", "decision", "reader"}
_KNOWN = _NEEDED | {"recipe_id", "lesion_id", "comment", "decided_at", "new_level", "new_lesion_type"}
_TYPES = {"lytic", "blastic", "mixed", "indeterminate"}
_PSEUDONYM = re.compile(r"[\w.-]{1,40}")
_SHOWN_PROBLEMS = 5
_MORE = "\0"
"""Where values go that have no column; none is called so."""

Scans = dict[tuple[str, str], tuple[str, int]]
"""(recipe_id, series_key) to the version of the series and the number of its lesions."""


@dataclass(frozen=True)
class VerdictSummary:
    """What was added."""

    n_added: int
    """Decisions that are new."""
    n_known: int
    """Decisions that were there already, and were left out."""


def add_verdicts(store: Store, data: bytes) -> VerdictSummary:
    """Add the decisions of a CSV (UTF-8, with a head line).

    Raises:
        RequestError: a column or a value is wrong; the first few are named by their lines, and nothing is added.
        ServiceError: the store was not there.
    """
    now, attempt = datetime.now(UTC), new_attempt()
    scans = _scans(store)
    rows: list[dict[str, Any]] = []
    problems: list[str] = []
    for line, row in _lines(data):
        try:
            if _MORE in row:
                raise ValueError("more values than columns: put a comment with commas in quotes")
            rows.append(_verdict(row, scans) | {"attempt": attempt})
        except ValueError as error:
            problems.append(f"line {line}: {error}")
    if problems:
        more = f" (and {len(problems) - _SHOWN_PROBLEMS} more)" if len(problems) > _SHOWN_PROBLEMS else ""
        raise RequestError(f"no decision was added: {'; '.join(problems[:_SHOWN_PROBLEMS])}{more}")
    boxes = _boxes(store, {row["series_key"] for row in rows})
    rows = [row | {"bbox": boxes.get((row["recipe_id"], row["series_key"], row["lesion_id"]))} for row in rows]
    there = run_query(store, "FROM verdicts").to_pylist()
    known, untold = {_same(row) for row in there}, {_same(row, when=False) for row in there}
    given = list({_same(row): row for row in reversed(rows)}.values())[::-1]  # of equal lines the last
    new = [row for row in given if not (_same(row) in known if row["decided_at"] else _same(row, when=False) in untold)]
    if new:
        later = enumerate(new)  # of lines without a time, each is later than those above it
        dated = [row | {"decided_at": row["decided_at"] or now + timedelta(microseconds=n)} for n, row in later]
        store.write_table(f"{FOLDER}/{attempt}.parquet", table(dated, VERDICT))
    return VerdictSummary(len(new), len(rows) - len(new))


def _lines(data: bytes) -> list[tuple[int, dict[str, str]]]:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), restkey=_MORE, strict=True)
        names = {(name or "").strip() for name in reader.fieldnames or []}
        rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"the verdicts are no CSV in UTF-8: {type(error).__name__}") from None
    if not names >= _NEEDED or names - _KNOWN:
        raise RequestError(
            f"verdicts need the columns {', '.join(sorted(_NEEDED))}, may have {', '.join(sorted(_KNOWN - _NEEDED))}; "
            f"missing: {', '.join(sorted(_NEEDED - names)) or 'none'}, unknown: {len(names - _KNOWN)}"
        )
    return [(line, {str(k).strip(): str(v or "").strip() for k, v in row.items()}) for line, row in rows]


def _scans(store: Store) -> Scans:
    answer: pa.Table = run_query(
        store, "SELECT recipe_id, series_key, version, n_lesions FROM scans WHERE status = 'ok'"
    )
    return {(r["recipe_id"], r["series_key"]): (r["version"], r["n_lesions"] or 0) for r in answer.to_pylist()}


def _boxes(store: Store, series_keys: set[str]) -> dict[tuple[str, str, int], list[int]]:
    """The box of each lesion of some series, by recipe, series and number."""
    keys = ", ".join(map(literal, sorted(series_keys))) or "NULL"
    question = f"SELECT recipe_id, series_key, lesion_id, bbox FROM lesions WHERE series_key IN ({keys})"  # noqa: S608
    rows = run_query(store, question).to_pylist()
    return {(row["recipe_id"], row["series_key"], row["lesion_id"]): row["bbox"] for row in rows}


def _verdict(row: dict[str, str], scans: Scans) -> dict[str, Any]:
    decision = row["decision"].lower()
    if decision not in DECISIONS:
        raise ValueError(f"`decision` must be one of {', '.join(DECISIONS)}")
    if not _PSEUDONYM.fullmatch(row["reader"]):
        raise ValueError(
            "`reader` must be a pseudonym of letters, digits, dot, dash and underscore, not a name or address"
        )
    recipe_id = _recipe(row, scans)
    version, n_lesions = scans[recipe_id, row["series_key"]]
    return {
        "recipe_id": recipe_id,
        "series_key": row["series_key"],
        "version": version,
        "lesion_id": _lesion(row, decision, n_lesions),
        "decision": decision,
        "comment": row.get("comment") or None,
        "reader": row["reader"],
        "decided_at": _when(row.get("decided_at", "")),
        **_edit(row, decision),
    }


def _recipe(row: dict[str, str], scans: Scans) -> str:
    found = [recipe for recipe, series in scans if series == row["series_key"]]
    if not found:
        raise ValueError("no scan with a result has this `series_key`")
    given = row.get("recipe_id")
    if given and given not in found:
        raise ValueError(f"the scan has no result under this `recipe_id`; it has {', '.join(sorted(found))}")
    if not given and len(found) > 1:
        raise ValueError(
            f"the scan has results under several recipes: give `recipe_id`, one of {', '.join(sorted(found))}"
        )
    return given or found[0]


def _lesion(row: dict[str, str], decision: str, n_lesions: int) -> int | None:
    text = row.get("lesion_id", "")
    if not text and decision == "comment":
        return None
    if not text.isdigit() or not 1 <= int(text) <= n_lesions:
        raise ValueError(
            f"`lesion_id` must be one of the scan's lesions, 1 to {n_lesions}; empty for a comment on the scan"
        )
    return int(text)


def _edit(row: dict[str, str], decision: str) -> dict[str, str | None]:
    level, kind = row.get("new_level") or None, row.get("new_lesion_type") or None
    if (decision == "edit") != bool(level or kind):
        raise ValueError("`edit`, and nothing else, has a `new_level` or a `new_lesion_type`")
    if kind is not None and kind not in _TYPES:
        raise ValueError(f"`new_lesion_type` must be one of {', '.join(sorted(_TYPES))}")
    if level is not None and level != OUTSIDE:
        try:
            level_number(level)
        except ValueError:
            raise ValueError("`new_level` must be a level: C1 ... L6, SACRUM, COCCYX, V1 ..., or none") from None
    return {"new_level": level, "new_lesion_type": kind}


def _when(text: str) -> datetime | None:
    if not text:
        return None
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("`decided_at` must be a date and time as 2026-01-31T09:30:00+01:00 (ISO 8601)") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _same(row: dict[str, Any], *, when: bool = True) -> tuple[Any, ...]:
    """What makes two decisions one; without `when`, whatever time they were made."""
    values = (row[name] for name in VERDICT.names if name != "attempt" and (when or name != "decided_at"))
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)
