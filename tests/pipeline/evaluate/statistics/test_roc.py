"""Areas under the curve against scikit-learn, other implementations of DeLong, and the definition itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from pipeline.evaluate.statistics.roc import (
    auroc,
    compare_areas,
    hanley_mcneil_variance,
    logit_interval,
    placements,
    roc_curve,
    weighted_auc,
)


@pytest.fixture(scope="module")
def readers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """40 positive and 60 negative cases with ties, of two readers."""
    generator = np.random.default_rng(7)
    truth = np.r_[np.ones(40), np.zeros(60)].astype(int)
    first = np.round(generator.normal(truth * 1.0, 1.0), 1)
    return truth, first, np.round(generator.normal(truth * 0.6, 1.0), 1)


def test_areas_and_variances_as_confidenceinterval_1_0_5_gives_them(
    readers: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    truth, first, second = readers
    found = placements(truth, first, second)
    # delong_roc_variance computes the areas in single precision
    assert found.auc == pytest.approx([0.6993750333786011, 0.65583336353302], rel=1e-7)
    assert np.diag(found.covariance) == pytest.approx([0.0028591566045029345, 0.0031643262908738474], rel=1e-6)


def test_the_paired_test_as_mlstatkit_0_1_91_gives_it(readers: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    compared = compare_areas(*readers)
    assert compared is not None
    assert compared.z == pytest.approx(-0.561689979379241)
    assert compared.p == pytest.approx(0.5743272628347886)
    assert compared.difference.value == pytest.approx(0.6558333333333334 - 0.699375)
    assert compared.difference.high is not None
    assert compared.difference.high > 0 > (compared.difference.low or 0)


def test_the_interval_stays_between_0_and_1(readers: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    # a plain DeLong interval of such an area reaches 1.07
    truth = np.r_[np.ones(12), np.zeros(12)]
    score = np.r_[np.linspace(1, 2, 11), 0.5, np.linspace(0, 0.9, 12)]
    area = auroc(truth, score)
    assert area.interval == "delong_logit"
    assert area.value is not None
    assert area.low is not None
    assert area.high is not None
    assert 0.5 < area.low < area.value < area.high < 1


def test_what_cannot_be_estimated_says_so() -> None:
    one_class = auroc(np.ones(5), np.arange(5.0))
    assert one_class.value is None
    assert one_class.note == "not estimable: 5 positive and 0 negative cases"
    separated = auroc(np.r_[np.ones(20), np.zeros(20)], np.r_[np.ones(20), np.zeros(20)])
    assert (separated.value, separated.low, separated.high) == (1.0, None, None)
    assert "separated" in (separated.note or "")
    few = auroc(np.r_[np.ones(4), np.zeros(40)], np.r_[np.full(4, 0.5), np.linspace(0, 1, 40)])
    assert few.value is not None
    assert few.low is None
    assert compare_areas([1, 1], [1, 2], [2, 1]) is None


def test_equal_scores_give_a_half_and_equal_readers_no_difference() -> None:
    truth = np.r_[np.ones(20), np.zeros(20)]
    assert auroc(truth, np.full(40, 0.3)).value == 0.5
    same = compare_areas(truth, np.arange(40), np.arange(40) * 2)
    assert same is not None
    assert (same.difference.value, same.z, same.p) == (0.0, None, None)


def test_a_paired_test_of_a_handful_is_no_test() -> None:
    """As of one area: three positive and thirty negative cases have no variance that means anything."""
    found = compare_areas(np.r_[np.ones(3), np.zeros(30)], np.r_[5.0, 20.5, 25.5, :30], np.r_[15.5, 20.5, 25.5, :30])
    assert found is not None
    assert found.difference.value == pytest.approx(found.second - found.first)
    assert found.difference.note == "no interval: 3 positive and 30 negative cases"
    assert (found.difference.low, found.z, found.p) == (None, None, None)


cases = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=4, max_size=60).filter(
    lambda rows: 2 <= sum(positive for positive, _ in rows) <= len(rows) - 2
)


@given(cases)
def test_area_and_variance_by_their_definitions(rows: list[tuple[bool, int]]) -> None:
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    found = placements(truth, score)
    assert found.auc[0] == pytest.approx(roc_auc_score(truth, score))
    wins = np.sign(score[truth][:, None] - score[~truth][None, :]) / 2 + 0.5
    m, n = wins.shape
    variance = wins.mean(axis=1).var(ddof=1) / m + wins.mean(axis=0).var(ddof=1) / n
    assert found.covariance[0, 0] == pytest.approx(variance, abs=1e-12)


@given(cases, st.integers(0, 2**32))
def test_areas_of_a_weighting_are_those_of_the_repeated_cases(rows: list[tuple[bool, int]], seed: int) -> None:
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    weights = np.random.default_rng(seed).integers(0, 3, (4, truth.size))
    for drawn, area in zip(weights, weighted_auc(truth, score.astype(float), weights.astype(float)), strict=True):
        repeated = np.repeat(truth, drawn)
        if repeated.all() or not repeated.any():
            assert np.isnan(area)
        else:
            assert area == pytest.approx(roc_auc_score(repeated, np.repeat(score, drawn)))


@given(cases)
def test_the_curve_is_scikit_learns(rows: list[tuple[bool, int]]) -> None:
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    ours = roc_curve(truth, score.astype(float))
    theirs = sklearn_roc_curve(truth, score, drop_intermediate=False)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other)


def test_hanley_and_mcneil_as_published() -> None:
    # Hanley and McNeil (1982), Radiology 143:29: area 0.893 of 58 normal and 51 abnormal has standard error 0.032
    assert np.sqrt(hanley_mcneil_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=0.001)


def test_the_logit_interval_is_symmetric_in_the_logit() -> None:
    low, high = logit_interval(0.9, 0.001)
    assert low * high / ((1 - low) * (1 - high)) == pytest.approx(81)
