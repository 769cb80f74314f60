"""The model `builtin/ct-lesions` as a `Predictor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from pipeline.engine.resample import resample_image
from pipeline.errors import ModelError
from pipeline.grid import Volume
from pipeline.masks import LABEL_TYPE, LesionMask, LevelMask
from pipeline.models.builtin.ct_lesions.bone import Bone, lay_out
from pipeline.models.builtin.ct_lesions.choose import LEAST_SCORE, Candidate, choose
from pipeline.models.builtin.ct_lesions.describe import NAMES, Surroundings, describe, surround
from pipeline.models.builtin.ct_lesions.deviation import deviate
from pipeline.models.builtin.ct_lesions.paired import DISCOUNT, is_paired
from pipeline.models.builtin.ct_lesions.propose import Proposal, propose
from pipeline.models.builtin.ct_lesions.reference import refer
from pipeline.models.builtin.ct_lesions.score import Scorer, read_scorer
from pipeline.models.builtin.way_back import covered, part_of, widened
from pipeline.models.device import occupy
from pipeline.models.predictor import LesionSettings
from schemas.model import ModelSpec

if TYPE_CHECKING:
    from pipeline.models.registry import Place

_MOST = 65000
"""Instances that a mask can hold."""


class CtLesions:
    """Lytic and blastic places in the vertebrae of a CT."""

    def __init__(self, spec: ModelSpec, device: torch.device, scorer: Scorer) -> None:
        self.spec = spec
        self.device = device
        self.scorer = scorer

    def levels(self, volume: Volume, *, modality: str) -> LevelMask:  # noqa: ARG002
        """Not this model's task."""
        raise ModelError(f"{self.spec.name} finds lesions, no levels; name a level model such as builtin/ct-levels")

    def lesions(
        self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings
    ) -> LesionMask:
        """Lesions on the volume's own grid, strongest first, and the candidates that stay below the settings.

        A place has one score: `score_max` and `score_mean` are the same.
        """
        if modality not in self.spec.modality:
            raise ModelError(f"{self.spec.name} reads {', '.join(self.spec.modality)}, not {modality}")
        if within is None:
            raise ModelError(f"{self.spec.name} looks inside vertebrae: name a model for `levels` too")
        bone = lay_out(volume, within)
        found = [] if bone is None else self._look(bone)
        return _collect(volume, bone, found[:_MOST], settings)

    def _look(self, bone: Bone) -> list[Candidate]:
        places, described, around = look(bone, self.device)
        scores = self.scorer(described)
        for k in np.flatnonzero(scores >= LEAST_SCORE):
            if is_paired(places[k], around):
                scores[k] *= DISCOUNT
        kept = choose(places, scores, bone.hu.shape)
        return [Candidate(places[k].box, places[k].mask, float(scores[k])) for k in kept]


def look(bone: Bone, device: torch.device) -> tuple[list[Proposal], npt.NDArray[np.float64], Surroundings]:
    """All places that differ, what is known of them, (places, numbers), and of the scan."""
    reference = refer(bone)
    with occupy(device):
        deviation = deviate(bone, reference, device)
    places, around = propose(bone, deviation), surround(bone, reference, deviation)
    described = [describe(place, around) for place in places]
    return places, np.array(described, dtype=np.float64).reshape(len(places), len(NAMES)), around


def _collect(volume: Volume, bone: Bone | None, found: list[Candidate], settings: LesionSettings) -> LesionMask:
    instances = np.zeros(volume.grid.shape, dtype=LABEL_TYPE)
    kept: list[Candidate] = []
    left: list[dict[str, object]] = []
    for candidate in found if bone is not None else []:
        index = _voxels(volume, bone, candidate) if bone is not None else np.zeros((0, 3), dtype=np.int64)
        free = index[instances[tuple(index.T)] == 0]
        if not len(free):
            continue
        size = len(free) * volume.grid.voxel_mm3
        why = _why_not(candidate, size, settings)
        if why is None:
            kept.append(candidate)
            instances[tuple(free.T)] = len(kept)
        elif settings.keep_candidates:
            left.append(_row(volume, candidate, free, why))
    return LesionMask(
        instances=instances,
        score_max=np.array([c.score for c in kept], dtype=np.float64),
        score_mean=np.array([c.score for c in kept], dtype=np.float64),
        candidates=left,
    )


def _why_not(candidate: Candidate, size_mm3: float, settings: LesionSettings) -> str | None:
    if candidate.score < settings.threshold:
        return "threshold"
    return "min_volume" if size_mm3 < settings.min_volume_mm3 else None


def _voxels(volume: Volume, bone: Bone, candidate: Candidate) -> npt.NDArray[np.int64]:
    """Array indices (n, 3) in the scan of a candidate's voxels."""
    wide = widened(candidate.box, 1, bone.grid.shape)
    mask = np.zeros([s.stop - s.start for s in wide], dtype=np.float32)
    mask[tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(candidate.box, wide, strict=True))] = (
        candidate.mask
    )
    coarse = part_of(bone.grid, wide)
    target = covered(coarse, volume.grid)
    if any(part.stop <= part.start for part in target):
        return np.zeros((0, 3), dtype=np.int64)
    inside = resample_image(mask, coarse, part_of(volume.grid, target)) > 0.5
    return np.argwhere(inside) + [part.start for part in target]


def _row(volume: Volume, candidate: Candidate, index: npt.NDArray[np.int64], why: str) -> dict[str, object]:
    low, high = index.min(axis=0), index.max(axis=0) + 1
    return {
        "score_max": candidate.score,
        "score_mean": candidate.score,
        "centroid_mm": volume.grid.to_lps(index.mean(axis=0)).tolist(),
        "bbox": [*low.tolist(), *high.tolist()],
        "volume_mm3": len(index) * volume.grid.voxel_mm3,
        "why_not": why,
    }


def open_model(spec: ModelSpec, place: Place) -> CtLesions:
    """The detector on the device of `place`, with the networks that score."""
    return CtLesions(spec, place.device, read_scorer(place.folder / str(spec.weights)))
