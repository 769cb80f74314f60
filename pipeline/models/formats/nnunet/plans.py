"""What an nnU-Net v2 results folder says of its networks: `plans.json`, `dataset.json`, the checkpoints of its folds.

A results folder is `<trainer>__<plans>__<configuration>/` with `fold_0/checkpoint_final.pth` and so on. This follows
the layout and the behaviour of nnunetv2 2.8, which itself is not needed.
"""

from __future__ import annotations

import json
import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.errors import ModelError

NORMALISATIONS = ("CTNormalization", "ZScoreNormalization", "RescaleTo01Normalization", "NoNormalization")
"""Schemes of nnU-Net that `preprocessing` knows."""

_READERS = {"SimpleITKIO": False, "NibabelIO": False, "SimpleITKIOWithReorient": True, "NibabelIOWithReorient": True}
"""Readers of nnU-Net, and whether they reorient to RAS."""


@dataclass(frozen=True)
class Resampling:
    """How nnU-Net resamples: its order in the plane and along z, and when it does z apart."""

    order: int
    """0 nearest, 1 linear, 3 cubic."""
    order_z: int
    """The same along the axis of thick slices, where that is done apart."""
    separate_z: bool | None
    """None: where spacing is more than three times as coarse along one axis."""


@dataclass(frozen=True)
class Plan:
    """One configuration of a results folder; axes are the network's, after `transpose`."""

    spacing: tuple[float, float, float]
    """mm."""
    patch: tuple[int, int, int]
    """Window in voxels."""
    transpose: tuple[int, int, int]
    """Axes of the image as read (z, y, x), in the network's order."""
    normalisation: str
    """Name of nnU-Net's scheme for the first channel, such as CTNormalization."""
    inside_mask: bool
    """Whether z-scores are made from the voxels that are not 0."""
    intensity: dict[str, float]
    """mean, std, percentile_00_5, percentile_99_5 of the foreground in training."""
    image: Resampling
    """Of the image."""
    scores: Resampling
    """Of the network's scores."""
    architecture: str
    """PlainConvUNet or ResidualEncoderUNet."""
    network: dict[str, Any]
    """Its arguments."""
    reorients: bool
    """Whether images were read reoriented to RAS."""


