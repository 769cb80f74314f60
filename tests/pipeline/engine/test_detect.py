"""Scores to lesions: components, thresholds, and what stays a candidate."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.engine.detect import MOST_CANDIDATES, lesions_from_scores, widened
from pipeline.engine.reduce import SCORE_UNIT
from pipeline.errors import ScanError
from pipeline.grid import Grid
from schemas.reasons import Reason

GRID = Grid((12, 14, 16), (2.0, 1.0, 1.5), (10.0, 20.0, 30.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))


def _scores(**boxes: tuple[tuple[slice, slice, slice], float]) -> np.ndarray:
    scores = np.zeros(GRID.shape)
    for box, score in boxes.values():
        scores[box] = score
    return np.rint(scores * SCORE_UNIT).astype(np.uint16)


A = np.s_[2:4, 2:5, 3:6]
B = np.s_[8:10, 9:12, 9:13]
C = np.s_[5:6, 0:1, 0:1]


def test_strongest_first() -> None:
    found = lesions_from_scores(_scores(a=(A, 0.7), b=(B, 0.9)), GRID, threshold=0.5)
    assert (found.instances[B] == 1).all()
    assert (found.instances[A] == 2).all()
    assert found.instances.max() == 2
    assert found.score_max == pytest.approx([0.9, 0.7], abs=1e-4)
    assert found.candidates == []


def test_odd_small_masks() -> None:
    found = lesions_from_scores(
        _scores(a=(np.s_[3:4, 3:4, 3:4], 0.8), b=(np.s_[3:4, 3:4, 5:6], 0.8)), GRID, threshold=0.5
    )
    assert found.instances.max() == 2


def test_touching_at_a_corner_is_one() -> None:
    other = np.s_[4:6, 5:7, 6:8]
    assert lesions_from_scores(_scores(a=(A, 0.8), b=(other, 0.8)), GRID, threshold=0.5).instances.max() == 1


def test_what_is_under_the_threshold_is_a_candidate() -> None:
    found = lesions_from_scores(_scores(a=(A, 0.7), b=(B, 0.3), c=(C, 0.05)), GRID, threshold=0.5)
    (candidate,) = found.candidates
    assert candidate["why_not"] == "threshold"
    assert candidate["bbox"] == [8, 9, 9, 10, 12, 13]
    assert candidate["score_max"] == pytest.approx(0.3, abs=1e-4)
    assert candidate["volume_mm3"] == pytest.approx(24 * 3.0)
    assert candidate["centroid_mm"] == pytest.approx([10 + 10.5 * 1.5, 20 + 10, 30 + 8.5 * 2])


def test_a_shoulder_of_a_lesion_is_no_candidate() -> None:
    scores = _scores(a=(np.s_[1:5, 1:6, 2:7], 0.3), b=(A, 0.9))
    assert lesions_from_scores(scores, GRID, threshold=0.5).candidates == []


def test_too_small_is_a_candidate() -> None:
    found = lesions_from_scores(_scores(a=(A, 0.7), c=(C, 0.9)), GRID, threshold=0.5, min_volume_mm3=10)
    assert found.instances.max() == 1
    assert [row["why_not"] for row in found.candidates] == ["min_volume"]


def test_threshold_counts_itself() -> None:
    scores = _scores(a=(A, 0.5))
    assert lesions_from_scores(scores, GRID, threshold=0.5).instances.max() == 1
    assert lesions_from_scores(scores, GRID, threshold=0.501).instances.max() == 0


def test_nothing_is_nothing() -> None:
    found = lesions_from_scores(_scores(), GRID, threshold=0.5)
    assert not found.instances.any()
    assert found.score_max is not None
    assert len(found.score_max) == 0


def test_candidates_can_be_left_out() -> None:
    assert lesions_from_scores(_scores(b=(B, 0.3)), GRID, threshold=0.5, keep_candidates=False).candidates == []


def test_noise_is_refused_and_candidates_are_bounded() -> None:
    grid = Grid((1, 600, 600), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), GRID.direction)
    scores = np.zeros(grid.shape, np.uint16)
    scores[:, ::2, ::2] = SCORE_UNIT
    with pytest.raises(ScanError) as caught:
        lesions_from_scores(scores, grid, threshold=0.5)
    assert caught.value.reason == Reason.MODEL_OUTPUT
    weak = lesions_from_scores(scores[:, :80, :80] // 4, grid, threshold=0.5)
    assert len(weak.candidates) == MOST_CANDIDATES


def test_widened_by_millimetres() -> None:
    mask = np.zeros(GRID.shape, bool)
    mask[6, 7, 8] = True
    wide = widened(mask, GRID, 3.0)
    z, y, x = np.nonzero(wide)
    assert (np.ptp(z), np.ptp(y), np.ptp(x)) == (4, 6, 4)
