"""Calibration against statsmodels and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, logit
from sklearn.metrics import brier_score_loss

from pipeline.evaluate.statistics.calibration import calibration


@pytest.fixture(scope="module")
def cases() -> tuple[np.ndarray, np.ndarray]:
    """Scores twice too sure of themselves, on a population with fewer positives than they were made for."""
    generator = np.random.default_rng(3)
    ability = generator.normal(0, 1, 4000)
    return generator.random(4000) < expit(ability - 0.5), expit(2 * ability)


def test_slope_intercept_and_brier(cases: tuple[np.ndarray, np.ndarray]) -> None:
    truth, score = cases
    found = calibration(truth, score)
    assert found is not None
    fitted = sm.GLM(truth.astype(float), sm.add_constant(logit(score)), family=sm.families.Binomial()).fit()
    assert found.slope.value == pytest.approx(fitted.params[1])
    assert (found.slope.low, found.slope.high) == pytest.approx(tuple(fitted.conf_int()[1]))
    large = sm.GLM(truth.astype(float), np.ones(4000), family=sm.families.Binomial(), offset=logit(score)).fit()
    assert found.intercept.value == pytest.approx(large.params[0])
    assert found.brier == pytest.approx(brier_score_loss(truth, score))
    assert found.slope.value == pytest.approx(0.5, abs=0.06)  # as made


def test_bins_hold_every_case_once(cases: tuple[np.ndarray, np.ndarray]) -> None:
    found = calibration(*cases)
    assert found is not None
    assert len(found.bins) == 10
    assert sum(b.observed.denominator or 0 for b in found.bins) == 4000
    assert [b.mean_score for b in found.bins] == sorted(b.mean_score for b in found.bins)


def test_what_has_no_calibration() -> None:
    assert calibration([1, 1], [0.2, 0.3]) is None
    assert calibration([], []) is None
    assert calibration([1, 0], [1.2, 0.3]) is None
    equal = calibration([1, 0, 1, 0], [0.5] * 4)
    assert equal is not None
    assert equal.slope.value is None
    assert equal.intercept.value == pytest.approx(0, abs=1e-9)
    separated = calibration([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2])
    assert separated is not None
    assert separated.slope.note == "not estimable: the scores separate the classes"
    assert separated.intercept.value is not None


def test_scores_of_0_and_1_are_moved_in_and_counted() -> None:
    """Patients without a candidate score 0; their intercept was once called not estimable."""
    score = np.r_[np.zeros(75), np.ones(25)]
    truth = np.r_[np.zeros(65), np.ones(10), np.ones(18), np.zeros(7)]
    found = calibration(truth, score)
    assert found is not None
    assert found.n_moved == 100
    moved = logit(np.clip(score, 1e-6, 1 - 1e-6))
    assert found.intercept.value is not None
    assert expit(moved + found.intercept.value).sum() == pytest.approx(truth.sum())
    fitted = sm.GLM(truth, sm.add_constant(moved), family=sm.families.Binomial()).fit()
    assert found.slope.value == pytest.approx(fitted.params[1])
    assert (found.slope.low, found.slope.high) == pytest.approx(tuple(fitted.conf_int()[1]))
    assert [(b.mean_score, b.observed.numerator, b.observed.denominator) for b in found.bins] == [
        (0.0, 10, 75),
        (1.0, 18, 25),
    ]


scored = st.tuples(st.booleans(), st.sampled_from([0.0, 1e-4, 0.2, 0.5, 0.7, 1.0]))


@given(st.lists(scored, min_size=2, max_size=40).filter(lambda rows: len({positive for positive, _ in rows}) == 2))
def test_at_the_slope_and_intercept_the_likelihood_is_highest(rows: list[tuple[bool, float]]) -> None:
    truth, score = (np.array(column) for column in zip(*rows, strict=True))
    found = calibration(truth, score)
    assert found is not None
    x = logit(np.clip(score, 1e-6, 1 - 1e-6))
    assert found.intercept.value is not None
    assert expit(x + found.intercept.value).sum() == pytest.approx(truth.sum(), abs=1e-6)
    apart = x[truth].min() >= x[~truth].max() or x[truth].max() <= x[~truth].min()
    assert (found.slope.value is None) == apart
    if found.slope.value is None:
        return

    def lost(beta: np.ndarray) -> float:
        return -float(log_expit(np.where(truth, 1, -1) * (beta[0] + beta[1] * x)).sum())

    def with_slope(slope: float) -> float:
        found = minimize_scalar(lambda level: lost(np.array([level, slope])), bounds=(-60, 60), method="bounded")
        return float(found.fun)

    best = with_slope(found.slope.value)
    assert all(with_slope(found.slope.value + step) >= best - 1e-6 for step in (-0.01, 0.01, -0.3, 0.3))
