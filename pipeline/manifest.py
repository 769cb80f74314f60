"""Manifests: a CSV or Parquet that names scans, one row each, with what is known of them.

A manifest of the Imaging Data Commons has `series_aws_url`, or `aws_bucket` and `crdc_series_uuid`, in place of `uri`.
Columns: `uri` (a file, or a folder holding one series; absolute, relative to the manifest, or s3://), and optionally
`patient_id`, `study_date`, `site`, `modality`, `lesions_uri`, `levels_uri`, `truth_uri`, and `level_anchor` (one
vertebra's name as a person knows it, such as V3=L3). Further columns reach SQL only where the cohort file lists them in
`clinical`.
"""

from __future__ import annotations

import io
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
    uri: str
    """Absolute path or address of a file or folder."""
    name: str
    """As the manifest has it: stays the same where both are moved."""
    patient_id: str | None = None
    study_date: date | None = None
    site: str | None = None
    modality: str | None = None
    masks: MaskUris = field(default_factory=MaskUris)
    clinical: dict[str, Any] = field(default_factory=dict)
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
    missing = [name for name in ("uri", *clinical, *([truth] if truth else [])) if name not in table.column_names]
    if missing:
        raise SourceError(
            f"the manifest has no column {missing[0]!r}; its columns are {', '.join(table.column_names)}: "
            "rename one, or correct the cohort file"
        )
    folder = uri.rsplit("/", 1)[0] if "/" in uri else "."
    return [
        _row(number, values, folder=folder, clinical=clinical, truth=truth or "truth_uri")
        for number, values in enumerate(table.to_pylist(), 1)
    ]


def _table(data: bytes, uri: str) -> pa.Table:
    try:
        if uri.lower().endswith(".parquet"):
            return pq.read_table(io.BytesIO(data))
        text = dict.fromkeys(_TEXT, pa.string())
        options = pyarrow.csv.ConvertOptions(column_types=text, strings_can_be_null=True, null_values=["", "NA", "n/a"])
        return pyarrow.csv.read_csv(io.BytesIO(data), convert_options=options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SourceError(f"the manifest cannot be read as {uri.rsplit('.', 1)[-1]}: {error}") from None


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
