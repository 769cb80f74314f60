"""Figures of patients and vertebrae against formulas, and parts that have nothing to do with each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit
from statsmodels.stats.proportion import proportion_confint

from pipeline.evaluate.case_metrics import patient_figures, vertebra_figures
from pipeline.evaluate.cohort import Cohort, Findings, Scans, Vertebrae, hits_of
from pipeline.evaluate.figures import Figure
from pipeline.evaluate.matching import Pairs
from pipeline.evaluate.part import PartResult, drops
from pipeline.evaluate.statistics.estimate import Estimate
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
