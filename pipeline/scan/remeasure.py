"""Measuring alone, again: masks come from the store, and what no mask tells comes from the earlier row.

That is enough where models, settings and everything before the tally are the same, and only the code that measures, the
type rule or the choice of radiomics is another: no network runs, and no mask is written twice.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import DamagedError
from pipeline.masks import LesionMask, LevelMask
from pipeline.recipe import ResolvedRecipe
from pipeline.scan.request import Earlier, ScanRequest
from pipeline.store import Store
from pipeline.store.volumes import StoredMasks, read_stored_masks

log = logging.getLogger("spinetally.remeasure")

OF_LESION = ("score_max", "score_mean", "mask_volume_change", "model_class_probabilities")
"""Columns of a lesion that no mask tells."""


def recalled(store: Store, earlier: Earlier | None) -> tuple[LevelMask | None, LesionMask | None] | None:
    """The masks of an earlier result; None where there is none, or where they are not all there any more.

    Raises:
        ServiceError: the store was not there.
    """
    if earlier is None:
        return None
    try:
        stored = read_stored_masks(store, earlier.labels_uri)
    except DamagedError as error:
        log.info("not measured again from stored masks, but found again: %s", error)
        return None
    if not stored.knows_parts:
        return None  # written before bodies were kept: they must be found again
    return _levels(stored, earlier), _lesions(stored, earlier)


def labels_of(request: ScanRequest, recipe: ResolvedRecipe, attempt: str, *, reused: bool) -> str:
    """Where the masks of a scan are: with the earlier result that was measured again, else a new place."""
    if reused and request.earlier is not None:
        return request.earlier.labels_uri
    series = request.series
    return f"labels/recipe={recipe.recipe_id}/{series['shard']}.zarr/{series['series_key']}/{attempt}"


def _levels(stored: StoredMasks, earlier: Earlier) -> LevelMask | None:
    return None if stored.levels is None else LevelMask(stored.levels, stored.parts, earlier.naming_anchor)


def _lesions(stored: StoredMasks, earlier: Earlier) -> LesionMask | None:
    if stored.lesions is None:
        return None
    classes = [lesion["model_class_probabilities"] for lesion in earlier.lesions]
    return LesionMask(
        instances=stored.lesions,
        score_max=_numbers(earlier, "score_max"),
        score_mean=_numbers(earlier, "score_mean"),
        candidates=[dict(row) for row in earlier.candidates or ()],
        volume_change=_numbers(earlier, "mask_volume_change"),
        model_class=[dict(each) for each in classes] if classes and all(c is not None for c in classes) else None,
    )


def _numbers(earlier: Earlier, name: str) -> npt.NDArray[np.float64] | None:
    values: list[Any] = [lesion[name] for lesion in earlier.lesions]
    return None if any(value is None for value in values) else np.array(values, dtype=np.float64)
