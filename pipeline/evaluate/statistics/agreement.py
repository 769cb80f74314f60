"""Agreement of two measurements or two readers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import f as f_distribution
from scipy.stats import norm, t

from pipeline.evaluate.statistics.estimate import CONFIDENCE, Estimate, not_estimable

_ROUNDING = 1e-7
"""A standard error below it is the rounding of none: the root of what is left of a difference."""


@dataclass(frozen=True)
class BlandAltman:
    """Differences of two measurements of the same things (Bland and Altman 1986, Lancet 327:307)."""

    bias: Estimate
    """Mean of second less first."""
    lower_limit: Estimate
    """Below it lie 2.5 % of differences."""
    upper_limit: Estimate
    """Above it lie 2.5 % of differences."""
    sd: float
    """Standard deviation of the differences."""


def bland_altman(first: npt.ArrayLike, second: npt.ArrayLike) -> BlandAltman | None:
    """Bias and limits of agreement; None with fewer than three pairs.

    The intervals of the limits use the approximate variance 3 s^2 / n (Bland and Altman 1986). Where all differences
    are the same, none has a width, and so none is given.
    """
    differences = np.asarray(second, dtype=np.float64) - np.asarray(first, dtype=np.float64)
    n = differences.size
    if n < 3:
        return None
    bias, sd = float(differences.mean()), float(differences.std(ddof=1))
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, n - 1))
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * sd

    def around(value: float, error: float) -> Estimate:
        if sd <= 1e-12 * max(1.0, abs(bias)):
            return Estimate(value, denominator=n, note="no interval: all differences are the same")
        return Estimate(value, value - quantile * error, value + quantile * error, "t", denominator=n)

    limit_error = sd * np.sqrt(3 / n)
    return BlandAltman(
        bias=around(bias, sd / np.sqrt(n)),
        lower_limit=around(bias - reach, limit_error),
        upper_limit=around(bias + reach, limit_error),
        sd=sd,
    )


def icc(*measurements: npt.ArrayLike) -> Estimate:
    """ICC(A,1) of two or more readers: absolute agreement of single measurements, two-way random effects.

    McGraw and Wong (1996, Psychological Methods 1:30), cases 2; ICC(2,1) of Shrout and Fleiss (1979).
    """
    ratings = np.stack([np.asarray(each, dtype=np.float64) for each in measurements], axis=1)
    n, k = ratings.shape
    if n < 3:
        return not_estimable(f"{n} cases", denominator=n)
    total = ratings.mean()
    rows, columns = ratings.mean(axis=1), ratings.mean(axis=0)
    msr = k * ((rows - total) ** 2).sum() / (n - 1)
    msc = n * ((columns - total) ** 2).sum() / (k - 1)
    residual = ratings - rows[:, None] - columns[None, :] + total
    mse = (residual**2).sum() / ((n - 1) * (k - 1))
    below = msr + (k - 1) * mse + k * (msc - mse) / n
    if below <= 0:
        return not_estimable("all measurements are equal", denominator=n)
    value = float((msr - mse) / below)
    if mse <= 1e-12 * below:
        return Estimate(value, denominator=n, note="no interval: the measurements differ by a constant, or not at all")
    low, high = _icc_interval(value, float(msr), float(msc), float(mse), n, k)
    return Estimate(value, low, high, "mcgraw_wong", denominator=n)


def _icc_interval(value: float, msr: float, msc: float, mse: float, n: int, k: int) -> tuple[float, float]:
    a = k * value / (n * (1 - value))
    b = 1 + k * value * (n - 1) / (n * (1 - value))
    v = (a * msc + b * mse) ** 2 / ((a * msc) ** 2 / (k - 1) + (b * mse) ** 2 / ((n - 1) * (k - 1)))
    lower = float(f_distribution.ppf((1 + CONFIDENCE) / 2, n - 1, v))
    upper = float(f_distribution.ppf((1 + CONFIDENCE) / 2, v, n - 1))
    between = k * msc + (k * n - k - n) * mse
    return (
        n * (msr - lower * mse) / (lower * between + n * msr),
        n * (upper * msr - mse) / (between + n * upper * msr),
    )


def kappa(first: npt.ArrayLike, second: npt.ArrayLike) -> Estimate:
    """Cohen's kappa with the interval of its large-sample variance (Fleiss, Cohen and Everitt 1969)."""
    one, two = np.asarray(first), np.asarray(second)
    n = one.size
    if n == 0:
        return not_estimable("there is no case", denominator=0)
    categories = np.unique(np.concatenate([one, two]))
    p = np.array([[np.count_nonzero((one == a) & (two == b)) for b in categories] for a in categories]) / n
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    by_chance, agreed = float(rows @ columns), float(np.trace(p))
    if by_chance >= 1:
        return not_estimable("both gave every case the same answer", denominator=n)
    value = (agreed - by_chance) / (1 - by_chance)
    a = float((np.diag(p) * (1 - (rows + columns) * (1 - value)) ** 2).sum())
    off = p * (columns[:, None] + rows[None, :]) ** 2
    b = (1 - value) ** 2 * float(off.sum() - np.trace(off))
    c = (value - by_chance * (1 - value)) ** 2
    error = float(np.sqrt(max(0.0, a + b - c) / n)) / (1 - by_chance)
    if error < _ROUNDING:
        return Estimate(value, denominator=n, note="no interval: answers all alike, or none, leave no variance")
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    return Estimate(value, max(-1.0, value - half), min(1.0, value + half), "fleiss", denominator=n)
