"""MONAI bundles: MONAI parses their own configuration and runs their own transforms; the windows are ours.

Loading and saving are left out: the scan comes from the store, and the masks go there. The way back (`Invertd`) is the
bundle's own, so class scores lie in memory in full. What a configuration may hold is in `bundle_config`.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from monai.data import MetaTensor

from pipeline.engine.detect import Scores, lesions_from_mask, lesions_from_scores
from pipeline.engine.reduce import SCORE_TYPE, SCORE_UNIT
from pipeline.engine.window import blended_slabs
from pipeline.errors import ModelError, ScanError, first_line
from pipeline.grid import Volume
from pipeline.masks import LABEL_TYPE, LesionMask, LevelMask
from pipeline.models.classes import Classes
from pipeline.models.formats.bundle_config import Bundle, read_bundle
from pipeline.models.formats.torch_files import fill_weights, weights_folder
from pipeline.models.network import Made, VoxelNetwork
from pipeline.models.place import Place
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.voxelwise import check_use, limited, mirrored_axes
from schemas.model import ModelSpec
from schemas.model_options import BundleOptions
from schemas.reasons import Reason

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def open_model(spec: ModelSpec, place: Place) -> Predictor:
    """The bundle in the folder `weights`.

    Raises:
        ModelError: a part is missing, or needs what is not MONAI's own and is not trusted.
    """
    folder = weights_folder(spec, place)
    options = BundleOptions.of(spec.options)
    bundle = read_bundle(folder, options.config, trust=place.trust)
    activated = any(_name(one) == "Activationsd" for one in bundle.after)
    classes = Classes.named(bundle.names | spec.labels, "none" if activated else spec.activation, spec)

    def made() -> Made:
        weights = _weights(folder / "models" / options.checkpoint, spec.name, trust=place.trust)
        return fill_weights(bundle.network, weights, spec.name), None

    network = VoxelNetwork.made_by(
        made, patch=bundle.roi_size, device=place.device, backend=place.backend, key=place.identity
    )
    return BundleModel(spec, classes, network, bundle)


def _weights(stem: Path, name: str, *, trust: bool) -> dict[str, torch.Tensor]:
    """models/model.safetensors, else models/model.pt, of which only tensors are unpickled without trust."""
    if (safe := stem.with_suffix(".safetensors")).is_file():
        return safetensors.torch.load_file(safe)
    path = stem.with_suffix(".pt")
    try:
        content = torch.load(path, map_location="cpu", weights_only=not trust)
    except FileNotFoundError as failure:
        raise ModelError(f"model {name!r}: its bundle has neither {safe.name} nor {path.name} in models/") from failure
    except (pickle.UnpicklingError, RuntimeError, EOFError) as failure:
        raise ModelError(
            f"model {name!r}: models/{path.name} is damaged, or holds objects that must be unpickled; if you "
            "trust who made it, set `trust: true` beside `model` in the cohort file"
        ) from failure
    for key in ("model", "state_dict", "network"):
        content = content[key] if isinstance(content, dict) and isinstance(content.get(key), dict) else content
    return dict(content)


class BundleModel:
    """A MONAI bundle under the contract of `Predictor`."""

    def __init__(self, spec: ModelSpec, classes: Classes, network: VoxelNetwork, bundle: Bundle) -> None:
        self.spec = spec
        self.classes = classes
        self._network = network
        self._bundle = bundle

    def levels(self, volume: Volume, *, modality: str, flips: bool = False) -> LevelMask:
        """The labels that come out of the bundle's postprocessing, by the model's names."""
        check_use(self.spec, modality, "levels")
        labels = self._labels(volume, flips=flips)
        values = np.zeros(max(int(labels.max(initial=0)), *self.classes.levels) + 1, dtype=LABEL_TYPE)
        for number, level in self.classes.levels.items():
            values[number] = level
        return LevelMask(values[labels], anchor="model")

    def lesions(
        self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings
    ) -> LesionMask:
        """The lesions above the threshold; of the bundle's own labels where more than a threshold makes these."""
        check_use(self.spec, modality, "lesions")
        if self._discretises_last():
            scores = self.scores(volume, modality=modality, within=within, settings=settings)
            return lesions_from_scores(
                scores,
                volume.grid,
                threshold=settings.threshold,
                min_volume_mm3=settings.min_volume_mm3,
                keep_candidates=settings.keep_candidates,
            )
        marked = np.isin(self._labels(volume, flips=settings.flips), self.classes.lesions)
        kept = limited(marked.astype(SCORE_TYPE), within, volume.grid)
        return lesions_from_mask(kept > 0, volume.grid, min_volume_mm3=settings.min_volume_mm3)

    def scores(self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings) -> Scores:
        """The probability of lesion at each voxel [z, y, x], in units of 1 / `pipeline.engine.reduce.SCORE_UNIT`."""
        check_use(self.spec, modality, "lesions")
        found = self._run(volume, discrete=False, flips=settings.flips)
        chosen = self.classes.lesion_probability(torch.from_numpy(found))[0].numpy()
        return limited(np.rint(chosen.clip(0, 1) * SCORE_UNIT).astype(SCORE_TYPE), within, volume.grid)

    def _labels(self, volume: Volume, *, flips: bool) -> npt.NDArray[np.int64]:
        """Class numbers [z, y, x]."""
        found = self._run(volume, discrete=True, flips=flips)
        if len(found) == 1:
            return np.rint(found[0]).astype(np.int64)
        first = 0 if self.classes.has_background(len(found)) else 1
        return np.where(found.max(axis=0) > 0, found.argmax(axis=0) + first, 0)

    def _run(self, volume: Volume, *, discrete: bool, flips: bool = False) -> npt.NDArray[np.float32]:
        """What the bundle makes of a volume, [k, z, y, x] on its grid; before `AsDiscreted` unless `discrete`."""
        bundle = self._bundle
        data: dict[str, Any] = {"image": _as_tensor(volume)}
        for transform in bundle.before:
            data = _applied(transform, data)
        image = data["image"].as_tensor().numpy().astype(np.float32)
        patch = bundle.roi_size or image.shape[1:]
        flipped = mirrored_axes((0, 1, 2)) if flips else ()
        slabs = blended_slabs(
            self._network, image, patch, bundle.overlap, fill=bundle.fill, flips=flipped, blending=bundle.blending
        )
        scores = torch.cat([slab.cpu() for slab in slabs], dim=1)
        data["pred"] = MetaTensor(scores, meta=data["image"].meta)
        for transform in bundle.after:
            if not discrete and _name(transform) == "AsDiscreted":
                break
            data = _applied(transform, data)
        found = np.asarray(data["pred"], dtype=np.float32).transpose(0, 3, 2, 1)
        if found.shape[1:] != volume.grid.shape or not _is_where(data["pred"], volume):
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the bundle's postprocessing gave {list(found.shape[1:])} voxels on another grid than the scan's "
                f"{list(volume.grid.shape)}; it lacks `Invertd`",
            )
        return found

    def _discretises_last(self) -> bool:
        names = [_name(transform) for transform in self._bundle.after]
        return "AsDiscreted" not in names[:-1]


