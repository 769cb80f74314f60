"""What kind a lesion is: a patch around each through a network that gives class probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy import ndimage

from pipeline.engine.axis_map import Float32
from pipeline.engine.preprocess import normalise
from pipeline.engine.resample import model_grid, resample_image
from pipeline.errors import ModelError, ScanError, first_line
from pipeline.grid import Grid, Volume
from pipeline.masks import LesionMask
from pipeline.models.classes import Classes
from pipeline.models.converted import Run
from pipeline.models.device import occupy
from pipeline.models.formats.torch_files import open_module
from pipeline.models.network import torch_run
from pipeline.models.place import Place
from pipeline.models.voxelwise import check_use
from schemas.model import ModelSpec
from schemas.model_options import CharacterisingOptions
from schemas.reasons import Reason


def open_characteriser(spec: ModelSpec, place: Place) -> CharacterisingModel:
    """A network from patches [n, 1, z, y, x], or [n, 2, z, y, x] with the lesion's mask, to class scores [n, k].

    Raises:
        ModelError: it has no patch, or another task.
    """
    if spec.task != "characterise":
        raise ModelError(f"model {spec.name!r} is for the task {spec.task!r} and was asked to characterise")
    if spec.patch is None:
        raise ModelError(f"model {spec.name!r} has no `patch`: set the size of what it sees of a lesion")
    module, _ = open_module(spec, place)
    return CharacterisingModel(spec, Classes.of(spec), torch_run(module, place.device), place.device)


class CharacterisingModel:
    """Class probabilities of lesions that were found already."""

    def __init__(self, spec: ModelSpec, classes: Classes, run: Run, device: torch.device) -> None:
        self.spec = spec
        self._classes = classes
        self._run = run
        self._device = device

    def characterise(self, volume: Volume, lesions: LesionMask, *, modality: str) -> LesionMask:
        """The same lesions, each with its class probabilities (`model_class`).

        Raises:
            ScanError: MODEL_UNFIT for another modality; MODEL_OUTPUT where the network gives something else.
        """
        check_use(self.spec, modality, "characterise")
        numbers = range(1, int(lesions.instances.max(initial=0)) + 1)
        rows = [self._probabilities(self._patch(volume, lesions, number)) for number in numbers]
        return replace(lesions, model_class=rows)

    def _patch(self, volume: Volume, lesions: LesionMask, number: int) -> Float32:
        """[c, z, y, x]: the image, and the mask where the network wants it, on the model's grid around one lesion."""
        mask = lesions.instances == number
        grid = patch_grid(volume.grid, self.spec, ndimage.center_of_mass(mask))
        image = normalise(resample_image(volume.voxels, volume.grid, grid), self.spec.intensity)
        if CharacterisingOptions.of(self.spec.options).channels == 1:
            return image[None]
        return np.stack([image, resample_image(mask, volume.grid, grid)])

    @torch.inference_mode()
    def _probabilities(self, patch: Float32) -> dict[str, float]:
        try:
            with occupy(self._device):
                scores = self._run(torch.from_numpy(patch[None]).to(self._device)).cpu()
        except (RuntimeError, IndexError, TypeError, ValueError, AssertionError) as failure:
            if "memory" in str(failure):
                raise
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the network does not run on patches {[1, *patch.shape]}: {first_line(failure)}; `patch` and "
                "`options: {channels: ...}` say what it gets",
            ) from failure
        if scores.ndim != 2 or len(scores) != 1 or not torch.isfinite(scores).all():
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the network gave {list(scores.shape)} for a lesion; finite [1, classes] is needed",
            )
        count = scores.shape[1]
        if max(self._classes.names) >= count:
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the network gives {count} classes, and its model.yaml names class {max(self._classes.names)}: the "
                "first one is 0",
            )
        shares = self._classes.probabilities(scores)[0].tolist()
        names = (self._classes.names.get(i, f"class_{i}") for i in range(count))
        return dict(zip(names, shares, strict=True))


def patch_grid(grid: Grid, spec: ModelSpec, centre_zyx: tuple[float, float, float]) -> Grid:
    """A grid of the model's spacing, orientation and patch around a place of the scan."""
    whole = model_grid(grid, spacing_mm=spec.spacing_mm, orientation=spec.orientation)
    z, y, x = spec.patch or whole.shape
    middle = np.array([z - 1, y - 1, x - 1]) / 2
    shifted = whole.to_index(grid.to_lps(centre_zyx)) - middle
    left, back, up = whole.to_lps(shifted).tolist()
    return Grid((z, y, x), whole.spacing_mm, (left, back, up), whole.direction)