@dataclass(frozen=True)
class Fold:
    """The weights of one fold."""

    weights: dict[str, torch.Tensor]
    """By name."""
    configuration: str
    """Such as 3d_fullres."""
    mirror_axes: tuple[int, ...]
    """Axes over which it may be mirrored."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ModelError: it is not there, or no such object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise ModelError(
            f"nnU-Net results folder: {path.name} is missing or no JSON; `weights` names the folder "
            "<trainer>__<plans>__<configuration>, which holds it"
        ) from failure
    if not isinstance(content, dict):
        raise ModelError(f"nnU-Net results folder: {path.name} must hold an object")
    return content


def read_plan(plans: dict[str, Any], name: str) -> Plan:
    """The configuration `name` of a plans.json.

    Raises:
        ModelError: there is none, or it needs what is not supported (2-D, a cascade, another resampling or network).
    """
    try:
        return _plan(plans, name)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as failure:
        if isinstance(failure, ModelError):
            raise
        raise ModelError(f"nnU-Net's plans.json lacks or distorts a part of {name!r}: {failure}") from failure


def _plan(plans: dict[str, Any], name: str) -> Plan:
    settings = _inherited(plans, name)
    patch, spacing = settings["patch_size"], settings["spacing"]
    if len(patch) != 3 or settings.get("previous_stage"):
        raise ModelError(f"nnU-Net configuration {name!r} is 2-D or a cascade; 3d_fullres and 3d_lowres are supported")
    architecture, network = _architecture(settings)
    properties = plans.get("foreground_intensity_properties_per_channel") or {}
    normalisation = str(settings["normalization_schemes"][0])
    if normalisation not in NORMALISATIONS:
        raise ModelError(f"nnU-Net normalisation {normalisation!r} is not supported")
    reader = str(plans.get("image_reader_writer", "SimpleITKIO"))
    if reader not in _READERS:
        raise ModelError(f"nnU-Net reader {reader!r} is not supported; {', '.join(_READERS)} are")
    transpose = _triple(plans.get("transpose_forward", (0, 1, 2)), int)
    if sorted(transpose) != [0, 1, 2] or min(patch) < 1 or not min(spacing) > 0:
        raise ModelError(f"nnU-Net's plans.json: transpose {transpose}, patch {patch} or spacing {spacing} is none")
    return Plan(
        spacing=_triple(spacing, float),
        patch=_triple(patch, int),
        transpose=transpose,
        normalisation=normalisation,
        inside_mask=bool(settings["use_mask_for_norm"][0]),
        intensity={key: float(value) for key, value in properties.get("0", {}).items()},
        image=_resampling(settings, "data", order=3),
        scores=_resampling(settings, "probabilities", order=1),
        architecture=architecture,
        network=network,
        reorients=_READERS[reader],
    )


def read_fold(path: Path, *, trust: bool) -> Fold:
    """A checkpoint; without `trust` only tensors, numbers and text are unpickled.

    Raises:
        ModelError: it is not there, damaged, or holds other objects and is not trusted.
    """
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]  # the training's log is of numpy's numbers
    kinds = [scalar, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?"))]
    try:
        with torch.serialization.safe_globals(kinds), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickles of an unusual version, which then fail
            content = torch.load(path, map_location="cpu", weights_only=not trust)
        arguments = content["init_args"]
        mirror = content.get("inference_allowed_mirroring_axes") or ()
        return Fold(_renamed(content["network_weights"]), arguments["configuration"], tuple(mirror))
    except FileNotFoundError as failure:
        raise ModelError(f"nnU-Net results folder: no {path.parent.name}/{path.name}") from failure
    except pickle.UnpicklingError as failure:
        raise ModelError(
            f"nnU-Net's {path.parent.name}/{path.name} holds objects that must be unpickled: set `trust: true` beside "
            "`model` in the cohort file if you trust who made it"
        ) from failure
    except (RuntimeError, KeyError, TypeError, EOFError) as failure:
        raise ModelError(f"nnU-Net's {path.parent.name}/{path.name} is damaged or no checkpoint") from failure


def _renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights once each: nnU-Net's modules list some a second time under another name."""
    plain = {key.removeprefix("module.").removeprefix("_orig_mod."): value for key, value in weights.items()}
    return {k: v for k, v in plain.items() if ".all_modules." not in k and not k.startswith("decoder.encoder.")}


def _inherited(plans: dict[str, Any], name: str) -> dict[str, Any]:
    configurations = plans.get("configurations", {})
    chain: list[dict[str, Any]] = []
    while name:
        if name not in configurations or len(chain) > len(configurations):
            raise ModelError(f"plans.json has no configuration {name!r}; it has {', '.join(configurations) or 'none'}")
        chain.append(configurations[name])
        name = configurations[name].get("inherits_from", "")
    return {key: value for settings in reversed(chain) for key, value in settings.items()}


def _architecture(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if "architecture" in settings:
        found = settings["architecture"]
        return str(found["network_class_name"]).rpartition(".")[2], dict(found["arch_kwargs"])
    stages = len(settings["n_conv_per_stage_encoder"])  # as nnunetv2 before 2.3 wrote it
    features, most = settings["UNet_base_num_features"], settings["unet_max_num_features"]
    return str(settings["UNet_class_name"]), {
        "features_per_stage": [min(features * 2**i, most) for i in range(stages)],
        "kernel_sizes": settings["conv_kernel_sizes"],
        "strides": settings["pool_op_kernel_sizes"],
        "n_conv_per_stage": settings["n_conv_per_stage_encoder"],
        "n_blocks_per_stage": settings["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": settings["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    }


def _resampling(settings: dict[str, Any], what: str, *, order: int) -> Resampling:
    function = settings.get(f"resampling_fn_{what}", "resample_data_or_seg_to_shape")
    chosen: dict[str, Any] = {"order": order, "order_z": 0, "force_separate_z": None}
    chosen |= settings.get(f"resampling_fn_{what}_kwargs", {})
    known = {chosen["order"], chosen["order_z"]} <= {0, 1, 3}
    if function != "resample_data_or_seg_to_shape" or not known:
        raise ModelError(f"nnU-Net resampling {function!r} of order {chosen['order']} is not supported")
    return Resampling(int(chosen["order"]), int(chosen["order_z"]), chosen["force_separate_z"])


def _triple(values: Sequence[Any], kind: Any) -> Any:
    first, second, third = values
    return kind(first), kind(second), kind(third)
