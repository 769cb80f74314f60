"""Uptake by a fixed SUV and by a share of each region's maximum."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import ModelError, ScanError
from pipeline.grid import Grid, Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.models.predictor import LesionSettings
from pipeline.models.registry import load
from schemas.reasons import Reason

GRID = Grid((10, 12, 14), (3.0, 2.0, 2.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
HOT, WARM = np.s_[2:5, 2:5, 2:5], np.s_[6:8, 7:10, 8:12]
FACTOR = 0.001


def _scan() -> Volume:
    """Two places of SUV 10 with a rim of 4.05 and 5, in stored units of 1 / FACTOR."""
    suv = np.full(GRID.shape, 0.7, np.float32)
    suv[1:6, 1:6, 1:6] = 4.05
    suv[HOT] = 10
    suv[WARM] = 5
    return Volume(suv / FACTOR, GRID)


def _found(
    modality: str = "PT", factor: float | None = FACTOR, within: LevelMask | None = None, **options: object
) -> LesionMask:
    settings = LesionSettings(suv_factor=factor)
    return load("threshold", options=dict(options)).lesions(
        _scan(), modality=modality, within=within, settings=settings
    )


def test_fixed_suv() -> None:
    found = _found()
    assert found.instances.max() == 2
    assert (found.instances == 1).sum() == 5**3
    assert (found.instances == 2).sum() == 2 * 3 * 4
    assert found.score_max is None


def test_another_suv() -> None:
    found = _found(suv=4.5)
    assert (found.instances > 0).sum() == 27 + 24


def test_share_of_each_maximum() -> None:
    found = _found(rule="fraction")
    assert (found.instances == 1).sum() == 27, "4.05 is under 41 % of 10"
    assert (found.instances == 2).sum() == 24, "the other region is measured by its own maximum"


def test_without_suv_only_the_share_works() -> None:
    with pytest.raises(ScanError) as caught:
        _found(factor=None)
    assert caught.value.reason == Reason.MODEL_UNFIT
    assert _found(modality="NM", factor=None, rule="fraction", seed=0.6, fraction=0.9).instances.max() == 1


def test_only_inside_vertebrae() -> None:
    levels = np.zeros(GRID.shape, np.uint16)
    levels[WARM] = 22
    found = _found(within=LevelMask(levels))
    assert found.instances[WARM].all()
    assert not found.instances[HOT].any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"rule": "guess"}, "'suv' or 'fraction', got 'guess'"),
        ({"suvs": 3}, "knows no option 'suvs' for lesions; did you mean 'suv'"),
        ({"fraction": 41}, "less than or equal to 1, got 41"),
    ],
)
def test_wrong_options(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        _found(**options)


def test_ct_is_unfit() -> None:
    with pytest.raises(ScanError, match="made for PT, NM"):
        _found(modality="CT")
