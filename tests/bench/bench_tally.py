"""Tally of a whole-spine CT against a plain scipy.ndimage computation of volumes, centroids and boxes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from pipeline.grid import Grid, Volume
from pipeline.masks import BODY, POSTERIOR, LesionMask, LevelMask
from pipeline.tally import tally_scan
from schemas.config import TypeRule
from schemas.spine import LEVELS

SHAPE = (600, 512, 512)
SPACING = (1.0, 0.8, 0.8)
N_LESIONS = 200


def whole_spine() -> tuple[Volume, LesionMask, LevelMask]:
    """25 vertebrae of 22 mm and 200 ellipsoid lesions of 4 to 15 mm radius in and about them."""
    rng = np.random.default_rng(0)
    numbers, parts = np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.uint8)
    for place, level in enumerate(reversed([level for level in LEVELS if level.name != "COCCYX"][:26])):
        z = slice(10 + 22 * place, 30 + 22 * place)
        numbers[z, 230:275, 225:285], parts[z, 230:275, 225:285] = level.number, BODY
        numbers[z, 275:325, 210:300], parts[z, 275:325, 210:300] = level.number, POSTERIOR
    lesions = np.zeros(SHAPE, np.uint16)
    for label in range(1, N_LESIONS + 1):
        centre, radius = rng.integers((20, 220, 200), (570, 310, 300)), rng.uniform(4, 15)
        reach = np.ceil(radius / np.array(SPACING)).astype(int)
        box = tuple(slice(max(c - r, 0), c + r + 1) for c, r in zip(centre, reach, strict=True))
        away = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1) - centre
        crop = lesions[box]
        crop[((away * SPACING) ** 2).sum(-1) <= radius**2] = label
    present = np.flatnonzero(np.bincount(lesions.ravel()))[1:]
    relabel = np.zeros(N_LESIONS + 1, np.uint16)
    relabel[present] = np.arange(1, len(present) + 1)
    voxels = rng.integers(-100, 400, SHAPE, dtype=np.int16)
    grid = Grid(SHAPE, SPACING, (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Volume(voxels, grid), LesionMask(relabel[lesions]), LevelMask(numbers, parts, "mask")


def plain(labels: np.ndarray, grid: Grid) -> list[tuple[float, np.ndarray, list[int]]]:
    """Volume, centroid and box of each label as scipy.ndimage gives them on the whole array."""
    index = np.arange(1, int(labels.max()) + 1)
    ones = np.ones_like(labels, dtype=np.uint8)
    volumes = ndimage.sum_labels(ones, labels, index) * grid.voxel_mm3
    centres = grid.to_lps(ndimage.center_of_mass(ones, labels, index))
    boxes = [[s.start for s in b] + [s.stop for s in b] for b in ndimage.find_objects(labels)]
    return list(zip(volumes, centres, boxes, strict=True))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_tally_against_scipy(record_property: Callable[[str, object], None]) -> None:
    volume, lesions, levels = whole_spine()
    seconds, result = timed(
        lambda: tally_scan(
            volume,
            modality="CT",
            intensity_unit="HU",
            suv_factor=None,
            lesions=lesions,
            levels=levels,
            type_rule=TypeRule(),
            threshold=0.5,
            model="bench/1",
        )
    )
    scipy_seconds, expected = timed(lambda: plain(lesions.instances, volume.grid))
    for row, (volume_mm3, centre, box) in zip(result["lesions"], expected, strict=True):
        assert row["volume_mm3"] == pytest.approx(volume_mm3, rel=1e-12)
        assert row["centroid_mm"] == pytest.approx(list(centre), rel=1e-12)
        assert row["bbox"] == box
    figures = {"lesions": len(expected), "tally_seconds": seconds, "scipy_seconds": scipy_seconds}
    for name, value in figures.items():
        record_property(name, value)
    print(f"\n{figures} {scipy_seconds / seconds:.1f} times as fast")