def _name(transform: object) -> str:
    return type(transform).__name__


def _applied(transform: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What a transform makes of the data.

    Raises:
        ScanError: MODEL_OUTPUT, it fails on this scan.
    """
    try:
        changed: dict[str, Any] = transform(data)
        return changed
    except Exception as failure:
        cause: BaseException = failure
        while cause.__cause__ is not None:  # MONAI says in which transform, its cause why
            cause = cause.__cause__
        if isinstance(cause, MemoryError) or "allocate memory" in str(cause):
            raise MemoryError(first_line(cause)) from failure
        raise ScanError(
            Reason.MODEL_OUTPUT, f"the bundle's {_name(transform)} fails on this scan: {first_line(cause)}"
        ) from failure


def _is_where(pred: Any, volume: Volume) -> bool:
    """Whether a result says that it lies where the scan lies; one that says nothing is believed."""
    affine = getattr(pred, "affine", None)
    return affine is None or np.allclose(np.asarray(affine.cpu()), _LPS_TO_RAS @ volume.grid.affine, atol=1e-2)


def _as_tensor(volume: Volume) -> MetaTensor:
    """[1, x, y, z] with the affine in RAS, as MONAI's own loading gives it."""
    voxels = np.ascontiguousarray(volume.voxels.transpose(2, 1, 0)[None], dtype=np.float32)
    affine = torch.from_numpy(_LPS_TO_RAS @ volume.grid.affine)
    meta = {"original_channel_dim": 0, "spatial_shape": np.array(voxels.shape[1:]), "original_affine": affine.clone()}
    return MetaTensor(torch.from_numpy(voxels), affine=affine, meta=meta)
