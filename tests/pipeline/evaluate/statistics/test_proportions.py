"""Proportions against the worked examples of Newcombe (1998), Statistics in Medicine 17:857, table I."""

from __future__ import annotations

import pytest

from pipeline.evaluate.statistics.proportions import predictive_values, proportion


@pytest.mark.parametrize(
    ("k", "n", "wilson", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0000, 0.1611), (0.0000, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_intervals_as_published(k: int, n: int, wilson: tuple[float, float], exact: tuple[float, float]) -> None:
    by_wilson, by_clopper = proportion(k, n), proportion(k, n, method="exact")
    assert by_wilson.value == k / n
    assert (by_wilson.low, by_wilson.high) == pytest.approx(wilson, abs=5e-5)
    assert (by_clopper.low, by_clopper.high) == pytest.approx(exact, abs=5e-5)


def test_no_case_is_no_proportion() -> None:
    nothing = proportion(0, 0)
    assert nothing.value is None
    assert nothing.note is not None
    assert "not estimable" in nothing.note


def test_predictive_values_follow_the_prevalence() -> None:
    # Altman and Bland (1994), BMJ 309:102: sensitivity 0.90, specificity 0.63, prevalence 0.75 and 0.25
    assert predictive_values(231 / 258, 54 / 86, 258 / 344) == pytest.approx((0.88, 0.67), abs=0.005)
    assert predictive_values(231 / 258, 54 / 86, 0.25) == pytest.approx((0.45, 0.95), abs=0.006)
    assert predictive_values(0.0, 1.0, 0.5) == (None, 0.5)
