"""Manifests: a CSV or Parquet that names scans, one row each, with what is known of them.

A manifest of the Imaging Data Commons has `series_aws_url`, or `aws_bucket` and `crdc_series_uuid`, in place of `uri`.
Columns: `uri` (a file, or a folder holding one series; absolute, relative to the manifest, or s3://), and optionally
`patient_id`, `study_date`, `site`, `modality`, `lesions_uri`, `levels_uri`, `truth_uri`, and `level_anchor` (one
vertebra's name as a person knows it, such as V3=L3). Further columns reach SQL only where the cohort file lists them in
`clinical`.
"""

from __future__ import annotations

import difflib
import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, SourceError
from pipeline.level_anchor import parse_anchor
from pipeline.series import MaskUris

SUFFIXES = (".csv", ".parquet")

_MASKS = ("lesions_uri", "levels_uri", "truth_uri")
_TEXT = ("uri", "patient_id", "study_date", "site", "modality", "level_anchor", *_MASKS)
_MODALITIES = {"PET": "PT", "MRI": "MR", "SPECT": "NM"}


@dataclass(frozen=True)
class ManifestRow:
    """What a manifest says of one scan."""

    number: int
    """Row of the manifest, from 1; stands in messages, for the address may not."""
    uri: str = field(repr=False)
    """Absolute path or address of a file or folder."""
    name: str = field(repr=False)
    """As the manifest has it: stays the same where both are moved."""
    patient_id: str | None = field(default=None, repr=False)
    study_date: date | None = None
    site: str | None = None
    modality: str | None = None
    masks: MaskUris = field(default_factory=MaskUris)
    clinical: dict[str, Any] = field(default_factory=dict, repr=False)
    """Columns of the cohort's `clinical`."""


def is_manifest(uri: str) -> bool:
    """Whether an address names a manifest."""
    return uri.lower().endswith(SUFFIXES)


def parse_manifest(data: bytes, *, uri: str, clinical: Sequence[str], truth: str | None = None) -> list[ManifestRow]:
    """The rows of a manifest.

    Args:
        data: its bytes.
        uri: where it lies; relative addresses are relative to its folder.
        clinical: columns to keep beside those with a meaning.
        truth: column that names reference masks, in place of `truth_uri`.

    Raises:
        SourceError: it cannot be read, has no `uri`, or lacks a column that was asked for.
    """
    table = _with_uri(_table(data, uri))
    twice = [name for name, n in Counter(table.column_names).items() if n > 1 and name in {*_TEXT, *clinical, truth}]
    if twice:
        raise SourceError(f"the manifest has the column {twice[0]!r} twice: rename one")
    missing = [name for name in ("uri", *clinical, *([truth] if truth else [])) if name not in table.column_names]
    if missing:
        raise SourceError(_without(missing[0], table.column_names))
    folder = uri.rsplit("/", 1)[0] if "/" in uri else "."
    return [
        _row(number, values, folder=folder, clinical=clinical, truth=truth or "truth_uri")
        for number, values in enumerate(table.to_pylist(), 1)
    ]


def _without(name: str, columns: Sequence[str]) -> str:
    """That a column is missing; others are not listed, for without a head line they are the values of a scan."""
    said = f"the manifest has no column {name!r} among its {len(columns)}"
    if len(columns) == 1 and re.search(r"[;\t]", columns[0]):
        return f"{said}: its values are to be separated by commas"
    near = difflib.get_close_matches(name, [column.strip().lower() for column in columns], n=1, cutoff=0.6)
    hint = f", but one like it, {near[0]!r}" if near else ""
    return f"{said}{hint}: the first line must hold the names of the columns; rename one, or correct the cohort file"


