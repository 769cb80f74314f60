"""A network of voxels as a model: to its grid, through the sliding window, and back to the scan's grid."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.engine.detect import Scores, lesions_from_scores, widened
from pipeline.engine.preprocess import Box, box_around, crop, prepare
from pipeline.engine.reduce import SCORE_TYPE, Labels, Reducer, reduce_slabs
from pipeline.engine.reduce import Scores as ScoreMap
from pipeline.engine.resample import align
from pipeline.engine.window import Network, blended_slabs
from pipeline.errors import ModelError, ScanError
from pipeline.grid import Grid, Volume
from pipeline.masks import LABEL_TYPE, LesionMask, LevelMask
from pipeline.models.classes import Classes
from pipeline.models.predictor import LesionSettings
from schemas.model import ModelSpec
from schemas.model_options import LesionNetworkOptions
from schemas.reasons import Reason

REGION_MARGIN_MM = 3.0
"""How far around vertebrae lesions are looked for, where the recipe limits them to vertebrae."""

CONTEXT_MM = 40.0
"""How much around the vertebrae the network sees beyond that."""


class VoxelwiseModel:
    """A network that gives each voxel class scores, under the contract of `Predictor`."""

    def __init__(self, spec: ModelSpec, network: Network, classes: Classes) -> None:
        self.spec = spec
        self.classes = classes
        self._network = network

    def levels(self, volume: Volume, *, modality: str, flips: bool = False) -> LevelMask:
        """The levels, named by the model's own classes."""
        check_use(self.spec, modality, "levels")
        result = np.zeros(volume.grid.shape, dtype=LABEL_TYPE)
        self._run(volume, Labels(self.classes.level_values, self.classes.level_scores), result, flips=flips)
        return LevelMask(result, anchor="model")

    def lesions(
        self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings
    ) -> LesionMask:
        """The lesions above the settings' threshold, and the candidates under it."""
        scores = self.scores(volume, modality=modality, within=within, settings=settings)
        return lesions_from_scores(
            scores,
            volume.grid,
            threshold=settings.threshold,
            min_volume_mm3=settings.min_volume_mm3,
            keep_candidates=settings.keep_candidates,
        )

    def scores(self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings) -> Scores:
        """The probability of lesion at each voxel [z, y, x], in units of 1 / `pipeline.engine.reduce.SCORE_UNIT`."""
        check_use(self.spec, modality, "lesions")
        result = np.zeros(volume.grid.shape, dtype=SCORE_TYPE)
        box = region(within, volume.grid)
        if box is None:
            return result
        seen = in_unit(crop(volume, box), self.spec, settings.suv_factor)
        self._run(seen, ScoreMap(self.classes.lesion_probability), result[box], flips=settings.flips)
        return limited(result, within, volume.grid)

    def _run(self, volume: Volume, reducer: Reducer, result: npt.NDArray[np.uint16], *, flips: bool) -> None:
        """Windows over the whole of `volume`, reduced into `result` [z, y, x] on its grid."""
        options = LesionNetworkOptions.of(self.spec.options)  # knows all that others know, too
        values, grid = prepare(volume, self.spec)
        slabs = blended_slabs(
            self._network,
            values,
            self.spec.patch or grid.shape,
            self.spec.overlap,
            fill=options.fill,
            flips=mirrored_axes(options.flip_axes) if flips else (),
            empty_below=options.empty_below,
        )
        forth = align(volume.grid, grid)
        z, y, x = (one.inverse() for one in forth.maps)
        reduce_slabs(slabs, (z, y, x), [(reducer, forth.view(result))])


def check_use(spec: ModelSpec, modality: str, task: str) -> None:
    """Whether a model is made for this.

    Raises:
        ScanError: MODEL_UNFIT, it is for other modalities.
        ModelError: it does another task.
    """
    if spec.task not in (task, "both"):
        raise ModelError(f"model {spec.name!r} is for the task {spec.task!r} and was asked for {task}")
    if modality not in spec.modality:
        raise ScanError(
            Reason.MODEL_UNFIT, f"model {spec.name!r} is made for {', '.join(spec.modality)}; the scan is {modality}"
        )


def region(within: LevelMask | None, grid: Grid) -> Box | None:
    """What the network sees: the vertebrae with `CONTEXT_MM` around them; all where there is no limit, None where
    there is a limit and no vertebra.
    """
    if within is None:
        return (slice(0, grid.shape[0]), slice(0, grid.shape[1]), slice(0, grid.shape[2]))
    return box_around(within.levels, grid, margin_mm=CONTEXT_MM)


def limited(scores: Scores, within: LevelMask | None, grid: Grid) -> Scores:
    """Scores [z, y, x] set to 0 farther than `REGION_MARGIN_MM` from every vertebra, in place."""
    box = None if within is None else box_around(within.levels, grid, margin_mm=REGION_MARGIN_MM)
    if within is None or box is None:
        return scores
    kept = scores[box] * widened(within.levels[box] != 0, grid, REGION_MARGIN_MM)
    scores[...] = 0
    scores[box] = kept
    return scores


def in_unit(volume: Volume, spec: ModelSpec, suv_factor: float | None) -> Volume:
    """The volume in SUVbw where the model asks for that (`options: {unit: SUV}`).

    Raises:
        ScanError: MODEL_UNFIT, the scan's factor to SUV is not known.
    """
    if spec.options.get("unit") != "SUV":
        return volume
    if suv_factor is None:
        raise ScanError(Reason.MODEL_UNFIT, "the model asks for SUV; the scan lacks weight, dose or times to make it")
    return Volume(np.multiply(volume.voxels, suv_factor, dtype=np.float32), volume.grid)


def mirrored_axes(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Every combination of axes (0 z, 1 y, 2 x) to mirror together, none left out but the empty one."""
    return [some for count in range(1, len(axes) + 1) for some in itertools.combinations(axes, count)]
