"""Places proposed in made-up bone, the choice among those that overlap, and the score's file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.grid import Grid
from pipeline.models.builtin.ct_lesions.bone import BODY_KIND, POSTERIOR_KIND, STEP_MM, Bone
from pipeline.models.builtin.ct_lesions.choose import choose
from pipeline.models.builtin.ct_lesions.describe import NAMES, describe, surround
from pipeline.models.builtin.ct_lesions.deviation import deviate
from pipeline.models.builtin.ct_lesions.paired import is_paired
from pipeline.models.builtin.ct_lesions.propose import Proposal, propose
from pipeline.models.builtin.ct_lesions.reference import Reference
from pipeline.models.builtin.ct_lesions.score import Scorer, read_scorer, write_scorer

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SHAPE = (40, 40, 40)


def _ball(at: tuple[float, float, float], radius: float) -> npt.NDArray[np.bool_]:
    return np.asarray(sum((a - c) ** 2 for a, c in zip(np.indices(SHAPE), at, strict=True)) < radius**2)


def _bone(hu: npt.NDArray[np.float64]) -> tuple[Bone, Reference]:
    """A block of bone of 150 HU in the middle, one level."""
    inside = np.zeros(SHAPE, dtype=bool)
    inside[4:36, 4:36, 4:36] = True
    depth = np.minimum.reduce([np.minimum(i - 3, 36 - i) for i in np.indices(SHAPE)]).clip(0) * STEP_MM
    noise = np.random.default_rng(0).normal(0, 10, SHAPE)
    bone = Bone(
        grid=Grid(SHAPE, (STEP_MM,) * 3, (0.0, 0.0, 0.0), IDENTITY),
        hu=(hu + noise).astype(np.float32),
        levels=np.where(inside, 22, 0).astype(np.uint16),
        kind=np.where(inside, BODY_KIND, 0).astype(np.uint8),
        depth=depth.astype(np.float32),
        endplate=depth.astype(np.float32),
        box=(slice(0, 40), slice(0, 40), slice(0, 40)),
    )
    flat = np.full(SHAPE, 150, dtype=np.float32), np.full(SHAPE, 10, dtype=np.float32)
    return bone, Reference(*flat, trabecular_hu=150.0, noise_hu=10.0)


def _overlap(place: Proposal, truth: npt.NDArray[np.bool_]) -> float:
    both = (truth[place.box] & place.mask).sum()
    return float(both / (truth.sum() + place.mask.sum() - both))


def test_two_lesions_that_touch_are_proposed_apart_and_together() -> None:
    one, two = _ball((20, 20, 13), 6), _ball((20, 20, 24), 6)
    bone, reference = _bone(np.where(one | two, 400.0, 150.0))
    places = propose(bone, deviate(bone, reference, torch.device("cpu")))
    for truth in (one, two, one | two):
        assert max(_overlap(place, truth) for place in places) > 0.4


def test_a_dark_core_in_a_dense_rim_is_proposed_as_one() -> None:
    whole, core = _ball((20, 20, 20), 7), _ball((20, 20, 20), 4)
    bone, reference = _bone(np.where(core, 0.0, np.where(whole, 350.0, 150.0)))
    places = propose(bone, deviate(bone, reference, torch.device("cpu")))
    assert max(_overlap(place, whole) for place in places) > 0.5


def test_even_bone_proposes_nothing() -> None:
    bone, reference = _bone(np.full(SHAPE, 150.0))
    assert not propose(bone, deviate(bone, reference, torch.device("cpu")))


def test_the_description_says_what_was_drawn() -> None:
    truth = _ball((20, 20, 20), 6)
    bone, reference = _bone(np.where(truth, 30.0, 150.0))
    deviation = deviate(bone, reference, torch.device("cpu"))
    place = max(propose(bone, deviation), key=lambda p: _overlap(p, truth))
    got = dict(zip(NAMES, describe(place, surround(bone, reference, deviation)).tolist(), strict=True))
    assert 70 < np.exp(got["contrast"]) < 125
    assert np.exp(got["volume"]) == pytest.approx(truth.sum() * STEP_MM**3, rel=0.4)
    assert got["lytic"] == 1
    assert got["both"] == got["sacrum"] == got["posterior"] == 0
    assert got["elongation"] < 0.3
    assert got["filled"] == pytest.approx(1, abs=0.2)
    assert got["levels"] == 1
    assert got["beyond"] == pytest.approx(1, abs=0.25)
    assert got["goes_on"] == 0


def _box(low: int, high: int) -> Proposal:
    part = slice(low, high)
    return Proposal((part, part, part), np.ones((high - low,) * 3, dtype=bool), 1)


def test_of_places_that_overlap_the_best_is_kept() -> None:
    places = [_box(0, 10), _box(2, 10), _box(20, 25), _box(9, 14), _box(30, 33)]
    kept = choose(places, np.array([0.4, 0.9, 0.5, 0.3, 0.001]), SHAPE)
    assert kept == [1, 2, 3]  # the first shares too much with the second, the last scores too low


def test_a_place_within_a_larger_one_that_is_kept_is_the_same_place() -> None:
    assert choose([_box(0, 20), _box(5, 8)], np.array([0.9, 0.8]), SHAPE) == [0]
    assert choose([_box(0, 20), _box(5, 8)], np.array([0.8, 0.9]), SHAPE) == [1]


def _scorer() -> Scorer:
    rng = np.random.default_rng(1)
    f, n, h = len(NAMES), 2, 3
    return Scorer(
        rng.normal(size=f), rng.uniform(1, 2, f), rng.normal(size=(n, h, f)), rng.normal(size=(n, h)),
        rng.normal(size=(n, h)), rng.normal(size=n), np.array([1.0, 0.0]),
    )  # fmt: skip


def test_a_score_does_not_extrapolate_and_survives_its_file(tmp_path: Path) -> None:
    scorer, here = _scorer(), np.zeros((1, len(NAMES)))
    far, farther = scorer.mean + 50 * scorer.spread, scorer.mean + 5000 * scorer.spread
    assert scorer(far[None]) == scorer(farther[None])
    write_scorer(scorer, tmp_path / "weights.safetensors")
    assert read_scorer(tmp_path / "weights.safetensors")(here) == pytest.approx(scorer(here), abs=1e-5)


def test_weights_for_another_description_are_refused(tmp_path: Path) -> None:
    write_scorer(replace(_scorer(), mean=np.zeros(3)), tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="does not fit"):
        read_scorer(tmp_path / "weights.safetensors")


_LEFT, _RIGHT, _MIDDLE = (20, 28, 30), (20, 27, 9), (20, 28, 19.5)


@pytest.mark.parametrize(
    ("dense", "hu", "paired"),
    [
        pytest.param((_LEFT, _RIGHT), 600.0, True, id="facets"),
        pytest.param((_LEFT,), 600.0, False, id="one side"),
        pytest.param((_MIDDLE,), 600.0, False, id="spinous process"),
        pytest.param((_LEFT, _RIGHT), 0.0, False, id="two lytic places"),
    ],
)
def test_dense_pairs_of_the_posterior_elements_are_anatomy(
    dense: tuple[tuple[float, float, float], ...], hu: float, paired: bool
) -> None:
    spots = np.logical_or.reduce([_ball(at, 5) for at in dense])
    bone, reference = _bone(np.where(spots, hu, 150.0))
    back = np.where(bone.inside & (np.indices(SHAPE)[1] >= 20), POSTERIOR_KIND, bone.kind).astype(np.uint8)
    bone = replace(bone, kind=back)
    deviation = deviate(bone, reference, torch.device("cpu"))
    truth = _ball(dense[0], 5)
    place = max(propose(bone, deviation), key=lambda p: _overlap(p, truth))
    assert _overlap(place, truth) > 0.4
    assert is_paired(place, surround(bone, reference, deviation)) == paired
