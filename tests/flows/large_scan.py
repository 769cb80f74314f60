"""A large CT with vertebrae and lesions in it, for what depends on a scan's size: memory and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flows.alone import attempt_alone
from flows.memory import MIB, WORKER_BYTES, slot_bytes
from flows.stages import process_once
from flows.work import Job
from pipeline.engine.resample import resample_image
from pipeline.grid import Grid, Volume
from pipeline.phantom.anatomy import draw_patient, render
from pipeline.phantom.appearance import Style
from pipeline.phantom.field_of_view import extent_of_levels, grid_of
from pipeline.phantom.planning import plan_lesions
from pipeline.phantom.protocols import SITES
from pipeline.recipe import ResolvedRecipe
from pipeline.scan.process import ScanRequest, Workplace, process_scan
from pipeline.store import Store
from pipeline.store.volumes import write_volume

_SEED = 1
_COARSE = (3.0, 3.0, 3.0)


def drawn_ct(shape: tuple[int, int, int], *, levels: tuple[str, str] = ("T1", "SACRUM"), lesions: int = 8) -> Volume:
    """A phantom's spine in the middle of a trunk of 330 x 330 mm, drawn at 3 mm and interpolated to `shape`."""
    patient = draw_patient(_SEED, Style.REALISTIC)
    coarse = grid_of(extent_of_levels(patient.spine, *levels, (330.0, 330.0)), _COARSE)
    plans = plan_lesions(
        np.random.default_rng(_SEED), patient.spine, coarse, patient.tissues, lesions,
        min_contrast_hu=200.0, min_lesion_mm3=1500.0,
    )  # fmt: skip
    voxels = render(patient, coarse, plans, SITES[0].scanner, seed=_SEED).volume.voxels
    size = np.asarray(coarse.shape) * np.asarray(coarse.spacing_mm)
    z, y, x = (float(step) for step in size / np.asarray(shape))
    corner = np.asarray(coarse.origin_mm) + (np.array([x, y, z]) - np.asarray(coarse.spacing_mm)[::-1]) / 2
    fine = Grid(shape, (z, y, x), tuple(corner.tolist()), coarse.direction)
    return Volume(np.rint(resample_image(voxels, coarse, fine)).astype(np.int16), fine)


@dataclass(frozen=True)
class Measured:
    """One scan, alone in a process of its own."""

    row: dict[str, Any]
    """Of the results."""
    predicted_mb: float
    """What was planned for a worker of one slot, MiB."""

    @property
    def peak_mb(self) -> float:
        """Largest resident memory of the process, MiB."""
        return float(self.row["peak_rss_mb"])


def measure(store: Store, volume: Volume, recipe: ResolvedRecipe) -> Measured:
    """Do such a scan as a worker does one that is done alone."""
    write_volume(store, "volumes/a.zarr/k/t", volume, attributes={})
    row = {"series_key": "k", "study_key": "s", "patient_key": "p", "version": "v", "shard": "a", "modality": "CT",
           "intensity_unit": "HU", "volume_uri": "volumes/a.zarr/k/t", "shape": list(volume.grid.shape)}  # fmt: skip
    arguments = {"process": process_scan, "recipe": recipe, "workplace": Workplace(store)}
    done = attempt_alone(ScanRequest(row), Job(process_once, arguments))
    if done.outcome is None or done.outcome.row is None or done.outcome.row["status"] != "ok":
        raise RuntimeError(f"the scan was not done: {done}")
    specs = [model.spec for models in recipe.models.values() for model in models]
    predicted = (WORKER_BYTES + slot_bytes(volume.grid.shape, volume.grid.spacing_mm, specs)) / MIB
    return Measured(done.outcome.row, predicted)
