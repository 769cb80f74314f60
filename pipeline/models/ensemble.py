"""Several models as one: lesion scores are averaged, levels are voted for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from pipeline.engine.detect import Scores, lesions_from_scores
from pipeline.engine.reduce import SCORE_TYPE
from pipeline.errors import ModelError
from pipeline.grid import Volume
from pipeline.masks import LABEL_TYPE, LesionMask, LevelMask
from pipeline.models.predictor import LesionSettings, Predictor
from schemas.model import ModelSpec


@runtime_checkable
class Scoring(Protocol):
    """A model whose scores can be averaged with those of others."""

    def scores(self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings) -> Scores:
        """The probability of lesion [z, y, x], in units of 1 / `pipeline.engine.reduce.SCORE_UNIT`."""
        ...


class Ensemble:
    """Several models of one task, under the contract of `Predictor`."""

    def __init__(self, members: Sequence[Predictor]) -> None:
        """`members`: at least one.

        Raises:
            ModelError: none, or models of different tasks.
        """
        if not members:
            raise ModelError("an ensemble needs at least one model, `models` is empty")
        if len(tasks := {member.spec.task for member in members}) > 1:
            raise ModelError(f"the models of an ensemble must share a task; these have {', '.join(sorted(tasks))}")
        self._members = list(members)
        self.spec: ModelSpec = members[0].spec
        """That of the first; threshold and smallest volume are its own, where the recipe says nothing."""

    def levels(self, volume: Volume, *, modality: str, flips: bool = False) -> LevelMask:
        """At each voxel the level that most models give it; of as many, the one that a model named earlier gives."""
        masks = [member.levels(volume, modality=modality, flips=flips) for member in self._members]
        stack = [mask.levels for mask in masks]
        result, most = np.zeros(volume.grid.shape, dtype=LABEL_TYPE), np.zeros(volume.grid.shape, dtype=np.uint8)
        for mine in stack:
            votes = np.sum([mine == other for other in stack], axis=0, dtype=np.uint8)
            better = votes > most
            result[better] = mine[better]
            np.maximum(most, votes, out=most)
        return LevelMask(result, anchor=masks[0].anchor)

    def lesions(
        self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings
    ) -> LesionMask:
        """The lesions of the averaged scores.

        Raises:
            ModelError: a member gives masks without scores.
        """
        total = np.zeros(volume.grid.shape, dtype=np.float32)
        for member in self._members:
            if not isinstance(member, Scoring):
                raise ModelError(f"model {member.spec.name!r} gives masks without scores; it cannot join an ensemble")
            total += member.scores(volume, modality=modality, within=within, settings=settings)
        return lesions_from_scores(
            np.rint(total / len(self._members)).astype(SCORE_TYPE),
            volume.grid,
            threshold=settings.threshold,
            min_volume_mm3=settings.min_volume_mm3,
            keep_candidates=settings.keep_candidates,
        )
