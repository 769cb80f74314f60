"""From what a person asked for to a recipe with an id: the hash of everything that can change a number.

Same id, same numbers, on the same kind of device; another id stands beside the old one in the results. Recipes are per
modality, so adding MR leaves the results for CT alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline.errors import ConfigError, ModelError
from pipeline.level_anchor import checked
from pipeline.models.predictor import FLIPPING
from pipeline.models.registry import find_spec
from pipeline.store import Store
from pipeline.store.filesystem import open_filesystem, service_errors
from pipeline.tally import check_features
from schemas.config import ModalityRecipe, ModelUse, Thresholds
from schemas.model import Modality, ModelSpec
from schemas.model_options import check_options
from schemas.versions import RADIOMICS, STAGES

TASKS = ("levels", "lesions", "characterise")
"""In the order in which they run."""


@dataclass(frozen=True)
class ResolvedModel:
    """A model that was found."""

    name: str
    """As the cohort file has it."""
    spec: ModelSpec
    """What it says of itself."""
    digest: str
    """Digest of its weights and spec; what a worker loads must match it."""


@dataclass(frozen=True)
class ResolvedRecipe:
    """What to do with scans of one modality, down to the digest of each model."""

    recipe_id: str
    """First 16 hex digits of the SHA-256 of `document`."""
    modality: str
    """DICOM modality."""
    use: ModalityRecipe
    """As asked for."""
    models: dict[str, tuple[ResolvedModel, ...]]
    """Task to models; several are an ensemble."""
    document: dict[str, Any]
    """All of it, as stored in `recipes/`."""

    def model_label(self, task: str) -> str | None:
        """`name version` of the task's models, for the rows."""
        models = self.models.get(task)
        return " + ".join(f"{m.spec.name} {m.spec.version}" for m in models) if models else None


def resolve_all(
    recipes: dict[Modality, ModalityRecipe], *, storage_options: dict[str, Any] | None = None
) -> dict[str, ResolvedRecipe]:
    """Find every model that the recipes name; modality to resolved recipe.

    Raises:
        ModelError: a model is unknown, damaged, or not made for that task or modality.
        ConfigError: `levels: {from: ...}` names a modality without levels, or radiomics are unknown or not installed.
    """
    resolved: dict[str, ResolvedRecipe] = {}
    for modality in sorted(recipes, key=lambda m: _borrows(recipes[m])):
        resolved[modality] = _resolve(modality, recipes[modality], resolved, storage_options or {})
    return {modality: resolved[modality] for modality in recipes}


def save(store: Store, recipe: ResolvedRecipe) -> None:
    """Put the recipe into the store, once."""
    data = json.dumps({"recipe_id": recipe.recipe_id, **recipe.document}, indent=1, sort_keys=True).encode()
    store.create_once(f"recipes/{recipe.recipe_id}.json", data)


def _borrows(recipe: ModalityRecipe) -> bool:
    return recipe.levels is not None and recipe.levels.from_ is not None


def _resolve(
    modality: str, use: ModalityRecipe, others: dict[str, ResolvedRecipe], options: dict[str, Any]
) -> ResolvedRecipe:
    use, set_on = _with_thresholds(modality, use, options)
    models = {
        task: tuple(_find(name, task, modality, options) for name in _names(getattr(use, task)))
        for task in TASKS
        if getattr(use, task) is not None
    }
    _check_settings(modality, use, models)
    document: dict[str, Any] = {
        "modality": modality,
        "use": use.model_dump(mode="json", by_alias=True),
        "models": {
            task: [{"spec": m.spec.model_dump(mode="json"), "digest": m.digest} for m in found]
            for task, found in models.items()
        },
        "versions": STAGES | ({} if use.radiomics is None else {"radiomics": RADIOMICS}),
    }
    if use.levels is not None and use.levels.from_ is not None:
        source = others.get(use.levels.from_)
        if source is None or source.use.levels is None or _borrows(source.use):
            raise ConfigError(
                f"recipe.{modality}.levels takes levels from {use.levels.from_}, which has none of its own in this "
                f"recipe: add `{use.levels.from_}: {{levels: ...}}`"
            )
        document["levels_from"] = source.recipe_id
    if set_on is not None:
        document["threshold_set"] = set_on
    return ResolvedRecipe(_hash(_without_addresses(document)), modality, use, models, document)


