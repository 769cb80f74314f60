"""What a recipe's models find in one scan: levels, lesions within them, and what kind these are."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.errors import ScanError
from pipeline.grid import Volume
from pipeline.level_anchor import parse_anchor, renamed
from pipeline.mask_sources.read import read_mask
from pipeline.masks import LesionMask, LevelMask
from pipeline.models.ensemble import Ensemble
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.registry import load, load_characteriser
from pipeline.recipe import ResolvedRecipe
from pipeline.scan.borrowed import borrowed_levels
from pipeline.scan.request import ScanRequest, Workplace
from schemas.config import ModelUse
from schemas.model_options import PrecomputedOptions
from schemas.reasons import Reason


def find_levels(volume: Volume, request: ScanRequest, recipe: ResolvedRecipe, workplace: Workplace) -> LevelMask | None:
    """The scan's levels by a model, a mask or another scan, named as a person's anchor says; None without a recipe.

    Raises:
        ScanError: something is wrong with the scan, its masks, or what a model made of it.
        ModelError: a model cannot be opened or used.
    """
    use = use_of(recipe, "levels", request.series)
    if use is None:
        return None
    mask = _unnamed_levels(volume, use, request, recipe, workplace)
    given = request.masks.get("level_anchor")
    anchors = parse_anchor(given) if given else use.anchors
    return renamed(mask, anchors, volume.grid) if anchors else mask


def find_lesions(
    volume: Volume, levels: LevelMask | None, request: ScanRequest, recipe: ResolvedRecipe, workplace: Workplace
) -> LesionMask | None:
    """The scan's lesions, each with its class probabilities where the recipe asks for them; None without a recipe.

    Raises:
        ScanError: something is wrong with the scan, its masks, or what a model made of it.
        ModelError: a model cannot be opened or used.
    """
    use = use_of(recipe, "lesions", request.series)
    if use is None:
        return None
    found = _lesions(volume, levels, use, request, recipe, workplace)
    if recipe.use.characterise is None:
        return found
    (model,) = recipe.models["characterise"]
    asked = recipe.use.characterise
    characteriser = load_characteriser(
        model.name, expected_digest=model.digest, trust=asked.trust, options=asked.options, **_where(workplace)
    )
    return characteriser.characterise(finite(volume), found, modality=recipe.modality)


def finite(volume: Volume) -> Volume:
    """The volume with its lowest value in place of what is no number, such as the surroundings of a resampled scan: one
    of these in a window makes every score of it none.
    """
    if volume.voxels.dtype.kind != "f":
        return volume
    known = np.isfinite(volume.voxels)
    if known.all() or not known.any():
        return volume
    return Volume(np.where(known, volume.voxels, volume.voxels[known].min()), volume.grid)


def use_of(recipe: ResolvedRecipe, task: str, series: dict[str, Any]) -> ModelUse | None:
    """What the recipe says of a task, with what its overrides say of this scan."""
    use: ModelUse | None = getattr(recipe.use, task)
    for override in recipe.use.overrides:
        if use is not None and all(_fits(series.get(name), value) for name, value in override.when.items()):
            changes = getattr(override, task).model_dump(exclude_none=True)
            if "options" in changes:
                changes["options"] = use.options | changes["options"]
            use = use.model_copy(update=changes)
    return use


def threshold_of(recipe: ResolvedRecipe, series: dict[str, Any]) -> float | None:
    """The score that makes a lesion of this scan; None for masks without scores."""
    use = use_of(recipe, "lesions", series)
    if use is None or is_precomputed(recipe, "lesions"):
        return None
    return use.threshold if use.threshold is not None else recipe.models["lesions"][0].spec.threshold


def is_precomputed(recipe: ResolvedRecipe, task: str) -> bool:
    """Whether the manifest names the masks of a task."""
    return any(model.spec.format == "precomputed" for model in recipe.models.get(task, ()))


def _unnamed_levels(
    volume: Volume, use: ModelUse, request: ScanRequest, recipe: ResolvedRecipe, workplace: Workplace
) -> LevelMask:
    if use.from_ is not None:
        return borrowed_levels(workplace.store, request.levels_from, onto=volume.grid)
    if is_precomputed(recipe, "levels"):
        uri = _mask_uri(request, "levels_uri")
        return read_mask(
            uri,
            grid=volume.grid,
            kind="levels",
            label_table=PrecomputedOptions.of(use.options).label_table,
            storage_options=workplace.storage_options,
        )
    predictor = _load(recipe, "levels", use, workplace)
    return predictor.levels(finite(volume), modality=recipe.modality, flips=use.flips)


def _lesions(
    volume: Volume,
    levels: LevelMask | None,
    use: ModelUse,
    request: ScanRequest,
    recipe: ResolvedRecipe,
    workplace: Workplace,
) -> LesionMask:
    if is_precomputed(recipe, "lesions"):
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
    return predictor.lesions(finite(volume), modality=recipe.modality, within=within, settings=settings)


def _load(recipe: ResolvedRecipe, task: str, use: ModelUse, workplace: Workplace) -> Predictor:
    members = [
        load(
            model.name,
            expected_digest=model.digest,
            backend=recipe.use.backend,
            trust=use.trust,
            options=use.options,
            **_where(workplace),
        )
        for model in recipe.models[task]
    ]
    return members[0] if len(members) == 1 else Ensemble(members)


def _where(workplace: Workplace) -> dict[str, Any]:
    return {"device": workplace.device, "storage_options": workplace.storage_options}


def _mask_uri(request: ScanRequest, name: str) -> str:
    uri = request.masks.get(name)
    if not uri:
        why = request.masks.get(name.replace("_uri", "_why"))
        raise ScanError(
            Reason.MASK_MISSING,
            f"{why}: name one as {name} in a manifest"
            if why
            else f"the recipe says `model: precomputed`, and the manifest names no {name} for this scan: add it there",
        )
    return uri


def _fits(found: Any, wanted: str) -> bool:
    """Whether a column's value, or any of its values, is the one that an override names."""
    return any(str(one) == wanted for one in (found if isinstance(found, list) else [found]) if one is not None)
