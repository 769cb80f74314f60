"""Standardised differences against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    # sites of an external part: none in common, though the second group varies among its own
    assert standardised_difference_of_shares(["north"] * 4, ["south", "south", "east"]) is None
    assert standardised_difference_of_shares([], ["GE"]) is None


@given(
    st.lists(st.sampled_from("abcd"), min_size=4, max_size=40),
    st.lists(st.sampled_from("abcd"), min_size=4, max_size=40),
)
def test_by_the_formula_whichever_category_is_left_out(first: list[str], second: list[str]) -> None:
    """Yang and Dalton (2012) leave out one category; the distance must not depend on which."""
    categories = sorted(set(first) | set(second))
    found = standardised_difference_of_shares(first, second)
    if not set(first) & set(second):
        assert found is None
        return
    expected = []
    for left_out in categories if len(categories) > 1 else []:
        kept = [c for c in categories if c != left_out]
        shares = [np.array([group.count(c) / len(group) for c in kept]) for group in (first, second)]
        pooled = sum(np.diag(p) - np.outer(p, p) for p in shares) / 2
        if np.linalg.matrix_rank(pooled) == len(kept):
            apart = shares[1] - shares[0]
            expected.append(np.sqrt(apart @ np.linalg.solve(pooled, apart)))
    assert found == pytest.approx(expected[0] if expected else 0.0, abs=1e-6)
    assert np.ptp(expected or [0]) < 1e-6
