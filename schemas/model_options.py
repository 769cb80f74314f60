"""What stands under `options:` of a model.yaml, and of a recipe: what one format knows and others do not.

Each format declares its own; a key that it does not know is refused, so that a slip of the pen is never a silent
default.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator


class Options(BaseModel):
    """Options of one format, none by default. Values are taken as they are: `"3"` is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @classmethod
    def of(cls, options: dict[str, Any]) -> Self:
        """Options that were checked already, completed by the defaults."""
        return cls.model_validate(options)


class NetworkOptions(Options):
    """Of a network of voxels."""

    grid: Literal["corners", "centres"] = "corners"
    """Where the network's grid begins: at the scan's corner, or at its first voxel's centre as MONAI's `Spacing`."""
    smooth: bool = False
    """Average over what a coarser voxel covers before resampling."""
    fill: float = 0.0
    """Value around a scan smaller than the window."""
    empty_below: float | None = None
    """Windows with nothing above this value are answered once: quicker, and no longer exact."""
    flip_axes: list[Literal[0, 1, 2]] = Field(default=[0, 1, 2])
    """Axes (0 z, 1 y, 2 x) that test-time flips mirror."""

    @field_validator("flip_axes")
    @classmethod
    def _once_each(cls, axes: list[int]) -> list[int]:
        if len(set(axes)) < len(axes):
            raise ValueError("an axis is named twice")
        return axes


class LesionNetworkOptions(NetworkOptions):
    """Of a network of voxels for the task `lesions`."""

    unit: Literal["SUV"] | None = None
    """SUV: the network takes SUVbw, which is made of the scan's values (PET)."""


class CharacterisingOptions(Options):
    """Of a network for the task `characterise`."""

    channels: Literal[1, 2] = 1
    """2: the lesion's mask beside the image."""


class NnunetOptions(Options):
    """Of an nnU-Net results folder."""

    folds: list[int | str] | int | str | None = None
    """Which to average, such as [0, 1] or all; None takes those that are there."""
    checkpoint: str = "checkpoint_final.pth"
    """File of a fold's weights."""
    mirroring: bool = False
    """Always average over mirrored copies, as nnU-Net does by default."""

    @field_validator("folds")
    @classmethod
    def _one_at_least(cls, folds: list[int | str] | int | str | None) -> list[int | str] | int | str | None:
        if folds == []:
            raise ValueError("one fold at least is needed; leave it out to take those that are there")
        return folds

    @field_validator("checkpoint")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        return _file_name(name)


class BundleOptions(Options):
    """Of a MONAI bundle."""

    config: str = "inference"
    """Name in `configs/`, without its ending."""
    checkpoint: str = "model"
    """Name in `models/`, without its ending."""

    @field_validator("config", "checkpoint")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        return _file_name(name)


class CommandOptions(Options):
    """Of an outside program."""

    timeout_s: float = Field(default=3600.0, gt=0)
    """Seconds after which it is ended."""
    memory_mb: float | None = Field(default=None, gt=0)
    """MiB of address space that it may take; None sets no limit."""
    device_lock: bool = True
    """Whether it runs alone on the worker's device."""


class ThresholdOptions(Options):
    """Of the rules of uptake; see `pipeline.models.formats.threshold`."""

    rule: Literal["suv", "fraction"] = "suv"
    suv: float = Field(default=4.0, gt=0)
    """SUVbw."""
    fraction: float = Field(default=0.41, gt=0, le=1)
    """Share of each region's maximum."""
    seed: float = Field(default=0.5, gt=0, le=1)
    """Share of the scan's maximum from which regions begin, where no SUV is known."""


class PrecomputedOptions(Options):
    """Of masks that exist already."""

    label_table: Literal["verse", "totalsegmentator", "spineps", "vista3d"] = "verse"
    """What the values of a mask of levels mean."""


def options_class(format_: str, task: str) -> type[Options]:
    """What a format knows for a task; nothing for built-in models."""
    if format_ in _NETWORKS:
        return _NETWORK_OPTIONS.get(task, NetworkOptions)
    if format_ == "precomputed" and task == "lesions":
        return Options
    return _OPTIONS.get(format_, Options)


def check_options(format_: str, task: str, options: dict[str, Any]) -> None:
    """Whether a format knows these options and their values.

    Raises:
        ValueError: one sentence that names what is allowed.
    """
    known = options_class(format_, task)
    names = sorted(known.model_fields)
    for key in options:
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            allowed = f"it knows {', '.join(names)}" if names else "it has none"
            raise ValueError(f"format {format_!r} knows no option {key!r} for {task}{hint} {allowed}")
    try:
        known.model_validate(options)
    except ValidationError as failure:
        first = failure.errors()[0]
        name, message = first["loc"][0], first["msg"].removeprefix("Value error, ")
        raise ValueError(f"option {name} of format {format_!r}: {message}, got {options[str(name)]!r}") from None


def _file_name(name: str) -> str:
    if "/" in name or "\\" in name or name.startswith("."):
        raise ValueError(f"a plain name is needed, got {name!r}")
    return name


_NETWORKS = ("monai_network", "torch_export", "torchscript", "onnx", "openvino")

_NETWORK_OPTIONS: dict[str, type[Options]] = {"lesions": LesionNetworkOptions, "characterise": CharacterisingOptions}

_OPTIONS: dict[str, type[Options]] = {
    "nnunet": NnunetOptions,
    "monai_bundle": BundleOptions,
    "command": CommandOptions,
    "threshold": ThresholdOptions,
    "precomputed": PrecomputedOptions,
}
