"""A figure with its interval, or the reason why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pipeline.grid import Floats

CONFIDENCE = 0.95
"""Level of every interval here."""


FEW_PATIENTS = "no interval: fewer than 10 patients"
"""Of a figure of so few patients that none was drawn (`resampling.LEAST_PATIENTS`)."""

FEW_WITH_CASES = "no interval: fewer than 5 patients have such a case"
"""Of a figure that rests on so few of many patients (`resampling.LEAST_WITH_CASES`)."""

FEW_RESAMPLES = "no interval: most resamples have no value"
"""Of a figure that most resamples leave without a case."""

NO_WIDTH = "no interval: every resample gives the same value"
"""Of a figure such as 30 of 30: an interval of no width would claim a certainty that nobody has."""

Counts = tuple[float | None, float | None]


@dataclass(frozen=True)
class Estimate:
    """One figure."""

    value: float | None
    """The point estimate; None where it cannot be estimated."""
    low: float | None = None
    """Lower end of the interval."""
    high: float | None = None
    """Upper end of the interval."""
    interval: str | None = None
    """How the interval was made."""
    numerator: float | None = None
    """Of a proportion or a rate."""
    denominator: float | None = None
    """Of a proportion or a rate; else how many it is an estimate over."""
    note: str | None = None
    """Why there is no value or no interval."""


def not_estimable(why: str, *, denominator: float | None = None) -> Estimate:
    """No figure, with the reason."""
    return Estimate(None, denominator=denominator, note=f"not estimable: {why}")


def percentile_interval(resampled: Floats) -> tuple[float, float] | None:
    """The middle 95 % of resampled values; None where fewer than half of the resamples gave one."""
    known = resampled[np.isfinite(resampled)]
    if known.size < max(2, resampled.size / 2):
        return None
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def with_interval(
    value: float | None, resampled: Floats, *, name: str, counts: Counts = (None, None), few: str = FEW_PATIENTS
) -> Estimate:
    """A value with the percentile interval of its resamples; `counts` are its numerator and denominator.

    `few` is why there is no interval where no resample was made.

    There is no interval where it would have no width: resamples of thirty hits are thirty hits, which is no certainty.
    """
    if value is None or not math.isfinite(value):
        return Estimate(None, note="not estimable: nothing to divide by", numerator=counts[0], denominator=counts[1])
    interval = percentile_interval(resampled)
    if interval is None:
        note = FEW_RESAMPLES if np.isfinite(resampled).any() else few
        return Estimate(value, note=note, numerator=counts[0], denominator=counts[1])
    if interval[1] - interval[0] <= 1e-12 * max(1.0, abs(value)):
        return Estimate(value, note=NO_WIDTH, numerator=counts[0], denominator=counts[1])
    return Estimate(value, *interval, interval=name, numerator=counts[0], denominator=counts[1])
