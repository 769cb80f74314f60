"""An nnU-Net v2 results folder as a model, its folds averaged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.engine.detect import Scores, lesions_from_scores
from pipeline.engine.preprocess import crop
from pipeline.engine.reduce import SCORE_TYPE, Labels, LateScores, Reducer, reduce_slabs
from pipeline.engine.window import AS_NNUNET, Network, blended_slabs
from pipeline.errors import ModelError
from pipeline.grid import Volume
from pipeline.masks import LABEL_TYPE, LesionMask, LevelMask
from pipeline.models.classes import Classes
from pipeline.models.formats.nnunet.networks import unet
from pipeline.models.formats.nnunet.plans import Fold, Plan, read_fold, read_json, read_plan
from pipeline.models.formats.nnunet.preprocessing import prepare
from pipeline.models.formats.torch_files import fill_weights, weights_folder
from pipeline.models.network import Made, VoxelNetwork
from pipeline.models.place import Place
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.voxelwise import check_use, limited, mirrored_axes, region
from schemas.model import ModelSpec
from schemas.model_options import NnunetOptions


def open_model(spec: ModelSpec, place: Place) -> Predictor:
    """The model in a results folder.

    Raises:
        ModelError: a file is missing or damaged, needs trust, or the plans ask for what is not supported.
    """
    folder = weights_folder(spec, place)
    dataset, plans = read_json(folder / "dataset.json"), read_json(folder / "plans.json")
    if (channels := len(dataset.get("channel_names") or dataset.get("modality") or ())) != 1:
        raise ModelError(f"model {spec.name!r} takes {channels} images of a scan; one is supported")
    classes, heads = _classes(spec, dataset)
    options = NnunetOptions.of(spec.options)
    folds = {
        name: read_fold(folder / f"fold_{name}" / options.checkpoint, trust=place.trust)
        for name in _folds(spec.name, folder, options)
    }
    if len(kinds := sorted({fold.configuration for fold in folds.values()})) > 1:
        raise ModelError(f"model {spec.name!r}: its folds are of several configurations: {', '.join(kinds)}")
    first = next(iter(folds.values()))
    plan = read_plan(plans, first.configuration)
    networks = [
        _network(fold, plan, heads, spec, replace(place, identity=place.identity and f"{place.identity} fold {name}"))
        for name, fold in folds.items()
    ]
    return NnunetModel(spec, plan, classes, Averaged(networks), first.mirror_axes)


class Averaged:
    """Networks of one shape whose scores are averaged: the folds of a cross-validation."""

    def __init__(self, networks: Sequence[VoxelNetwork]) -> None:
        self._networks = networks
        self.device = networks[0].device

    @property
    def batch(self) -> int:
        """Windows at a time: what the most careful of them takes."""
        return min(network.batch for network in self._networks)

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        """Class scores [n, k, z, y, x] of windows [n, c, z, y, x]."""
        total = self._networks[0](windows)
        for network in self._networks[1:]:
            total = total + network(windows)
        return total / len(self._networks)


class NnunetModel:
    """nnU-Net's own preprocessing, windows and export around its network, under the contract of `Predictor`."""

    def __init__(self, spec: ModelSpec, plan: Plan, classes: Classes, network: Network, axes: tuple[int, ...]) -> None:
        self.spec = spec
        self.plan = plan
        self.classes = classes
        self._network = network
        self._mirror_axes = axes

    def levels(self, volume: Volume, *, modality: str, flips: bool = False) -> LevelMask:
        """The levels, named by the model's own classes."""
        check_use(self.spec, modality, "levels")
        result = np.zeros(volume.grid.shape, dtype=LABEL_TYPE)
        labels = Labels(self.classes.level_values, self.classes.level_scores, half=AS_NNUNET.half)
        self._run(volume, labels, result, flips=flips)
        return LevelMask(result, anchor="model")

    def lesions(
        self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings
    ) -> LesionMask:
        """The lesions above the settings' threshold, and the candidates under it."""
        return lesions_from_scores(
            self.scores(volume, modality=modality, within=within, settings=settings),
            volume.grid,
            threshold=settings.threshold,
            min_volume_mm3=settings.min_volume_mm3,
            keep_candidates=settings.keep_candidates,
        )

    def scores(self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings) -> Scores:
        """The probability of lesion at each voxel [z, y, x], in units of 1 / `pipeline.engine.reduce.SCORE_UNIT`.

        Where vertebrae limit it, the scan is cropped to them first, but not where its own mean normalises it.
        """
        check_use(self.spec, modality, "lesions")
        result = np.zeros(volume.grid.shape, dtype=SCORE_TYPE)
        box = region(within, volume.grid)
        if box is None:
            return result
        if self.plan.normalisation != "CTNormalization":
            box = region(None, volume.grid) or box
        reducer = LateScores(self.classes.lesion_probability)
        self._run(crop(volume, box), reducer, result[box], flips=settings.flips)
        return limited(result, within, volume.grid)

    def _run(self, volume: Volume, reducer: Reducer, result: npt.NDArray[np.uint16], *, flips: bool) -> None:
        prepared = prepare(volume, self.plan)
        mirrored = flips or NnunetOptions.of(self.spec.options).mirroring
        flipped = mirrored_axes(self._mirror_axes) if mirrored else ()
        slabs = blended_slabs(self._network, prepared.values, self.plan.patch, 0.5, flips=flipped, blending=AS_NNUNET)
        reduce_slabs(slabs, prepared.back, [(reducer, prepared.part(result))])


def _network(fold: Fold, plan: Plan, heads: int, spec: ModelSpec, place: Place) -> VoxelNetwork:
    def made() -> Made:
        network = unet(plan.architecture, plan.network, channels=1, classes=heads)
        return fill_weights(network, fold.weights, spec.name), None

    strides = np.prod([np.broadcast_to(one, 3) for one in plan.network["strides"]], axis=0)
    z, y, x = (min(2 * int(step), size) for step, size in zip(strides, plan.patch, strict=True))
    return VoxelNetwork.made_by(
        made, patch=plan.patch, device=place.device, backend=place.backend, traced=(z, y, x), key=place.identity
    )


def _folds(name: str, folder: Path, options: NnunetOptions) -> list[str]:
    """The folds asked for, else those of the cross-validation that hold the checkpoint, else `all`."""
    asked = options.folds
    if asked is not None:
        return [str(fold) for fold in (asked if isinstance(asked, list) else [asked])]
    found = sorted(path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{options.checkpoint}"))
    if not found:
        raise ModelError(f"model {name!r}: no fold_*/{options.checkpoint} in its results folder")
    return [fold for fold in found if fold != "all"] or found


def _classes(spec: ModelSpec, dataset: dict[str, Any]) -> tuple[Classes, int]:
    """What the channels mean, and how many there are; `labels` of model.yaml win over dataset.json's."""
    labels: dict[str, Any] = {k: v for k, v in dataset.get("labels", {}).items() if k not in ("background", "ignore")}
    if any(isinstance(value, list) for value in labels.values()):  # regions that overlap: one sigmoid each
        names = dict(enumerate(labels, 1))
        if spec.task != "lesions":
            raise ModelError(f"model {spec.name!r} marks regions that overlap; that is supported for lesions only")
        return Classes.named(names | spec.labels, "sigmoid", spec), len(names)
    try:
        names = {int(value): name for name, value in labels.items()}
    except (TypeError, ValueError):
        raise ModelError(
            f"model {spec.name!r}: `labels` of its dataset.json must give each name its number, as nnU-Net v2 has it"
        ) from None
    return Classes.named(names | spec.labels, "softmax", spec), len(names) + 1
