"""Lesions by uptake (PET, SPECT): a fixed SUV, or a share of each region's maximum. No network.

`options: {rule: ...}` chooses:

- `suv` (the default): SUVbw of `suv` and more, 4.0 unless said otherwise (the consensus for total metabolic tumour
  volume: Boellaard et al., J Nucl Med 2024;65:1343).
- `fraction`: regions are what is connected at SUV `suv` and more; of each, the voxels with at least `fraction` of its
  own maximum, 0.41 unless said otherwise (EANM guideline 2.0: Boellaard et al., EJNMMI 2015;42:328).
  Where no SUV can be known (SPECT), regions begin at `seed`, 0.5, of the scan's maximum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.engine.detect import Mask, components, lesions_from_mask, widened
from pipeline.engine.reduce import SCORE_UNIT
from pipeline.errors import ModelError, ScanError
from pipeline.grid import Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.models.place import Place
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.voxelwise import REGION_MARGIN_MM, check_use
from schemas.model import ModelSpec
from schemas.model_options import ThresholdOptions
from schemas.reasons import Reason


def open_model(spec: ModelSpec, place: Place) -> Predictor:
    """The rule as a model; it needs no place."""
    del place
    return ThresholdModel(spec)


class ThresholdModel:
    """Uptake above a threshold, under the contract of `Predictor`."""

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec

    def levels(self, volume: Volume, *, modality: str, flips: bool = False) -> LevelMask:  # noqa: ARG002
        """Not this model's task."""
        raise ModelError(f"{self.spec.name} marks uptake and knows no levels; take those of the CT")

    def lesions(
        self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings
    ) -> LesionMask:
        """The 26-connected parts above the threshold, the largest first."""
        check_use(self.spec, modality, "lesions")
        options = ThresholdOptions.of(self.spec.options)
        values = volume.voxels.astype(np.float32)
        if within is not None:
            values[~widened(within.levels != 0, volume.grid, REGION_MARGIN_MM)] = 0
        marked = _RULES[options.rule](values, settings.suv_factor, options)
        return lesions_from_mask(marked, volume.grid, min_volume_mm3=settings.min_volume_mm3)


def _fixed(values: npt.NDArray[np.float32], suv_factor: float | None, options: ThresholdOptions) -> Mask:
    if suv_factor is None:
        raise ScanError(
            Reason.MODEL_UNFIT,
            "the threshold is in SUV, and this scan lacks weight, dose or times to make SUV of its values; complete "
            "its header, or use `options: {rule: fraction}`",
        )
    return values * suv_factor >= options.suv


def _of_maximum(values: npt.NDArray[np.float32], suv_factor: float | None, options: ThresholdOptions) -> Mask:
    lowest = options.seed * float(values.max()) if suv_factor is None else options.suv / suv_factor
    seeds = (values >= lowest) & (values > 0)
    scale = SCORE_UNIT / max(float(values.max()), 1e-30)
    labels, regions = components(seeds, np.clip(values * scale, 0, SCORE_UNIT))
    needed = np.full(len(regions) + 1, np.inf, dtype=np.float32)
    for region in regions:
        needed[region.label] = options.fraction * region.score_max * SCORE_UNIT / scale
    return values >= needed[labels]


_RULES = {"suv": _fixed, "fraction": _of_maximum}
