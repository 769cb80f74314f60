"""Figures of patients and vertebrae against formulas, and parts that have nothing to do with each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from statsmodels.stats.proportion import proportion_confint

from pipeline.evaluate.case_metrics import patient_figures, vertebra_figures
from pipeline.evaluate.cohort import Cohort, Findings, Scans, Vertebrae, hits_of
from pipeline.evaluate.compare import said_p
from pipeline.evaluate.figures import Figure
from pipeline.evaluate.lesion_metrics import ratio_figures
from pipeline.evaluate.matching import Pairs
from pipeline.evaluate.part import PartResult, _named, drops
from pipeline.evaluate.statistics.estimate import FEW_WITH_CASES, Estimate
from pipeline.evaluate.statistics.resampling import PatientBootstrap, ratio
from schemas.evaluation import Evaluation, MatchRule


def cohort_of(truth: np.ndarray, called: np.ndarray, score: np.ndarray) -> Cohort:
    """One scan of each patient, with one vertebra."""
    n = truth.size
    names = np.array([f"p{i:03}" for i in range(n)], dtype=object)
    none, numbers, empty = np.full(n, None), np.arange(n), np.zeros(0)
    nothing = Findings(numbers[:0], empty, empty, empty.astype(object), empty.astype(object), empty, empty.astype(bool))
    zero = np.zeros(n)
    ok = np.full(n, "ok", dtype=object)
    scans = Scans(names, numbers, none, none, ok, truth.astype(float), called.astype(float), score, zero, zero)
    index = numbers[:0]
    pairs = Pairs(index, index, empty, empty, empty, empty.astype(bool), empty)
    return Cohort(names, scans, nothing, nothing, pairs, Vertebrae(numbers, none, truth, called, score))


def made() -> Cohort:
    truth = np.repeat([True, False], [60, 80])
    called = np.r_[np.repeat([True, False], [45, 15]), np.repeat([True, False], [12, 68])]
    return cohort_of(truth, called, np.random.default_rng(0).uniform(size=140))


def named(figures: list[Figure], metric: str, interval: str | None) -> Estimate:
    (found,) = [f.estimate for f in figures if (f.metric, f.estimate.interval) == (metric, interval)]
    return found


@pytest.mark.parametrize("prevalence", [0.05, 0.4])
def test_predictive_values_at_a_prevalence_have_the_interval_of_their_variance(prevalence: float) -> None:
    """On the logit scale, as Mercaldo, Lau and Zhou (2007, Statistics in Medicine 26:2170)."""
    figures, _ = patient_figures(made(), Evaluation(prevalence=prevalence))
    sensitivity, specificity = 45 / 60, 68 / 80
    ratio_of = {
        "ppv_at_prevalence": (sensitivity * prevalence, (1 - specificity) * (1 - prevalence)),
        "npv_at_prevalence": (specificity * (1 - prevalence), (1 - sensitivity) * prevalence),
    }
    variance = {
        "ppv_at_prevalence": (1 - sensitivity) / (sensitivity * 60) + specificity / ((1 - specificity) * 80),
        "npv_at_prevalence": sensitivity / ((1 - sensitivity) * 60) + (1 - specificity) / (specificity * 80),
    }
    for name, (right, wrong) in ratio_of.items():
        found = named(figures, name, "bootstrap_patient")
        value = right / (right + wrong)
        half = 1.96 * np.sqrt(variance[name])
        assert found.value == pytest.approx(value)
        assert (found.low, found.high) == pytest.approx(expit(logit(value) + np.array([-half, half])), abs=0.035)
        assert found.note == f"at a prevalence of {prevalence:g}, by Bayes' theorem"


def test_vertebrae_have_the_interval_over_patients_beside_wilsons() -> None:
    figures, _ = vertebra_figures(made(), Evaluation(bootstraps=2000))
    by_wilson, by_patient = (named(figures, "sensitivity", name) for name in ("wilson", "bootstrap_patient"))
    assert by_wilson.value == by_patient.value == 0.75
    assert (by_wilson.low, by_wilson.high) == pytest.approx(proportion_confint(45, 60, method="wilson"))
    error = np.sqrt(0.75 * 0.25 / 60)  # a vertebra of each patient: as of independent cases
    assert (by_patient.low, by_patient.high) == pytest.approx((0.75 - 1.96 * error, 0.75 + 1.96 * error), abs=0.02)


def test_an_interval_without_width_is_none() -> None:
    truth = np.repeat([True, False], [30, 30])
    figures, _ = vertebra_figures(cohort_of(truth, truth, truth * 0.9), Evaluation(bootstraps=100))
    said = {f.estimate.note for f in figures if f.metric == "auroc"}
    assert said == {
        "no interval: the classes are separated, so DeLong has no variance",
        "no interval: every resample gives the same value",
    }
    by_wilson = named(figures, "sensitivity", "wilson")
    assert by_wilson.value == 1.0
    assert by_wilson.low == pytest.approx(30 / (30 + 1.959964**2))
    equal, _ = patient_figures(cohort_of(truth, truth, np.full(60, 0.4)), Evaluation(bootstraps=100))
    notes = {f.estimate.note for f in equal if f.metric == "auroc"}
    assert "no interval: the scores are all equal, so DeLong has no variance" in notes
    assert {f.estimate.value for f in equal if f.metric == "auroc"} == {0.5}


def test_two_parts_are_independent_even_where_their_patients_are_alike() -> None:
    """Both are drawn from one seed: pair by pair their difference would be 0 in every resample."""
    found = np.tile([1.0, 0.0], 25)
    draws = PatientBootstrap(np.zeros(50, dtype=np.int64)).run(ratio(found, np.ones(50)))[:, 0]
    figure = Figure("lesion", "sensitivity", Estimate(0.5), split="internal", draws=draws)
    parts = [
        PartResult([replace(figure, split=split)], [], made(), hits_of(made(), MatchRule()))
        for split in ("internal", "external")
    ]
    (drop,) = drops(*parts)
    half = 1.96 * np.sqrt(2 * 0.25 / 50)
    assert drop.estimate.value == 0.0
    assert (drop.estimate.low, drop.estimate.high) == pytest.approx((-half, half), abs=0.03)
    assert drop.split == "internal to external"


def test_the_brier_score_has_an_interval_and_moved_scores_are_told() -> None:
    truth = np.repeat([True, False], [30, 30])
    score = np.random.default_rng(1).uniform(size=60)
    score[:7] = 0.0
    figures, _ = patient_figures(cohort_of(truth, truth, score), Evaluation(bootstraps=500))
    (brier,) = (f.estimate for f in figures if f.metric == "brier")
    errors = (score - truth) ** 2
    assert brier.value == pytest.approx(errors.mean())
    half = 1.96 * errors.std() / np.sqrt(60)
    assert (brier.low, brier.high) == pytest.approx((errors.mean() - half, errors.mean() + half), abs=0.03)
    assert brier.denominator == 60
    (slope,) = (f.estimate for f in figures if f.metric == "calibration_slope")
    assert slope.note == "7 scores of 0 or 1 were taken for 1e-06 and 0.999999"


def test_a_handful_with_disease_among_many_patients_gives_no_interval() -> None:
    truth = np.repeat([True, False], [4, 60])
    score = np.random.default_rng(1).uniform(size=64) + truth / 2
    figures, _ = patient_figures(cohort_of(truth, score > 0.9, score), Evaluation(bootstraps=100, prevalence=0.1))
    found = {f.metric: f.estimate for f in figures if f.estimate.interval != "wilson"}
    assert {found[name].low for name in ("auroc", "ppv_at_prevalence", "npv_at_prevalence")} == {None}
    assert FEW_WITH_CASES in (found["ppv_at_prevalence"].note or "")
    one_class, _ = patient_figures(cohort_of(truth | True, truth, score), Evaluation(bootstraps=100, prevalence=0.1))
    notes = {f.metric: f.estimate.note for f in one_class}
    assert notes["ppv_at_prevalence"] == notes["npv_at_prevalence"] == "not estimable: one class only"


def test_a_rare_stratum_has_no_interval_by_resamples_of_two_patients() -> None:
    cohort = cohort_of(np.repeat([True, False], [20, 20]), np.ones(40, dtype=bool), np.full(40, 0.5))
    lesions = np.zeros(40)
    lesions[:2] = 10
    (rare,) = ratio_figures(cohort, {"rare": (lesions / 2, lesions)}, Evaluation(bootstraps=100), rule=None)
    assert (rare.estimate.value, rare.estimate.low, rare.estimate.note) == (0.5, None, FEW_WITH_CASES)


def test_unnumbered_vertebrae_of_different_scans_are_no_level() -> None:
    assert [_named(level) for level in ("L1", "V2", "V13", "SACRUM", "none", None)] == [
        *("L1", "not named", "not named", "SACRUM", "none", None)
    ]


def test_a_p_is_never_nothing() -> None:
    assert [said_p(p) for p in (0.03124, 0.0001, 0.00009999, 0.0)] == ["p = 0.0312", "p = 0.0001", *["p < 0.0001"] * 2]
