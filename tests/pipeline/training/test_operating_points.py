"""Sensitivity and false places counted on places made up so that the counts are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.training.fit_ct_lesions import cross_validated, examples
from pipeline.training.operating_points import Places, operating_points, rank

SHAPE = (10, 10, 10)


def _places(iou: list[list[float]], volumes: list[float]) -> Places:
    """Places of 20 voxels each that do not touch."""
    voxels = tuple(np.arange(100 * k, 100 * k + 20) for k in range(len(iou)))
    rng = np.random.default_rng(len(iou))
    return Places(rng.normal(size=(len(iou), 4)), np.array(iou).reshape(len(iou), -1), np.array(volumes), voxels, SHAPE)


def test_hits_are_one_to_one_and_small_lesions_are_neither_wanted_nor_false() -> None:
    one = _places([[0.7, 0], [0.2, 0], [0, 0.4], [0, 0]], [900.0, 100.0])
    two = _places([[0.05], [0.0]], [600.0])
    ranked = rank([one, two], [np.array([3.0, 2.0, 1.0, 0.0]), np.array([2.5, -1.0])])
    assert (ranked.n_true, ranked.n_scans) == (2, 2)
    assert ranked.raw.tolist() == [3.0, 2.5, 2.0, 1.0, 0.0, -1.0]
    assert ranked.hit.tolist() == [True, False, False, False, False, False]
    assert ranked.false.tolist() == [False, True, True, False, True, True]
    none, half, all_of_them = operating_points(ranked, (0.0, 0.5, 10.0))
    assert none.sensitivity == half.sensitivity == all_of_them.sensitivity == 0.5
    factor, offset = ranked.calibration(0.5)
    assert factor * 2.0 + offset == 0  # at the third place a second one would be false


def test_scans_without_lesions_count_their_false_places() -> None:
    ranked = rank([_places([[], []], [])], [np.array([1.0, 0.0])])
    assert ranked.n_true == 0
    assert ranked.false.all()


def test_each_lesion_weighs_the_same(tmp_path: Path) -> None:
    many = _places([[0.6], [0.5], [0.4], [0.0]], [900.0])
    few = _places([[0.6], [0.0]], [900.0])
    learned = examples([many, few, _places([[]], [])])
    weighed = learned.goal * learned.weight
    assert weighed[:4].sum() == pytest.approx(12)
    assert weighed[4:6].sum() == pytest.approx(6)  # one place may weigh no more
    assert learned.goal[-1] == 0
    many.save(tmp_path / "a.npz")
    again = Places.read(tmp_path / "a.npz")
    assert np.array_equal(again.iou, many.iou)
    assert [v.tolist() for v in again.voxels] == [v.tolist() for v in many.voxels]


def test_scores_are_learned_for_scans_that_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.training.fit_ct_lesions.EPOCHS", 60)
    rng = np.random.default_rng(0)

    def scan() -> Places:
        iou = rng.choice([0.0, 0.6], 10)[:, None]
        described = np.hstack([iou + rng.normal(0, 0.05, iou.shape), rng.normal(size=(10, 3))])
        return Places(
            described, iou, np.array([900.0]), tuple(np.arange(100 * k, 100 * k + 20) for k in range(10)), SHAPE
        )

    scans = [scan() for _ in range(12)]
    raw = cross_validated(scans, seed=0)
    right = np.concatenate([(r > 0) == (s.iou[:, 0] > 0) for r, s in zip(raw, scans, strict=True)])
    assert right.mean() > 0.9