def _table(data: bytes, uri: str) -> pa.Table:
    try:
        if uri.lower().endswith(".parquet"):
            return pq.read_table(io.BytesIO(data))
        text = dict.fromkeys(_TEXT, pa.string())
        options = pyarrow.csv.ConvertOptions(column_types=text, strings_can_be_null=True, null_values=["", "NA", "n/a"])
        parsing = pyarrow.csv.ParseOptions(newlines_in_values=True)
        return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options, parse_options=parsing)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SourceError(f"the manifest cannot be read as {uri.rsplit('.', 1)[-1]}: {_told(error)}") from None


def _told(error: Exception) -> str:
    """What is wrong with a table, without what stands in it: pyarrow quotes the row."""
    text = str(error)
    if "UTF8" in text:
        return "it is not in UTF-8: save it so"
    counts = re.search(r"Expected \d+ columns, got \d+", text)
    if counts is not None:
        return f"a row has another number of columns than the head line ({counts[0].lower()}): quote commas in values"
    return "it is empty" if "Empty CSV" in text else f"it is damaged ({type(error).__name__})"


def _with_uri(table: pa.Table) -> pa.Table:
    """The table with a column `uri`, made of the addresses of the Imaging Data Commons where it has those."""
    names = set(table.column_names)
    if "uri" in names:
        return table
    if "series_aws_url" in names:
        addresses = [None if url is None else str(url).removesuffix("*") for url in table["series_aws_url"].to_pylist()]
    elif {"aws_bucket", "crdc_series_uuid"} <= names:
        pairs = zip(table["aws_bucket"].to_pylist(), table["crdc_series_uuid"].to_pylist(), strict=True)
        addresses = [f"s3://{bucket}/{uuid}" if bucket and uuid else None for bucket, uuid in pairs]
    else:
        return table
    return table.append_column("uri", pa.array(addresses, pa.string()))


def _row(number: int, values: dict[str, Any], *, folder: str, clinical: Sequence[str], truth: str) -> ManifestRow:
    name = _text(values.get("uri"))
    if name is None:
        raise SourceError(f"row {number} of the manifest has no `uri`: every row names a file or a folder")
    modality = _text(values.get("modality"))
    named = {k: _text(values.get(truth if k == "truth_uri" else k)) for k in _MASKS}
    return ManifestRow(
        number=number,
        uri=_resolve(name, folder),
        name=name,
        patient_id=_text(values.get("patient_id")),
        study_date=_date(values.get("study_date"), number),
        site=_text(values.get("site")),
        modality=_MODALITIES.get(modality.upper(), modality.upper()) if modality else None,
        masks=MaskUris(**{k: _resolve(v, folder) for k, v in named.items() if v}, level_anchor=_anchor(values, number)),
        clinical={column: values.get(column) for column in clinical},
    )


def _anchor(values: dict[str, Any], number: int) -> str | None:
    text = _text(values.get("level_anchor"))
    if text is not None:
        try:
            parse_anchor(text)
        except ConfigError as error:
            raise SourceError(f"row {number} of the manifest: `level_anchor`: {error}") from None
    return text


def _resolve(name: str, folder: str) -> str:
    if "://" in name:
        return name.rstrip("/")
    if "://" in folder:
        return f"{folder}/{PurePosixPath(name)}"
    return str(Path(folder, name).expanduser().absolute())


def _text(value: Any) -> str | None:
    """A value as text; a number such as 7.0, which tables with gaps make of 7, as `7`."""
    if isinstance(value, float):
        value = None if math.isnan(value) else int(value) if value.is_integer() else value
    return None if value is None else str(value).strip() or None


def _date(value: Any, number: int) -> date | None:
    if value is None or (isinstance(value, date) and not isinstance(value, datetime)):
        return value
    if isinstance(value, datetime):
        return value.date()
    for form in ("%Y-%m-%d", "%Y%m%d"):
        try:
            return datetime.strptime(str(value).strip(), form).date()
        except ValueError:
            continue
    raise SourceError(f"row {number} of the manifest has a `study_date` that is no date: YYYY-MM-DD is allowed")
