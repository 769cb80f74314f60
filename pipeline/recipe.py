"""From what a person asked for to a recipe with an id: the hash of everything that can change a number.

Same id, same numbers, on the same kind of device; another id stands beside the old one in the results. Recipes are per
modality, so adding MR leaves the results for CT alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError, ModelError
from pipeline.models.registry import find_spec
from pipeline.store import Store
from schemas.config import ModalityRecipe, ModelUse
from schemas.model import Modality, ModelSpec
from schemas.versions import STAGES

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
        ConfigError: `levels: {from: ...}` names a modality without levels.
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
    models = {
        task: tuple(_find(name, task, modality, options) for name in _names(getattr(use, task)))
        for task in TASKS
        if getattr(use, task) is not None
    }
    document: dict[str, Any] = {
        "modality": modality,
        "use": use.model_dump(mode="json", by_alias=True),
        "models": {
            task: [{"spec": m.spec.model_dump(mode="json"), "digest": m.digest} for m in found]
            for task, found in models.items()
        },
        "versions": STAGES,
    }
    if use.levels is not None and use.levels.from_ is not None:
        source = others.get(use.levels.from_)
        if source is None or source.use.levels is None or _borrows(source.use):
            raise ConfigError(
                f"recipe.{modality}.levels takes levels from {use.levels.from_}, which has none of its own in this "
                f"recipe: add `{use.levels.from_}: {{levels: ...}}`"
            )
        document["levels_from"] = source.recipe_id
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return ResolvedRecipe(hashlib.sha256(canonical.encode()).hexdigest()[:16], modality, use, models, document)


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
