"""Pooling of sites against statsmodels, PyMARE and the vaccine trials of Colditz (1994)."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t
from statsmodels.stats.meta_analysis import combine_effects

from pipeline.evaluate.statistics.random_effects import leave_one_out, logit_of_proportion, paule_mandel, random_effects

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ResourceWarning)  # PyMARE leaves a file open when it is imported
    from pymare import Dataset
    from pymare.estimators import DerSimonianLaird

    gc.collect()

BCG = np.array([
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232),
    (17, 1699, 65, 1600), (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
])  # fmt: skip
"""13 trials: tuberculosis yes and no with vaccine, yes and no without (Colditz 1994, JAMA 271:698)."""


def log_risk_ratios() -> tuple[np.ndarray, np.ndarray]:
    a, b, c, d = BCG.T
    return np.log(a / (a + b) / (c / (c + d))), 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)


@pytest.mark.filterwarnings("ignore:.use_t=True. requires")
def test_the_vaccine_trials() -> None:
    effects, variances = log_risk_ratios()
    pooled = random_effects(effects, variances)
    reference = combine_effects(effects, variances, method_re="pm", use_t=True)
    assert pooled.q == pytest.approx(152.2330, abs=5e-5)  # metafor's documentation of these trials
    assert pooled.i2 == pytest.approx(0.9212, abs=5e-5)
    assert pooled.tau2 == pytest.approx(reference.tau2, abs=1e-5)
    assert pooled.effect == pytest.approx(reference.mean_effect_re, abs=1e-6)
    frame = reference.summary_frame().loc["random effect wls"]
    assert (pooled.low, pooled.high) == pytest.approx((frame["ci_low"], frame["ci_upp"]), abs=1e-5)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_tau2_and_i2_are_never_negative() -> None:
    """statsmodels 0.15 with `method_re="dl"` gives a negative tau2 and I2 for sites that are too much alike."""
    effects, variances = np.array([0.5, 0.5, 0.5, 0.51]), np.array([0.1, 0.2, 0.1, 0.3])
    theirs = combine_effects(effects, variances, method_re="dl")
    assert theirs.tau2 < 0  # pinned: when this fails, their fault is mended
    pooled = random_effects(effects, variances)
    assert (pooled.tau2, pooled.i2) == (0.0, 0.0)
    fixed = 1 / np.sqrt((1 / variances).sum())
    assert pooled.high - pooled.effect == pytest.approx(t.ppf(0.975, 3) * fixed)  # no surer than a fixed effect
    identical = random_effects(np.full(4, 0.3), np.full(4, 0.1))
    assert (identical.effect, identical.tau2, identical.i2, identical.q) == (pytest.approx(0.3), 0.0, 0.0, 0.0)
    truncated = DerSimonianLaird().fit_dataset(Dataset(effects[:, None], variances[:, None])).summary()
    assert truncated.tau2[0] == 0.0


sites = st.lists(st.tuples(st.floats(-3, 3), st.floats(0.01, 2)), min_size=3, max_size=12)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:statsmodels")
@settings(max_examples=40, deadline=None)
@given(sites)
def test_any_sites_as_statsmodels_pools_them(rows: list[tuple[float, float]]) -> None:
    effects, variances = (np.array(column) for column in zip(*rows, strict=True))
    pooled = random_effects(effects, variances)
    reference = combine_effects(effects, variances, method_re="pm")
    assert pooled.tau2 == pytest.approx(max(0.0, reference.tau2), abs=2e-4)
    assert pooled.effect == pytest.approx(reference.mean_effect_re, abs=2e-3)
    assert pooled.weights.sum() == pytest.approx(1)
    assert 0 <= pooled.i2 < 1
    assert (pooled.prediction_low is None) == (len(rows) < 5)
    if pooled.prediction_low is not None:
        assert pooled.prediction_low <= pooled.low + 1e-9
    if pooled.tau2 > 0:
        w = 1 / (variances + pooled.tau2)
        assert (w * (effects - pooled.effect) ** 2).sum() == pytest.approx(len(rows) - 1)


def test_two_sites_are_not_pooled_and_three_not_without_one() -> None:
    with pytest.raises(ValueError, match="3 sites"):
        random_effects([0.1, 0.2], [0.1, 0.1])
    with pytest.raises(ValueError, match="variances above 0"):
        random_effects([0.1, 0.2, 0.3], [0.1, 0.0, 0.1])
    assert leave_one_out([0.1, 0.2, 0.3], [0.1, 0.1, 0.1]) == [None, None, None]
    effects, variances = log_risk_ratios()
    without = leave_one_out(effects, variances)
    assert without[3] is not None
    assert without[3].effect == pytest.approx(random_effects(np.delete(effects, 3), np.delete(variances, 3)).effect)


def test_only_an_empty_cell_gets_half_a_case() -> None:
    assert logit_of_proportion(3, 4) == pytest.approx((np.log(3), 4 / 3))
    assert logit_of_proportion(30, 30) == pytest.approx((np.log(61), 1 / 30.5 + 2))


def test_paule_and_mandel_leave_alike_sites_without_variance() -> None:
    assert paule_mandel(np.array([1.0, 1.0, 1.0]), np.array([0.1, 0.2, 0.3])) == 0.0
