"""The scan on which a model is checked: a drawn body for CT, a plain column of vertebrae for other modalities."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pipeline.grid import Grid, Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.phantom.anatomy import draw_patient, render
from pipeline.phantom.appearance import Style
from pipeline.phantom.field_of_view import extent_of_levels, grid_of
from pipeline.phantom.planning import plan_lesions
from pipeline.phantom.protocols import SITES

CheckScan = tuple[Volume, LevelMask, LesionMask]
"""A scan with one lesion, its vertebrae, and the lesion."""

_SEED = 1
"""Of a body with the usual 24 vertebrae."""
_VIEW = ("T11", "L5")
_SPACING = (3.0, 1.5, 1.5)
_IN_PLANE = (165.0, 165.0)
_LEVELS = range(18, 24)
"""T11 ... L4 in the plain scan."""


@lru_cache(maxsize=4)
def check_scan(modality: str) -> CheckScan:
    """Some 250 x 160 x 160 mm at 3 x 1.5 x 1.5 mm: large enough for a window of most networks, done in seconds."""
    return _drawn() if modality == "CT" else _plain(modality)


def _drawn() -> CheckScan:
    patient = draw_patient(_SEED, Style.REALISTIC)
    grid = grid_of(extent_of_levels(patient.spine, *_VIEW, _IN_PLANE), _SPACING)
    rng = np.random.default_rng(_SEED)
    plans = plan_lesions(
        rng, patient.spine, grid, patient.tissues, 1, min_contrast_hu=200.0, min_lesion_mm3=1500.0
    )  # fmt: skip
    phantom = render(patient, grid, plans, SITES[0].scanner, seed=_SEED)
    hu = Volume(np.rint(phantom.volume.voxels).astype(np.int16), grid)
    return hu, LevelMask(phantom.levels.astype(np.uint16), anchor="drawn"), LesionMask(phantom.lesions)


def _plain(modality: str) -> CheckScan:
    grid = Grid((70, 100, 100), _SPACING, (-75.0, -75.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    x, y, z = np.moveaxis(grid.to_lps(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
    levels = np.zeros(grid.shape, dtype=np.uint16)
    for place, number in enumerate(reversed(_LEVELS)):
        middle = 20 + 34 * place
        levels[(np.abs(z - middle) < 13) & ((x / 22) ** 2 + ((y - 15) / 16) ** 2 < 1)] = number
        levels[(np.abs(z - middle) < 7) & (np.abs(x) < 5) & (y > 30) & (y < 60)] = number
    lesion = ((x - 5) ** 2 + (y - 12) ** 2 + (z - 88) ** 2) < 8**2
    background, soft, bone, hot = _VALUES[modality]
    values = np.where((x / 68) ** 2 + (y / 60) ** 2 < 1, soft, background)
    values = np.where(levels > 0, bone, values)
    values = np.where(lesion, hot, values)
    noise = np.random.default_rng(0).normal(0, 0.02 * (hot - background), grid.shape)
    voxels = (values + noise).astype(np.float32 if modality == "PT" else np.int16)
    return Volume(voxels, grid), LevelMask(levels, anchor="drawn"), LesionMask(lesion.astype(np.uint16))


_VALUES = {"MR": (0, 300, 450, 120), "PT": (0, 0.8, 1.2, 9), "NM": (0, 20, 60, 400)}
"""Background, soft tissue, bone and lesion: SUV for PT, arbitrary for MR and NM."""
