"""The detector on the true levels of a phantom, and on made-up bone of which everything is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import ModelError
from pipeline.grid import Grid, Volume
from pipeline.masks import BODY, LevelMask
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.registry import load

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SETTINGS = LesionSettings(threshold=0.5, min_volume_mm3=30)


@pytest.fixture(scope="module")
def detector() -> Predictor:
    return load("builtin/ct-lesions")


def _spine(
    contrast: float = 0.0, radius_mm: float = 6.0, direction: tuple[float, ...] = IDENTITY
) -> tuple[Volume, LevelMask]:
    """Five boxes of bone with a cortex, 1 mm, and a ball of another density in the middle one."""
    rng = np.random.default_rng(0)
    grid = Grid((170, 60, 60), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), direction)
    levels = np.zeros(grid.shape, dtype=np.uint16)
    hu = np.full(grid.shape, 40.0)
    for i in range(5):
        z = 8 + 32 * i
        hu[z : z + 26, 10:42, 8:52] = 600
        hu[z + 1 : z + 25, 11:41, 9:51] = 160
        levels[z : z + 26, 10:42, 8:52] = 24 - i
    at = np.indices(grid.shape)
    ball = sum((a - c) ** 2 for a, c in zip(at, (8 + 64 + 13, 26, 30), strict=True)) < radius_mm**2
    hu[ball] += contrast
    hu += rng.normal(0, 15, grid.shape)
    parts = np.where(levels > 0, BODY, 0).astype(np.uint8)
    return Volume(hu.astype(np.int16), grid), LevelMask(levels, parts, "mask")


@pytest.mark.parametrize("contrast", [-150.0, 200.0])
def test_a_ball_of_another_density_is_one_lesion_of_its_size(detector: Predictor, contrast: float) -> None:
    volume, levels = _spine(contrast)
    found = detector.lesions(volume, modality="CT", within=levels, settings=SETTINGS)
    assert found.instances.max() == 1
    true_mm3 = 4 / 3 * np.pi * 6**3
    assert 0.6 * true_mm3 < (found.instances == 1).sum() < 1.6 * true_mm3
    centre = np.argwhere(found.instances == 1).mean(axis=0)
    assert np.abs(centre - (85, 26, 30)).max() < 1.0
    assert found.score_max is not None
    assert 0.5 <= found.score_max[0] <= 1


def test_normal_bone_holds_no_lesion(detector: Predictor) -> None:
    volume, levels = _spine()
    assert not detector.lesions(volume, modality="CT", within=levels, settings=SETTINGS).instances.any()


def test_the_score_rises_with_contrast_and_with_size(detector: Predictor) -> None:
    everything = LesionSettings(threshold=0.0)

    def score(contrast: float, radius_mm: float) -> float:
        volume, levels = _spine(contrast, radius_mm)
        got = detector.lesions(volume, modality="CT", within=levels, settings=everything)
        assert got.score_max is not None
        return float(got.score_max[0])

    assert score(-80, 5) < score(-140, 5) < score(-140, 8)


def test_what_stays_below_the_settings_is_a_candidate(detector: Predictor) -> None:
    volume, levels = _spine(200.0)
    strict = LesionSettings(threshold=1.0, min_volume_mm3=30)
    got = detector.lesions(volume, modality="CT", within=levels, settings=strict)
    assert not got.instances.any()
    assert got.candidates[0]["why_not"] == "threshold"
    large = LesionSettings(threshold=0.5, min_volume_mm3=1e6)
    assert (
        detector.lesions(volume, modality="CT", within=levels, settings=large).candidates[0]["why_not"] == "min_volume"
    )
    silent = LesionSettings(threshold=1.0, keep_candidates=False)
    assert not detector.lesions(volume, modality="CT", within=levels, settings=silent).candidates


def test_a_scan_stored_along_other_axes_gives_the_same_lesion(detector: Predictor) -> None:
    volume, levels = _spine(200.0)
    turned_grid = Grid(
        volume.grid.shape, volume.grid.spacing_mm, (59.0, 59.0, 0.0), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)
    )
    turned = Volume(volume.voxels[:, ::-1, ::-1].copy(), turned_grid)
    mask = LevelMask(levels.levels[:, ::-1, ::-1].copy(), None, None)
    straight = detector.lesions(volume, modality="CT", within=LevelMask(levels.levels), settings=SETTINGS)
    other = detector.lesions(turned, modality="CT", within=mask, settings=SETTINGS)
    # On the way back to the scan's grid a voxel may lie just on the surface, where the last bit decides.
    differing = np.count_nonzero(other.instances[:, ::-1, ::-1] != straight.instances)
    assert differing <= 0.01 * np.count_nonzero(straight.instances)
    assert straight.instances.any()


def test_without_vertebrae_there_is_nothing_to_look_at(detector: Predictor) -> None:
    volume, levels = _spine()
    empty = LevelMask(np.zeros_like(levels.levels))
    assert not detector.lesions(volume, modality="CT", within=empty, settings=SETTINGS).instances.any()
    with pytest.raises(ModelError, match="inside vertebrae"):
        detector.lesions(volume, modality="CT", within=None, settings=SETTINGS)
    with pytest.raises(ModelError, match="finds lesions"):
        detector.levels(volume, modality="CT")
