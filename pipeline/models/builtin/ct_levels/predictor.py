"""The model `builtin/ct-levels` as a `Predictor`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from safetensors.torch import load_file

from pipeline.engine.window import Network
from pipeline.errors import ModelError
from pipeline.grid import Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.models.builtin.ct_levels.anchors import find_sacrum, name, observe
from pipeline.models.builtin.ct_levels.assign import assign
from pipeline.models.builtin.ct_levels.chain import find_chain
from pipeline.models.builtin.ct_levels.fields import Fields, see
from pipeline.models.builtin.ct_levels.network import LevelsNetwork
from pipeline.models.builtin.ct_levels.restore import restore
from pipeline.models.network import Made, VoxelNetwork
from pipeline.models.predictor import LesionSettings
from schemas.model import ModelSpec
from schemas.spine import BY_NAME

if TYPE_CHECKING:
    from pipeline.models.registry import Place


class CtLevels:
    """Vertebrae of a CT, told apart and, where anchors agree, named."""

    def __init__(self, spec: ModelSpec, network: Network) -> None:
        self.spec = spec
        self.network = network

    def levels(
        self,
        volume: Volume,
        *,
        modality: str = "CT",
        flips: bool = False,  # noqa: ARG002
        anchors: dict[str, str] | None = None,
    ) -> LevelMask:
        """The levels on the volume's own grid.

        Args:
            volume: CT in HU.
            modality: CT; others are refused.
            flips: not for this model; a recipe that asks for it is refused.
            anchors: names that a person gives, such as {"V3": "L3"}.
        """
        if modality not in self.spec.modality:
            raise ModelError(f"{self.spec.name} reads {', '.join(self.spec.modality)}, not {modality}")
        return decode(see(volume, self.network), volume, anchors)

    def lesions(
        self,
        volume: Volume,  # noqa: ARG002
        *,
        modality: str,  # noqa: ARG002
        within: LevelMask | None,  # noqa: ARG002
        settings: LesionSettings,  # noqa: ARG002
    ) -> LesionMask:
        """Not this model's task."""
        raise ModelError(f"{self.spec.name} finds levels, no lesions; name a lesion model such as builtin/ct-lesions")


def decode(fields: Fields, volume: Volume, given: dict[str, str] | None = None) -> LevelMask:
    """From what the network saw to levels on the volume's grid."""
    chain = find_chain(fields)
    labels, added_above = assign(fields, chain)
    sacrum = find_sacrum(fields)
    signs = observe(fields, chain, labels, sacrum, added_above=added_above)
    numbers, anchor = name(signs, given)
    free = sacrum & (labels == 0)
    label = signs.n + 1 if free.any() else 0
    if label:
        labels = np.where(free, np.uint8(label), labels)
        numbers = {**numbers, label: BY_NAME["SACRUM"].number}
    restored = restore(fields, labels, numbers, label, volume.grid)
    return LevelMask(restored.levels, restored.parts, anchor)


def open_model(spec: ModelSpec, place: Place) -> CtLevels:
    """The model with its weights, on the device and backend of `place`."""
    make = partial(_folded, spec, place)
    run = VoxelNetwork.made_by(make, patch=None, device=place.device, backend=place.backend, key=place.identity)
    return CtLevels(spec, run)


def _folded(spec: ModelSpec, place: Place) -> Made:
    network = LevelsNetwork()
    state = load_file(str(place.folder / str(spec.weights)))
    loaded = network.load_state_dict({key: value.float() for key, value in state.items()}, strict=False)
    missing = [key for key in loaded.missing_keys if not key.endswith("num_batches_tracked")]
    if missing or loaded.unexpected_keys:
        raise ModelError(
            f"the weights of {spec.name!r} do not fit its network: {(missing + loaded.unexpected_keys)[:3]}"
        )
    return network.folded(), None
