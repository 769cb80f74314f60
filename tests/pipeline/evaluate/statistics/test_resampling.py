"""The bootstrap over patients."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluate.statistics.estimate import percentile_interval, with_interval
from pipeline.evaluate.statistics.resampling import LEAST_PATIENTS, PatientBootstrap, enough_cases, ratio


def test_each_stratum_keeps_its_size_and_the_blocks_do_not_matter() -> None:
    strata = np.array([0, 0, 0, 1, 1])
    bootstrap = PatientBootstrap(strata, n=50)
    whole = np.concatenate(list(bootstrap.weights()))
    assert whole.shape == (50, 5)
    assert (whole[:, :3].sum(axis=1) == 3).all()
    assert (whole[:, 3:].sum(axis=1) == 2).all()
    again = np.concatenate(list(bootstrap.weights()))
    np.testing.assert_array_equal(whole, again)
    other = np.concatenate(list(PatientBootstrap(strata, n=50, seed=1).weights()))
    assert not np.array_equal(whole, other)


def test_lesions_of_one_patient_widen_the_interval_as_theory_says() -> None:
    """With all lesions of a patient alike, ten lesions of each of 40 patients tell as much as 40 lesions."""
    found = np.repeat([1.0, 0.0], 20)
    drawn = PatientBootstrap(np.zeros(40, dtype=np.int64)).run(ratio(found * 10, np.full(40, 10.0)))[:, 0]
    interval = percentile_interval(drawn)
    assert interval is not None
    error = np.sqrt(0.5 * 0.5 / 40)  # of the mean of 40 patients; of 400 lesions it would be 0.025
    assert drawn.std() == pytest.approx(error, rel=0.1)
    assert interval == pytest.approx((0.5 - 1.96 * error, 0.5 + 1.96 * error), abs=0.02)


def test_resamples_without_a_value_leave_no_interval() -> None:
    only_one = np.eye(12)[0]
    mostly_empty = ratio(only_one, only_one)
    drawn = PatientBootstrap(np.zeros(12, dtype=np.int64), n=400).run(mostly_empty)[:, 0]
    assert 0.2 < np.isnan(drawn).mean() < 0.5
    estimate = with_interval(1.0, np.where(np.arange(400) % 3 == 0, drawn, np.nan), name="bootstrap_patient")
    assert estimate.value == 1.0
    assert estimate.low is None
    assert "no interval" in (estimate.note or "")


def test_a_handful_of_patients_has_no_interval_however_many_lesions() -> None:
    found, lesions = np.full(LEAST_PATIENTS, 50.0), np.full(LEAST_PATIENTS, 100.0)
    few = PatientBootstrap(np.zeros(LEAST_PATIENTS - 1, dtype=np.int64), n=200).run(ratio(found[1:], lesions[1:]))
    assert few.shape == (200, 1)
    assert np.isnan(few).all()
    enough = PatientBootstrap(np.zeros(LEAST_PATIENTS, dtype=np.int64), n=200).run(ratio(found, lesions))
    assert (enough == 0.5).all()


@pytest.mark.parametrize(("with_cases", "at_least", "at_most"), [(2, 0.55, 0.78), (3, 0.78, 0.92), (5, 0.86, 0.96)])
def test_how_often_an_interval_from_few_patients_with_cases_holds_the_truth(
    with_cases: int, at_least: float, at_most: float
) -> None:
    """Ten lesions in each of a few of 60 patients, whose shares found vary evenly around a half."""
    held = 0
    for seed in range(300):
        generator = np.random.default_rng(seed)
        lesions, found = np.zeros(60), np.zeros(60)
        lesions[:with_cases] = 10
        found[:with_cases] = generator.binomial(10, generator.beta(2, 2, with_cases))
        draws = PatientBootstrap((np.arange(60) < 40).astype(np.int64), n=200).run(ratio(found, lesions))
        interval = percentile_interval(draws[:, 0])
        held += interval is not None and interval[0] <= 0.5 <= interval[1]
    assert at_least <= held / 300 <= at_most


def test_enough_patients_have_a_case() -> None:
    of_patients = np.zeros((20, 2))
    of_patients[:4, 0] = 7
    of_patients[:5, 1] = 1
    assert enough_cases(of_patients).tolist() == [False, True]
