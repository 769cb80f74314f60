"""One scan under one recipe, in one process: read, detect, tally, write the masks, and give the row.

Arrays never leave the process. What is wrong with the scan becomes a row; what is wrong with a service passes through,
so that the scan stays pending.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.borrowed import borrowed_levels
from pipeline.errors import ModelError, ScanError, ServiceError
from pipeline.grid import Volume
from pipeline.mask_sources.read import read_mask
from pipeline.masks import LesionMask, LevelMask
from pipeline.meter import Meter, metered
from pipeline.models.device import choose_backend, choose_device, clocked, device_name
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.registry import load
from pipeline.recipe import ResolvedRecipe
from pipeline.store import Store
from pipeline.tally import tally_scan
from pipeline.volumes import read_volume, write_labels
from schemas.config import ModelUse
from schemas.reasons import Reason

_OURS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class ScanRequest:
    """One scan to do; small, and can be sent to a worker."""

    series: dict[str, Any]
    """Its row of the catalog."""
    masks: dict[str, str | None] = field(default_factory=dict)
    """`lesions_uri` and `levels_uri` of the manifest, where the recipe says `precomputed`."""
    levels_from: str | None = None
    """`labels_uri` of the scan of another modality whose levels are taken."""


@dataclass(frozen=True)
class Workplace:
    """Where scans are done."""

    store: Store
    """Volumes come from it, masks go to it."""
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """For models and masks that lie elsewhere."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1."""
    worker: str = "local"
    """Name for the rows."""


def process_scan(
    request: ScanRequest, *, recipe: ResolvedRecipe, attempt: str, workplace: Workplace, alone: bool = True
) -> dict[str, Any]:
    """Do one scan; its row of `schemas.results.RESULTS`.

    Args:
        request: the scan.
        recipe: what to do.
        attempt: enters the row and the address of the masks.
        workplace: the store and the device.
        alone: whether running out of memory is this scan's own fault; else MemoryError is raised for another try.

    Raises:
        ServiceError: the store or a service was not there; the scan stays pending.
        MemoryError: there was too little memory, and the scan was not alone.
    """
    with metered() as meter, clocked() as clock:
        try:
            outcome = {"status": "ok"} | _process(request, recipe, attempt, workplace, meter)
        except ScanError as error:
            outcome = _row_of(error.reason, error.sentence, "quarantined")
        except ModelError as error:
            outcome = _row_of(Reason.MODEL_UNFIT, str(error), "quarantined")
        except ServiceError:
            raise
        except Exception as error:
            if not _is_memory(error):
                outcome = _row_of(Reason.ERROR, _where(error), "failed")
            elif alone:
                outcome = _row_of(Reason.OUT_OF_MEMORY, _memory_sentence(request, meter), "quarantined")
            else:
                raise MemoryError("the scan needs more memory than was free") from None
        return _identity(request, recipe, attempt) | outcome | _cost(meter, clock.wait_s, recipe, workplace)


def _process(
    request: ScanRequest, recipe: ResolvedRecipe, attempt: str, workplace: Workplace, meter: Meter
) -> dict[str, Any]:
    series = request.series
    with meter.stage("read"):
        volume = read_volume(workplace.store, series["volume_uri"])
    with meter.stage("detect"):
        levels = _levels(volume, request, recipe, workplace)
        lesions = _lesions(volume, levels, request, recipe, workplace)
    with meter.stage("tally"):
        tallied = tally_scan(
            volume,
            modality=recipe.modality,
            intensity_unit=series.get("intensity_unit"),
            suv_factor=series.get("suv_factor"),
            lesions=lesions,
            levels=levels,
            type_rule=recipe.use.type_rule,
            threshold=_threshold(recipe, series),
            model=recipe.model_label("lesions"),
            radiomics=recipe.use.radiomics,
        )
    group = f"labels/recipe={recipe.recipe_id}/{series['shard']}.zarr/{series['series_key']}/{attempt}"
    with meter.stage("write"):
        write_labels(
            workplace.store,
            group,
            grid=volume.grid,
            lesions=lesions.instances if lesions else None,
            levels=levels.levels if levels else None,
        )
    anchor = levels.anchor if levels else None
    return tallied | {"labels_uri": group if lesions or levels else None, "naming_anchor": anchor}


