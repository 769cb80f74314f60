"""Proportions of independent cases."""

from __future__ import annotations

from typing import Literal

from scipy.stats import binomtest

from pipeline.evaluate.statistics.estimate import CONFIDENCE, Estimate, not_estimable


def proportion(k: int, n: int, *, method: Literal["wilson", "exact"] = "wilson") -> Estimate:
    """K of n with the interval of Wilson (1927) or of Clopper and Pearson (1934), both from scipy."""
    if n == 0:
        return not_estimable("there is no such case", denominator=0)
    low, high = binomtest(k, n).proportion_ci(CONFIDENCE, method=method)
    return Estimate(k / n, float(low), float(high), method, k, n)


def predictive_values(sensitivity: float, specificity: float, prevalence: float) -> tuple[float | None, float | None]:
    """PPV and NPV at a prevalence, by Bayes' theorem; None where no result of that kind can occur."""
    true_positive, false_positive = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    true_negative, false_negative = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    positive, negative = true_positive + false_positive, true_negative + false_negative
    return (true_positive / positive if positive else None, true_negative / negative if negative else None)
