"""Standardised differences against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluate.statistics.differences import standardised_difference, standardised_difference_of_shares


def test_of_means() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(0, 1, 20000), generator.normal(0.5, 1, 30000)
    assert standardised_difference(first, second) == pytest.approx(0.5, abs=0.02)
    assert standardised_difference([1, 1], [1, 1]) == 0.0
    assert standardised_difference([1, 1], [2, 2]) is None
    assert standardised_difference([1], [2, 3]) is None


def test_of_two_categories_is_the_usual_formula() -> None:
    first, second = ["f"] * 30 + ["m"] * 70, ["f"] * 50 + ["m"] * 50
    expected = 0.2 / np.sqrt((0.3 * 0.7 + 0.5 * 0.5) / 2)
    assert standardised_difference_of_shares(first, second) == pytest.approx(expected)


def test_of_several_categories() -> None:
    same = ["GE", "Siemens", "Philips"] * 10
    assert standardised_difference_of_shares(same, same) == pytest.approx(0)
    assert standardised_difference_of_shares(same, ["GE"] * 20 + ["Siemens"] * 5 + ["Philips"] * 5) > 0.5  # type: ignore[operator]
    assert standardised_difference_of_shares(["GE"] * 3, ["Siemens"] * 3) is None
    assert standardised_difference_of_shares([], ["GE"]) is None
