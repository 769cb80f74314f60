"""What a model says of itself: `model.yaml`."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.model_options import check_options
from schemas.strict import Strict

Modality = Literal["CT", "MR", "PT", "NM"]
Task = Literal["levels", "lesions", "both", "characterise"]
Format = Literal[
    "monai_network", "torch_export", "torchscript", "onnx", "openvino", "monai_bundle", "nnunet",
    "command", "precomputed", "threshold", "builtin",
]  # fmt: skip


ORIENTATIONS = frozenset(
    "".join(letters) for axes in itertools.permutations(("LR", "PA", "SI")) for letters in itertools.product(*axes)
)
"""Every order and sense of the three anatomical axes: LPS, RAI, ..."""

SPACINGS_MM = (0.02, 200.0)
"""Smallest and largest distance of voxels that a model may ask for."""

Millimetres = Annotated[float, Field(ge=SPACINGS_MM[0], le=SPACINGS_MM[1])]
Voxels = Annotated[int, Field(gt=0)]


class Intensity(Strict):
    """How stored values become what the network expects: clip, then (value - subtract) / divide."""

    clip: tuple[float, float] | None = None
    """Lowest and highest value kept, in the volume's unit."""
    subtract: float = 0.0
    divide: float = Field(default=1.0, gt=0)
    per_scan: Literal["none", "zscore", "zscore_nonzero"] = "none"
    """Standardise by the scan's own mean and deviation after clipping."""

    @field_validator("clip")
    @classmethod
    def _lowest_first(cls, clip: tuple[float, float] | None) -> tuple[float, float] | None:
        if clip is not None and not clip[0] < clip[1]:
            raise ValueError(f"the lowest value kept comes first and is below the highest, got {list(clip)}")
        return clip

    @field_validator("subtract", "divide")
    @classmethod
    def _finite(cls, value: float) -> float:
        if not math.isfinite(value):
            raise ValueError(f"a finite number is needed, got {value}")
        return value


class Training(Strict):
    """What the model learned from."""

    data: str
    """Name of the data; `phantoms` for the built-in models."""
    n_patients: int | None = None
    licence: str | None = None
    note: str | None = None


class ModelSpec(Strict):
    """A model: what it is for, what it expects, what comes out, and where its weights are."""

    name: str
    version: str
    task: Task
    modality: list[Modality] = Field(min_length=1)
    format: Format
    weights: str | None = None
    """File or folder beside `model.yaml`."""
    sha256: str | None = None
    """Digest of the weights; checked before use."""
    network: dict[str, Any] | None = None
    """`monai_network` only: {class: SegResNet, ...arguments of that MONAI network}."""
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = None
    """Grid of the network along z, y, x; None keeps the scan's own."""
    orientation: str = "LPS"
    """Anatomical directions in which the indices i, j, k of the network's input grow, ITK's LPS by default."""
    intensity: Intensity = Intensity()
    patch: tuple[Voxels, Voxels, Voxels] | None = None
    """Window along z, y, x; None takes the whole volume at once."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Share of a window that its neighbour covers too."""
    activation: Literal["softmax", "sigmoid", "none"] = "softmax"
    labels: dict[int, str] = Field(default_factory=dict)
    """Class number to level name, `lesion`, or a class of its own; 0 is background and not named."""
    label_table: Literal["verse", "totalsegmentator", "spineps", "vista3d"] | None = None
    """A ready table in place of `labels`."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Score from which a voxel counts as lesion."""
    min_volume_mm3: float = Field(default=0.0, ge=0)
    """Smaller components are candidates, not lesions."""
    command: list[str] | None = None
    """`command` only: the program, with {input} and {output} for the NIfTI that it reads and the one it writes."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What only this format knows: folds, rule, timeout_s, ...; see `schemas.model_options`."""
    trust: bool = False
    """Never set here by a stranger: allows a pickle named in the cohort file."""
    training: Training | None = None
    limits: str = ""
    """What it was never shown and where it fails."""
    card: str | None = None
    """File beside `model.yaml` that tells the whole story."""

    @field_validator("orientation")
    @classmethod
    def _three_axes(cls, orientation: str) -> str:
        if orientation not in ORIENTATIONS:
            raise ValueError(
                f"{orientation!r} does not name three axes: one letter of L R, one of P A and one of S I are allowed, "
                "in the order of the indices i, j, k, such as LPS"
            )
        return orientation

    @model_validator(mode="after")
    def _one_map(self) -> ModelSpec:
        if self.labels and self.label_table is not None:
            raise ValueError("`labels` and `label_table` say the same thing: give one of them")
        if self.format == "threshold" and not set(self.modality) <= {"PT", "NM"}:
            raise ValueError(f"format 'threshold' marks uptake, in PT and NM; got modality {', '.join(self.modality)}")
        return self

    @model_validator(mode="after")
    def _known_options(self) -> ModelSpec:
        check_options(self.format, self.task, self.options)
        return self
