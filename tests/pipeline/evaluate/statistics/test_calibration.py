"""Calibration against statsmodels and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.special import expit, logit
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
    assert separated.slope.value is None
