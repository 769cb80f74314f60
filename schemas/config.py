"""What a person asks for: the cohort file and its recipe."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from schemas.catalog import CATALOG
from schemas.evaluation import Evaluation
from schemas.model import Modality
from schemas.strict import Strict


class TypeRule(Strict):
    """Constants of the lytic / blastic / mixed rule. It is a proposal of this project: no HU cut-off is accepted."""

    dense_mads: float = Field(default=3.0, gt=0)
    """Dense is above the reference by this many of its median absolute deviations ..."""
    dense_hu: float = Field(default=100.0, gt=0)
    """... and by this many HU at least."""
    lucent_mads: float = Field(default=3.0, gt=0)
    lucent_hu: float = Field(default=50.0, gt=0)
    major: float = Field(default=0.6, gt=0, le=1)
    """Share of voxels from which a lesion is lytic or blastic."""
    minor: float = Field(default=0.2, gt=0, le=1)
    """Share of the other kind from which it is mixed."""


class ModelUse(Strict):
    """Which model does a task, and with which settings; what is not given is the model's own."""

    model: str | None = None
    """`builtin/...`, `precomputed`, `threshold`, or a folder with a model.yaml, local or on S3."""
    models: list[str] | None = Field(default=None, min_length=1)
    """An ensemble: the scores of these are averaged."""
    from_: Modality | None = Field(default=None, alias="from")
    """`levels` only: take them from this modality's scan of the same study."""
    threshold: float | None = Field(default=None, ge=0, le=1)
    min_volume_mm3: float | None = Field(default=None, ge=0)
    threshold_file: str | None = None
    """`lesions` only: a YAML file of `Thresholds` in place of these two, set before a test scan was seen."""
    labels: Literal["auto", "binary", "instances"] = "auto"
    """`precomputed` only: whether a mask's values are instances."""
    anchors: dict[str, str] = Field(default_factory=dict)
    """`levels` only: one vertebra's name as a person gives it, such as {V3: L3}; see `pipeline.level_anchor`."""
    region: Literal["levels", "none"] | None = None
    """`lesions` only: look only inside vertebrae, or everywhere."""
    flips: bool = False
    """Average over mirrored copies (test-time flips)."""
    trust: bool = False
    """Allow weights that must be unpickled. Only for files you made or trust like a program."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What only this model's format knows."""

    @model_validator(mode="after")
    def _one_origin(self) -> ModelUse:
        if sum(x is not None for x in (self.model, self.models, self.from_)) != 1:
            raise ValueError("give exactly one of `model`, `models` and `from`")
        if self.threshold_file is not None and (self.threshold, self.min_volume_mm3) != (None, None):
            raise ValueError("give `threshold_file`, or `threshold` and `min_volume_mm3`, not both")
        return self


class Thresholds(Strict):
    """What stands in a `threshold_file`."""

    set_on: date
    """The day on which it was decided."""
    threshold: float = Field(ge=0, le=1)
    min_volume_mm3: float | None = Field(default=None, ge=0)
    note: str = ""
    """How it was chosen, on which scans."""


class LesionSettings(Strict):
    """Settings of `lesions` that may differ for some scans; what is not given stays."""

    threshold: float | None = Field(default=None, ge=0, le=1)
    min_volume_mm3: float | None = Field(default=None, ge=0)
    labels: Literal["auto", "binary", "instances"] | None = None
    region: Literal["levels", "none"] | None = None
    flips: bool | None = None
    options: dict[str, Any] | None = None


class LevelSettings(Strict):
    """Settings of `levels` that may differ for some scans; what is not given stays."""

    anchors: dict[str, str] | None = None
    flips: bool | None = None
    options: dict[str, Any] | None = None


class Override(Strict):
    """Other settings for some scans of a modality, such as one site or kernel; of several that fit, the last wins."""

    when: dict[str, str]
    """Catalog column to value, such as {site: north} or {convolution_kernel: B70f}."""
    levels: LevelSettings = LevelSettings()
    lesions: LesionSettings = LesionSettings()

    @field_validator("when")
    @classmethod
    def _known_columns(cls, when: dict[str, str]) -> dict[str, str]:
        if unknown := [name for name in when if name not in CATALOG.names]:
            raise ValueError(f"{unknown[0]!r} is no column of `series`, such as site, convolution_kernel or kvp")
        return when


_ONLY_LEVELS = ("anchors",)
_ONLY_LESIONS = ("threshold", "threshold_file", "min_volume_mm3", "region")


class ModalityRecipe(Strict):
    """What to do with scans of one modality."""

    levels: ModelUse | None = None
    lesions: ModelUse | None = None
    characterise: ModelUse | None = None
    type_rule: TypeRule = TypeRule()
    radiomics: list[str] | Literal["default"] | None = None
    """IBSI features per lesion; `default` is a small chosen set."""
    overrides: list[Override] = Field(default_factory=list)
    backend: Literal["auto", "torch", "torch-bfloat16", "openvino"] = "auto"
    """`auto` is OpenVINO on a CPU and torch on a GPU, in full precision; half precision is for those who ask for it."""
    keep_candidates: bool = True

    @model_validator(mode="after")
    def _settings_where_they_mean_something(self) -> ModalityRecipe:
        for task, use, others in (
            ("levels", self.levels, _ONLY_LESIONS),
            ("lesions", self.lesions, ("from_", *_ONLY_LEVELS)),
            ("characterise", self.characterise, ("from_", *_ONLY_LEVELS, *_ONLY_LESIONS)),
        ):
            given = use.model_fields_set.intersection(others) if use is not None else set()
            if given:
                raise ValueError(f"`{min(given).removesuffix('_')}` means nothing under `{task}`: leave it out")
        if self.characterise is not None and self.lesions is None:
            raise ValueError("`characterise` looks at lesions: add `lesions`")
        return self


