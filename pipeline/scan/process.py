"""One scan under one recipe, in one process: read, detect, tally, write the masks, and give the row.

Arrays never leave the process. What is wrong with the scan becomes a row; what is wrong with a service passes through,
so that the scan stays pending.
"""

from __future__ import annotations

import traceback
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import DamagedError, GpuMemoryError, ModelError, RequestError, ScanError, ServiceError
from pipeline.meter import Meter, metered
from pipeline.models.device import choose_backend, choose_device, clocked, device_name, release_cached_memory
from pipeline.recipe import ResolvedRecipe
from pipeline.scan.finding import find_lesions, find_levels, threshold_of
from pipeline.scan.remeasure import labels_of, recalled
from pipeline.scan.request import ScanRequest as ScanRequest
from pipeline.scan.request import Workplace as Workplace
from pipeline.store.volumes import read_volume, write_labels
from pipeline.tally import tally_scan
from schemas.reasons import Reason

_DAMAGED = "its voxels are damaged in the store, or not all there: `retry` reads it from its source again"
_OURS = Path(__file__).resolve().parents[2]


def process_scan(
    request: ScanRequest, *, recipe: ResolvedRecipe, attempt: str, workplace: Workplace, alone: bool = True
) -> dict[str, Any]:
    """Do one scan; its row of `schemas.results.RESULTS`.

    A scan that does not fit the GPU's memory is done again from its beginning on the CPU, where that is allowed: all
    its numbers come from one device, and the row names that one.

    Args:
        request: the scan.
        recipe: what to do.
        attempt: enters the row and the address of the masks.
        workplace: the store and the device.
        alone: whether running out of memory is this scan's own fault; else MemoryError is raised for another try.

    Raises:
        ServiceError: the store or a service was not there; the scan stays pending.
        RequestError: this machine lacks what the storage options ask for; the scan stays pending.
        MemoryError: there was too little memory, and the scan was not alone.
    """
    with metered() as meter, clocked() as clock:
        outcome = _outcome(request, recipe, attempt, workplace, meter, alone)
        if outcome is None:
            release_cached_memory()  # here, where no traceback holds the arrays of the first try any more
            workplace = replace(workplace, device="cpu", on_gpu_full="quarantine")
            outcome = _outcome(request, recipe, attempt, workplace, meter, alone) or {}
        return _identity(request, recipe, attempt) | outcome | _cost(meter, clock.wait_s, recipe, workplace)


def _outcome(
    request: ScanRequest, recipe: ResolvedRecipe, attempt: str, workplace: Workplace, meter: Meter, alone: bool
) -> dict[str, Any] | None:
    """What became of the scan on this device; None where its GPU is full and the CPU may try."""
    try:
        return {"status": "ok"} | _process(request, recipe, attempt, workplace, meter)
    except ModelError as error:
        return _row_of(Reason.MODEL_UNFIT, str(error), "quarantined")
    except DamagedError:
        return _row_of(Reason.STORED_DAMAGED, _DAMAGED, "failed")
    except (ServiceError, RequestError):  # nothing is wrong with the scan
        raise
    except Exception as error:
        if workplace.on_gpu_full == "cpu" and _is_gpu_memory(error):
            return None
        if isinstance(error, ScanError):
            return _row_of(error.reason, error.sentence, "quarantined")
        if not _is_memory(error):
            return _row_of(Reason.ERROR, _where(error), "failed")
        if alone:
            return _row_of(Reason.OUT_OF_MEMORY, _memory_sentence(error, request, meter), "quarantined")
        raise MemoryError("the scan needs more memory than was free") from None


def _process(
    request: ScanRequest, recipe: ResolvedRecipe, attempt: str, workplace: Workplace, meter: Meter
) -> dict[str, Any]:
    series = request.series
    with meter.stage("read"):
        volume = read_volume(workplace.store, series["volume_uri"])
        known = recalled(workplace.store, request.earlier)
    if known is None:
        with meter.stage("detect"):
            levels = find_levels(volume, request, recipe, workplace)
            lesions = find_lesions(volume, levels, request, recipe, workplace)
    else:
        levels, lesions = known
    with meter.stage("tally"):
        tallied = tally_scan(
            volume,
            modality=recipe.modality,
            intensity_unit=series.get("intensity_unit"),
            suv_factor=series.get("suv_factor"),
            lesions=lesions,
            levels=levels,
            type_rule=recipe.use.type_rule,
            threshold=threshold_of(recipe, series),
            model=recipe.model_label("lesions"),
            radiomics=recipe.use.radiomics,
        )
    grid = volume.grid
    del volume  # not needed to write masks, and as large as they are
    with meter.stage("write"):
        group = labels_of(request, recipe, attempt, reused=known is not None)
        if known is None:
            write_labels(
                workplace.store,
                group,
                grid=grid,
                lesions=lesions.instances if lesions else None,
                levels=levels.levels if levels else None,
                parts=levels.parts if levels else None,
            )
    return tallied | {"labels_uri": group if lesions or levels else None}


def _identity(request: ScanRequest, recipe: ResolvedRecipe, attempt: str) -> dict[str, Any]:
    copied = ("series_key", "study_key", "patient_key", "version", "shard", "modality", "site")
    return {name: request.series.get(name) for name in copied} | {"recipe_id": recipe.recipe_id, "attempt": attempt}


def _cost(meter: Meter, waited_s: float, recipe: ResolvedRecipe, workplace: Workplace) -> dict[str, Any]:
    device = choose_device(workplace.device)
    networks = [m for models in recipe.models.values() for m in models if m.spec.weights is not None]
    return {
        "seconds_read": meter.seconds.get("read"),
        "seconds_preprocess": meter.seconds.get("preprocess"),
        "seconds_detect": meter.seconds.get("detect"),
        "seconds_tally": meter.seconds.get("tally"),
        "seconds_write": meter.seconds.get("write"),
        "seconds_wait": waited_s,
        "seconds_total": meter.total,
        "peak_rss_mb": meter.peak_rss_mb,
        "n_concurrent": meter.n_concurrent,
        "device": device_name(device),
        "backend": choose_backend(recipe.use.backend, device) if networks else "none",
        "worker": workplace.worker,
        "software": _software(),
        "finished_at": datetime.now(UTC),
    }


@cache
def _software() -> dict[str, str]:
    return {name: version(name) for name in ("spinetally", "torch", "openvino", "numpy", "SimpleITK", "zarr")}


def _row_of(reason: Reason, sentence: str, status: str) -> dict[str, Any]:
    return {"status": status, "reason_code": str(reason), "reason": sentence}


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out: torch says it with a RuntimeError."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)


def _is_gpu_memory(error: Exception) -> bool:
    """Whether it was the GPU's memory: of a window in the network, or of what else lies there."""
    return isinstance(error, GpuMemoryError | torch.cuda.OutOfMemoryError)


def _memory_sentence(error: Exception, request: ScanRequest, meter: Meter) -> str:
    shape = " x ".join(str(n) for n in request.series.get("shape") or [])
    if _is_gpu_memory(error):
        return (
            f"a scan of {shape} voxels ran out of the GPU's memory: set `on_gpu_full: cpu` to have it done on the CPU"
        )
    return (
        f"a scan of {shape} voxels ran out of memory at {meter.peak_rss_mb:.0f} MiB in its process, "
        "also alone: give the workers more memory"
    )


def _where(error: Exception) -> str:
    """The kind of an error and the line of ours that it passed; its own text may hold names and is left out."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(_OURS)]
    at = f" at {Path(ours[-1].filename).relative_to(_OURS)}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{at}"