def _without_addresses(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without where models were found: their digests say which they are."""
    use = {
        name: {k: v for k, v in value.items() if k not in ("model", "models")} if name in TASKS and value else value
        for name, value in document["use"].items()
    }
    return {**document, "use": use}


def detection_id(document: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> str:
    """Hash of what finds levels and lesions, without what only measures them: recipes that share it share masks.

    Args:
        document: a recipe's.
        others: documents by recipe_id, among them the recipe whose levels this one takes.
    """
    use = {name: value for name, value in document["use"].items() if name not in ("type_rule", "radiomics")}
    versions = {name: value for name, value in document["versions"].items() if name not in ("tally", "radiomics")}
    lent = document.get("levels_from")
    source = {"levels_from": detection_id(others[lent], others)} if lent is not None and lent in others else {}
    return _hash({**_without_addresses({**document, "use": use}), "versions": versions, "recipe_id": None, **source})


def _hash(document: Mapping[str, Any]) -> str:
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _with_thresholds(
    modality: str, use: ModalityRecipe, options: dict[str, Any]
) -> tuple[ModalityRecipe, dict[str, Any] | None]:
    """The recipe with the figures of its `threshold_file`, and when and how the file says they were chosen."""
    lesions = use.lesions
    if lesions is None or lesions.threshold_file is None:
        return use, None
    found = _read_thresholds(f"recipe.{modality}.lesions.threshold_file", lesions.threshold_file, options)
    figures = {"threshold": found.threshold, "min_volume_mm3": found.min_volume_mm3, "threshold_file": None}
    changed = use.model_copy(update={"lesions": lesions.model_copy(update=figures)})
    return changed, found.model_dump(mode="json", include={"set_on", "note"})


def _read_thresholds(key: str, uri: str, options: dict[str, Any]) -> Thresholds:
    try:
        with service_errors("reading a threshold_file"):
            filesystem, path = open_filesystem(uri, options)
            content = yaml.safe_load(filesystem.cat_file(path))
        return Thresholds.model_validate(content)
    except FileNotFoundError:
        raise ConfigError(f"{key}: there is no such file: give a YAML file with `set_on` and `threshold`") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{key}: no valid YAML: {str(error).splitlines()[0]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{key}: {where}: {first['msg']}; `set_on` (a date) and `threshold` are needed") from None


def _check_settings(modality: str, use: ModalityRecipe, models: Mapping[str, tuple[ResolvedModel, ...]]) -> None:
    """Refuse what a model cannot do, and settings that mean nothing for it: every scan would be quarantined for it.

    Radiomics are asked about here, for a worker would find out only after the network has run.
    """
    if use.radiomics is not None:
        check_features(use.radiomics)
    for task, found in models.items():
        key = f"recipe.{modality}.{task}"
        asked: ModelUse = getattr(use, task)
        others = [getattr(getattr(o, task, None), "options", None) for o in use.overrides]
        _check_options(key, found, [asked.options, *others])
        for model in found:
            _check_model(key, model, asked, use, alone=len(found) == 1)
        if asked.labels != "auto" and not any(model.spec.format == "precomputed" for model in found):
            raise ModelError(f"{key}: `labels` says how to read masks of `precomputed`: leave it out")
    if use.lesions is not None and use.lesions.region == "levels" and use.levels is None:
        raise ModelError(f"recipe.{modality}.lesions: `region: levels` needs levels: add `levels`")
    given = [use.levels.anchors] if use.levels is not None else []
    for anchors in (*given, *(o.levels.anchors or {} for o in use.overrides)):
        checked(anchors)


def _check_model(key: str, model: ResolvedModel, asked: ModelUse, use: ModalityRecipe, *, alone: bool) -> None:
    task, kind = key.rpartition(".")[2], model.spec.format
    if not alone and (kind == "precomputed" or task == "characterise"):
        raise ModelError(f"{key}: {model.name} cannot join an ensemble: name one `model`")
    if not alone and task == "lesions" and kind not in FLIPPING:
        raise ModelError(f"{key}: {model.name} gives masks without scores; it cannot join an ensemble: leave it out")
    overridden = any(getattr(getattr(o, task, None), "flips", None) for o in use.overrides)
    if (asked.flips or overridden) and (kind not in FLIPPING or task == "characterise"):
        raise ModelError(f"{key}: {model.name} knows no test-time flips: leave `flips` out")
    if kind in ("onnx", "openvino") and use.backend.startswith("torch"):
        raise ModelError(f"{key}: {model.name} is {kind}, which runs on OpenVINO: leave `backend: {use.backend}` out")
    if kind == "builtin" and task == "lesions":
        everywhere = "none" in (asked.region, *(o.lesions.region for o in use.overrides))
        if use.levels is None or everywhere:
            lack = "leave `region: none` out" if everywhere else "add `levels`, such as {model: builtin/ct-levels}"
            raise ModelError(f"{key}: {model.name} looks inside vertebrae: {lack}")


def _check_options(key: str, models: tuple[ResolvedModel, ...], given: list[dict[str, Any] | None]) -> None:
    for model in models:
        task = key.rpartition(".")[2] if model.spec.format == "precomputed" else model.spec.task
        for options in given:
            try:
                check_options(model.spec.format, task, options or {})
            except ValueError as problem:
                raise ModelError(f"{key}.options: {model.name}: {problem}") from None


def _names(use: ModelUse) -> list[str]:
    if use.models is not None:
        return use.models
    return [use.model] if use.model is not None else []


def _find(name: str, task: str, modality: str, options: dict[str, Any]) -> ResolvedModel:
    spec, digest = find_spec(name, storage_options=options)
    if modality not in spec.modality:
        raise ModelError(f"recipe.{modality}.{task}: {name} is made for {', '.join(spec.modality)}, not for {modality}")
    if spec.format != "precomputed" and spec.task != task and not (spec.task == "both" and task != "characterise"):
        raise ModelError(f"recipe.{modality}.{task}: {name} does {spec.task}, not {task}")
    return ResolvedModel(name, spec, digest)
