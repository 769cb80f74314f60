"""Ingest: one series of the plan to one Zarr array, or to a quarantined row that says why not."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import Any

import numpy as np

from pipeline.dicom.quiet import quiet
from pipeline.dicom.reader import SourceVolume, read_dicom
from pipeline.errors import RequestError, ScanError, ServiceError
from pipeline.grid import Grid, Volume
from pipeline.meter import Meter, metered
from pipeline.sandbox import run_sandboxed
from pipeline.series import SeriesEntry
from pipeline.sources.opening import read_file
from pipeline.store import Store
from pipeline.store.volumes import write_volume
from schemas.acquisition import FREE_TEXT, snake_case
from schemas.config import CohortConfig
from schemas.reasons import Reason


def ingest_series(
    entry: SeriesEntry, *, store: Store, shard: str, attempt: str, config: CohortConfig
) -> dict[str, Any]:
    """Read a series, write its volume, and give its row of `schemas.catalog.CATALOG`.

    What is wrong with the series stands in the row; nothing is raised for it.

    Raises:
        ServiceError: the source or the store does not answer.
        RequestError: this machine lacks what the storage options ask for.
    """
    with metered() as meter:
        row = _row(entry, shard=shard, attempt=attempt, config=config)
        if entry.excluded_by is not None:
            row |= {"status": "excluded", "excluded_by": entry.excluded_by}
        else:
            row |= _outcome(entry, store=store, shard=shard, attempt=attempt, config=config)
    return row | _cost(meter)


def _outcome(entry: SeriesEntry, *, store: Store, shard: str, attempt: str, config: CohortConfig) -> dict[str, Any]:
    try:
        if entry.problem is not None:
            raise ScanError(*entry.problem)
        with quiet():
            source = _read(entry, config)
        path = f"volumes/{shard}.zarr/{entry.series_key}/{attempt}"
        record = write_volume(store, path, source.volume, attributes=_attributes(entry, source))
    except (ServiceError, RequestError):  # nothing is wrong with the series
        raise
    except ScanError as error:
        return {"status": "quarantined", "reason_code": error.reason.value, "reason": error.sentence}
    except MemoryError:
        sentence = f"reading {entry.n_voxels} voxels takes more memory than there is: give workers more"
        return {"status": "quarantined", "reason_code": Reason.OUT_OF_MEMORY.value, "reason": sentence}
    except Exception as error:
        # its text may hold a path or a header's value: the type and the place in our code must do
        return {"status": "quarantined", "reason_code": Reason.ERROR.value, "reason": f"an error in {_place(error)}"}
    grid = source.volume.grid
    return {
        **source.columns,
        "status": "ok",
        "shape": list(grid.shape),
        "spacing_mm": list(grid.spacing_mm),
        "origin_mm": list(grid.origin_mm),
        "direction": list(grid.direction),
        "volume_uri": record.volume_uri,
        "voxels_sha256": record.voxels_sha256,
        "stored_bytes": record.stored_bytes,
    }


def _read(entry: SeriesEntry, config: CohortConfig) -> SourceVolume:
    if entry.kind == "dicom":
        return read_dicom(entry, config)
    file, limits = entry.files[0], config.limits
    data = read_file(file.uri, storage_options=config.storage_options)
    arguments = {"name": ".nii.gz" if file.uri.lower().endswith(".gz") else ".nii", "max_voxels": limits.max_voxels}
    head, voxels = run_sandboxed(
        "nifti", arguments, data, seconds=limits.decode_seconds, memory_mb=limits.decode_memory_mb
    )
    grid = Grid(**{name: tuple(value) for name, value in head["grid"].items()})
    volume = Volume(np.frombuffer(voxels, np.dtype(head["dtype"])).reshape(grid.shape), grid)
    unit = {"CT": "HU", "MR": "arbitrary"}.get(entry.modality or "")
    return SourceVolume(volume, {"n_instances": 1, "n_duplicates": 0, "intensity_unit": unit})


def _attributes(entry: SeriesEntry, source: SourceVolume) -> dict[str, Any]:
    return {
        "series_key": entry.series_key,
        "version": entry.version,
        "modality": entry.modality,
        "intensity_unit": source.columns.get("intensity_unit"),
        "suv_factor": source.columns.get("suv_factor"),
        "derived": source.columns.get("derived"),
    }


def _row(entry: SeriesEntry, *, shard: str, attempt: str, config: CohortConfig) -> dict[str, Any]:
    barred = {snake_case(keyword) for keyword in FREE_TEXT if keyword not in config.free_text}
    return {
        **{name: value for name, value in entry.columns.items() if name not in barred},
        "series_key": entry.series_key,
        "study_key": entry.study_key,
        "patient_key": entry.patient_key,
        "series_uid_key": entry.series_uid_key,
        "part": entry.part,
        "part_reason": entry.part_reason,
        "version": entry.version,
        "ingest_id": entry.ingest_id,
        "shard": shard,
        "attempt": attempt,
        "modality": entry.modality,
        "study_date_shifted": entry.study_date_shifted,
        "site": entry.site,
        "preference": list(entry.preference) or None,
        "source_bytes": entry.source_bytes,
    }


def _cost(meter: Meter) -> dict[str, Any]:
    return {"seconds_ingest": meter.total, "peak_rss_mb": meter.peak_rss_mb, "finished_at": datetime.now(UTC)}


def _place(error: Exception) -> str:
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/pipeline/" in frame.filename]
    where = f"{ours[-1].filename.rsplit('/pipeline/', 1)[-1]}:{ours[-1].lineno}" if ours else "ingest"
    return f"{where} ({type(error).__name__}): please report it"