class Ingest(Strict):
    """Options that change voxels; they are part of a series' version."""

    on_gap: Literal["quarantine", "interpolate"] = "quarantine"
    on_tilt: Literal["resample", "quarantine"] = "resample"


class Select(Strict):
    """One rule of selection, applied in order; a series that fails it is excluded by its name."""

    name: str
    """Stands in `excluded_by`."""
    modality: list[str] | None = None
    ranges: dict[str, tuple[float | None, float | None]] = Field(default_factory=dict)
    """Column to [lowest, highest], either may be null; a missing value fails."""
    matches: dict[str, str] = Field(default_factory=dict)
    """Column to a regular expression that must be found in it."""
    excludes: dict[str, str] = Field(default_factory=dict)
    """Column to a regular expression that must not be found in it."""
    orientation: Literal["axial", "sagittal", "coronal"] | None = None
    prefer: list[str] | None = None
    """One series per study and modality stays: columns in order of weight, `-column` for the largest first,
    `column=regex` for those that match first."""

    @field_validator("ranges")
    @classmethod
    def _from_low_to_high(
        cls, ranges: dict[str, tuple[float | None, float | None]]
    ) -> dict[str, tuple[float | None, float | None]]:
        for name, (low, high) in ranges.items():
            if low is not None and high is not None and low > high:
                raise ValueError(f"{name} goes from {low:g} down to {high:g}, where nothing lies: [lowest, highest]")
        return ranges


class Limits(Strict):
    """Bounds that keep one bad scan from harming others."""

    scan_seconds: float = Field(default=3600, gt=0)
    decode_seconds: float = Field(default=600, gt=0)
    max_voxels: int = Field(default=2_000_000_000, gt=0)
    decode_memory_mb: int = Field(default=16384, gt=0)


class Cost(Strict):
    """Prices for `--dry-run`."""

    per_hour: float = Field(default=0.0, ge=0)
    """Of one worker."""
    currency: str = "USD"


class Truth(Strict):
    """Where the reference standard comes from; what is not said is reported as not said."""

    masks: str | None = None
    """Manifest column that names reference masks; default `truth_uri`."""
    more_masks: list[str] = Field(default_factory=list)
    """Manifest columns that name the masks of further readers."""
    points: str | None = None
    """CSV with patient_id or series, x, y, z (LPS mm), radius_mm."""
    readers: int | None = None
    experience: str | None = None
    blinded: bool | None = None
    annotated_by: str | None = None
    annotated_on: str | None = None
    """Which series or modality the annotators looked at."""


OnGpuFull = Literal["quarantine", "cpu"]
"""What becomes of a scan that does not fit the memory of a GPU."""

FreeText = Literal["SeriesDescription", "ProtocolName", "DeidentificationMethod"]


class CohortConfig(Strict):
    """A cohort file. Everything but `source` and `store` has a default."""

    cohort: str = "cohort"
    source: str = Field(min_length=1)
    """Folder, s3:// prefix, manifest (.csv, .parquet), dicomweb+http(s):// address."""
    store: str = Field(min_length=1)
    """Folder or s3:// prefix."""
    clinical: list[str] = Field(default_factory=list)
    free_text: list[FreeText] = Field(default_factory=list)
    """Free-text attributes that may be stored; they may hold names."""
    recipe: dict[Modality, ModalityRecipe] = Field(default_factory=lambda: dict(DEFAULT_RECIPE))
    select: list[Select] = Field(default_factory=list)
    ingest: Ingest = Ingest()
    limits: Limits = Limits()
    cluster: str | dict[str, Any] = "local"
    """`local`, a scheduler's address, or a file (or mapping) of cluster_class, cluster_kwargs, adapt_kwargs."""
    workers: int | None = Field(default=None, gt=0)
    """Processes of a local cluster; None chooses by cores and memory."""
    slots: int | None = Field(default=None, gt=0)
    """Scans at a time in one worker; None chooses by memory."""
    on_gpu_full: OnGpuFull = "quarantine"
    """A scan of which not even one window fits the GPU's memory is `out_of_memory`, or done on the CPU; its row says on
    which device it was done."""
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False)
    """For fsspec, for both source and store; a value `$NAME` is read from the environment."""
    cost: Cost = Cost()
    truth: Truth | None = None
    split_column: str = "split"
    """Manifest column with train, tune, internal or external."""
    evaluation: Evaluation = Evaluation()

    @field_validator("select")
    @classmethod
    def _rules_apart(cls, rules: list[Select]) -> list[Select]:
        names = [rule.name for rule in rules]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"two rules are called {twice[0]!r}, and `excluded_by` could not tell which: rename one")
        return rules


DEFAULT_RECIPE: dict[Modality, ModalityRecipe] = {
    "CT": ModalityRecipe(levels=ModelUse(model="builtin/ct-levels"), lesions=ModelUse(model="builtin/ct-lesions"))
}
"""What is done where the cohort file has no `recipe`."""
