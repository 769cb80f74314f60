"""What every model can be asked for, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.grid import Volume
from pipeline.masks import LesionMask, LevelMask
from schemas.config import ModelUse
from schemas.model import ModelSpec


@dataclass(frozen=True)
class LesionSettings:
    """How scores become lesions; the recipe's choice, else the model's own."""

    threshold: float = 0.5
    """Score, 0 to 1, from which a voxel belongs to a lesion."""
    min_volume_mm3: float = 0.0
    """Smaller components are candidates."""
    keep_candidates: bool = True
    """Whether components under the threshold are kept with their scores."""
    flips: bool = False
    """Average over mirrored copies (test-time flips)."""
    suv_factor: float | None = None
    """g/mL per unit of the stored voxels (PET); None where it is not known."""

    @classmethod
    def of(cls, use: ModelUse, spec: ModelSpec, **others: Any) -> LesionSettings:
        """The recipe's settings, completed by the model's own."""
        return cls(
            threshold=spec.threshold if use.threshold is None else use.threshold,
            min_volume_mm3=spec.min_volume_mm3 if use.min_volume_mm3 is None else use.min_volume_mm3,
            flips=use.flips,
            **others,
        )


FLIPPING = ("monai_network", "torch_export", "torchscript", "onnx", "openvino", "monai_bundle", "nnunet")
"""Formats whose networks can be averaged over mirrored copies."""


class Predictor(Protocol):
    """A loaded model.

    - A volume goes in as it is stored; masks come out on its grid. Whatever the model needs in between is its own.
    - It may be called from several threads at a time; the network inside takes the lock of its device.
    - It raises `ScanError` for what is wrong with one scan or with what the model made of it (reasons MODEL_UNFIT,
      MODEL_OUTPUT, COMMAND_FAILED, TIMEOUT), and `ModelError` where it cannot do the task at all.
    """

    @property
    def spec(self) -> ModelSpec:
        """What the model says of itself."""
        ...

    def levels(self, volume: Volume, *, modality: str, flips: bool = False) -> LevelMask:
        """The levels of the spine (tasks `levels` and `both`); `flips` averages over mirrored copies (`FLIPPING`)."""
        ...

    def lesions(
        self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings
    ) -> LesionMask:
        """The lesions (tasks `lesions` and `both`), only inside vertebrae where `within` is given."""
        ...


class Characteriser(Protocol):
    """A model that gives class probabilities to lesions that were found already (task `characterise`)."""

    @property
    def spec(self) -> ModelSpec:
        """What the model says of itself."""
        ...

    def characterise(self, volume: Volume, lesions: LesionMask, *, modality: str) -> LesionMask:
        """The same lesions, each with its class probabilities in `model_class`."""
        ...