def _levels(volume: Volume, request: ScanRequest, recipe: ResolvedRecipe, workplace: Workplace) -> LevelMask | None:
    use = recipe.use.levels
    if use is None:
        return None
    if use.from_ is not None:
        return borrowed_levels(workplace.store, request.levels_from, onto=volume.grid)
    if _is_precomputed(recipe, "levels"):
        uri = _mask_uri(request, "levels_uri")
        table = str(use.options.get("label_table", "verse"))
        return read_mask(
            uri, grid=volume.grid, kind="levels", label_table=table, storage_options=workplace.storage_options
        )
    return _load(recipe, "levels", use, workplace).levels(volume, modality=recipe.modality)


def _lesions(
    volume: Volume, levels: LevelMask | None, request: ScanRequest, recipe: ResolvedRecipe, workplace: Workplace
) -> LesionMask | None:
    use = _lesion_use(recipe, request.series)
    if use is None:
        return None
    if _is_precomputed(recipe, "lesions"):
        uri = _mask_uri(request, "lesions_uri")
        return read_mask(
            uri, grid=volume.grid, kind="lesions", labels=use.labels, storage_options=workplace.storage_options
        )
    predictor = _load(recipe, "lesions", use, workplace)
    settings = LesionSettings.of(
        use,
        predictor.spec,
        keep_candidates=recipe.use.keep_candidates,
        suv_factor=request.series.get("suv_factor"),
    )
    within = None if use.region == "none" else levels
    return predictor.lesions(volume, modality=recipe.modality, within=within, settings=settings)


def _load(recipe: ResolvedRecipe, task: str, use: ModelUse, workplace: Workplace) -> Predictor:
    (model,) = recipe.models[task]
    return load(
        model.name,
        expected_digest=model.digest,
        device=workplace.device,
        backend=recipe.use.backend,
        trust=use.trust,
        storage_options=workplace.storage_options,
    )


def _is_precomputed(recipe: ResolvedRecipe, task: str) -> bool:
    return any(model.spec.format == "precomputed" for model in recipe.models[task])


def _mask_uri(request: ScanRequest, name: str) -> str:
    uri = request.masks.get(name)
    if not uri:
        raise ScanError(
            Reason.MASK_MISSING,
            f"the recipe says `model: precomputed`, and the manifest names no {name} for this scan: add it there",
        )
    return uri


def _lesion_use(recipe: ResolvedRecipe, series: dict[str, Any]) -> ModelUse | None:
    """The recipe's `lesions` with what its overrides say of this scan."""
    use = recipe.use.lesions
    for override in recipe.use.overrides:
        if use is not None and all(str(series.get(name)) == value for name, value in override.when.items()):
            use = use.model_copy(update=override.lesions)
    return use


def _threshold(recipe: ResolvedRecipe, series: dict[str, Any]) -> float | None:
    use = _lesion_use(recipe, series)
    if use is None or _is_precomputed(recipe, "lesions"):
        return None
    return use.threshold if use.threshold is not None else recipe.models["lesions"][0].spec.threshold


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


def _memory_sentence(request: ScanRequest, meter: Meter) -> str:
    shape = " x ".join(str(n) for n in request.series.get("shape") or [])
    return (
        f"a scan of {shape} voxels ran out of memory at {meter.peak_rss_mb:.0f} MiB in its process, "
        "also alone: give the workers more memory"
    )


def _where(error: Exception) -> str:
    """The kind of an error and the line of ours that it passed; its own text may hold names and is left out."""
    ours = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename).is_relative_to(_OURS)]
    at = f" at {Path(ours[-1].filename).relative_to(_OURS)}:{ours[-1].lineno}" if ours else ""
    return f"{type(error).__name__}{at}"
