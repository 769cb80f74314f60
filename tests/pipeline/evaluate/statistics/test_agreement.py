"""Agreement against published examples, pingouin and statsmodels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pingouin
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa

from pipeline.evaluate.statistics.agreement import bland_altman, icc, kappa

WRIGHT = (494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427)
MINI_WRIGHT = (512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451)
"""Peak flow in l/min of 17 people with two meters (Bland and Altman 1986, Lancet 327:307, table)."""

SHROUT_FLEISS = np.array([(9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7)])
"""Six targets rated by four judges (Shrout and Fleiss 1979, Psychological Bulletin 86:420, table 2)."""


def test_peak_flow_as_published() -> None:
    found = bland_altman(MINI_WRIGHT, WRIGHT)
    assert found is not None
    assert found.bias.value == pytest.approx(-2.1, abs=0.05)
    assert found.sd == pytest.approx(38.8, abs=0.05)
    assert (found.bias.low, found.bias.high) == pytest.approx((-22.0, 17.8), abs=0.1)
    # the paper takes 2 standard deviations for 1.96: -79.7 to 75.5, and -114.3 for the lower end of the lower one
    assert found.bias.value is not None
    assert found.bias.value + 2 * found.sd == pytest.approx(75.5, abs=0.1)
    assert found.upper_limit.value == pytest.approx(found.bias.value + 1.96 * found.sd, abs=0.01)
    assert found.lower_limit.low == pytest.approx(-114.3 + 0.04 * found.sd, abs=0.3)
    assert bland_altman([1, 2], [1, 2]) is None


def test_judges_as_published() -> None:
    found = icc(*SHROUT_FLEISS.T)
    assert found.value == pytest.approx(0.29, abs=0.005)
    assert (found.low, found.high) == pytest.approx((0.02, 0.76), abs=0.005)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1e3), st.floats(-50, 50)), min_size=5, max_size=30))
def test_icc_is_pingouins(rows: list[tuple[float, float]]) -> None:
    first = np.round([a for a, _ in rows], 2)
    second = first + np.round([d for _, d in rows], 2)
    assume(first.std() > 1)
    assume(np.std(second - first) > 1)
    n = len(rows)
    frame = pd.DataFrame(
        {"case": np.tile(np.arange(n), 2), "reader": np.repeat(["a", "b"], n), "volume": np.r_[first, second]}
    )
    table = pingouin.intraclass_corr(frame, targets="case", raters="reader", ratings="volume").set_index("Type")
    row = table.loc["ICC(A,1)"] if "ICC(A,1)" in table.index else table.loc["ICC2"]
    found = icc(first, second)
    assert found.value == pytest.approx(row["ICC"], abs=1e-6)


def test_an_interval_without_width_is_none() -> None:
    apart = icc([1, 2, 3, 6], [11, 12, 13, 16])  # a constant apart: far from agreement, but without a residual
    assert 0 < (apart.value or 0) < 0.2
    assert apart.low is None
    assert "by a constant" in (apart.note or "")
    same = kappa([1, 0, 1, 0], [1, 0, 1, 0])
    assert (same.value, same.low, same.high) == (1.0, None, None)


@pytest.mark.parametrize("apart", [0.0, 0.1, 700.0])
def test_measurements_a_constant_apart_have_limits_without_an_interval(apart: float) -> None:
    first = np.array([0.3, 0.1, 2.7, 900.0])
    found = bland_altman(first, first + apart)
    assert found is not None
    for estimate in (found.bias, found.lower_limit, found.upper_limit):
        assert estimate.value == pytest.approx(apart, abs=1e-9)
        assert (estimate.low, estimate.high) == (None, None)
        assert estimate.note == "no interval: all differences are the same"


def test_equal_measurements_have_no_icc_to_estimate() -> None:
    assert icc([1, 1, 1], [1, 1, 1]).value is None
    assert icc([1, 2, 3], [1, 2, 3]).value == 1.0
    assert icc([1, 2], [1, 2]).note == "not estimable: 2 cases"


def test_kappa_by_hand() -> None:
    # agreement 0.70 where 0.50 is expected
    first = np.repeat([1, 1, 0, 0], [20, 5, 10, 15])
    second = np.repeat([1, 0, 1, 0], [20, 5, 10, 15])
    assert kappa(first, second).value == pytest.approx(0.4)


@pytest.mark.filterwarnings("ignore::RuntimeWarning:statsmodels")
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=60))
def test_kappa_is_that_of_statsmodels(rows: list[tuple[int, int]]) -> None:
    first, second = (np.array(column) for column in zip(*rows, strict=True))
    values = np.unique(np.r_[first, second])
    assume(values.size > 1)
    table = np.array([[((first == a) & (second == b)).sum() for b in values] for a in values])
    found = kappa(first, second)
    if found.value is None:
        return
    reference = cohens_kappa(table)
    assert found.value == pytest.approx(reference.kappa)
    if found.low is None:  # statsmodels takes the root of a variance that is 0 but for rounding, of a negative one too
        assert np.isnan(reference.std_kappa) or reference.std_kappa == pytest.approx(0, abs=1e-6)
    else:
        assert found.low == pytest.approx(max(-1.0, reference.kappa_low), abs=1e-6)


def test_two_readers_who_always_say_the_same_have_no_kappa() -> None:
    assert kappa([1, 1, 1], [1, 1, 1]).note == "not estimable: both gave every case the same answer"
    assert kappa([], []).value is None
