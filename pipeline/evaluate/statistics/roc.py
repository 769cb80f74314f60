"""Area under the ROC curve, its variance by DeLong, and the comparison of two readers of the same cases.

DeLong ER, DeLong DM, Clarke-Pearson DL (1988), Biometrics 44:837; computed by ranks as Sun and Xu (2014), IEEE Signal
Processing Letters 21:1389. The interval is made on the logit scale, so that it stays between 0 and 1 (Pepe 2003).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import norm, rankdata

from pipeline.evaluate.statistics.estimate import CONFIDENCE, Estimate, not_estimable
from pipeline.grid import Floats

NO_VARIANCE = "no interval: the two order all cases alike, or each without an error"
"""Of two areas whose difference does not vary over the cases, so that DeLong's test has nothing to measure by."""

MIN_PER_CLASS = 10
"""Fewer positive or negative cases, and a variance from their ranks means little."""

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Placements:
    """How cases of one class rank among the other: DeLong's structural components."""

    positive: Floats
    """(readers, m) share of negatives below each positive, ties half."""
    negative: Floats
    """(readers, n) share of positives above each negative, ties half."""

    @property
    def auc(self) -> Floats:
        """(readers,) areas."""
        return self.positive.mean(axis=1)

    @property
    def covariance(self) -> Floats:
        """(readers, readers) covariance of the areas."""
        m, n = self.positive.shape[1], self.negative.shape[1]
        return np.atleast_2d(np.cov(self.positive)) / m + np.atleast_2d(np.cov(self.negative)) / n


def placements(truth: npt.ArrayLike, *scores: npt.ArrayLike) -> Placements:
    """The placements of one or more readers' scores over the same cases, each at least twice in each class."""
    positive = np.asarray(truth, dtype=bool)
    m, n = int(positive.sum()), int((~positive).sum())
    above, below = [], []
    for score in scores:
        values = np.asarray(score, dtype=np.float64)
        ranks = rankdata(values)
        above.append((ranks[positive] - rankdata(values[positive])) / n)
        below.append(1 - (ranks[~positive] - rankdata(values[~positive])) / m)
    return Placements(np.array(above), np.array(below))


def auroc(truth: npt.ArrayLike, score: npt.ArrayLike) -> Estimate:
    """Area under the ROC curve with DeLong's interval on the logit scale.

    Returns:
        `not estimable` with one class; the area alone, with a note, with few cases of a class or an area of 0 or 1,
        where the variance is 0 and an interval of no width would be a lie.
    """
    positive = np.asarray(truth, dtype=bool)
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return not_estimable(f"{m} positive and {n} negative cases", denominator=m + n)
    if min(m, n) < MIN_PER_CLASS:
        area = float(placements(positive, score).auc[0])
        return Estimate(area, denominator=m + n, note=f"no interval: {m} positive and {n} negative cases")
    found = placements(positive, score)
    area, variance = float(found.auc[0]), float(found.covariance[0, 0])
    if area in (0.0, 1.0) or variance <= 0:
        why = "the classes are separated" if area in (0.0, 1.0) else "the scores are all equal"
        return Estimate(area, denominator=m + n, note=f"no interval: {why}, so DeLong has no variance")
    low, high = logit_interval(area, variance)
    return Estimate(area, low, high, "delong_logit", denominator=m + n)


def logit_interval(area: float, variance: float) -> tuple[float, float]:
    """The interval of an area strictly between 0 and 1, made on the logit scale by the delta method."""
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * float(np.sqrt(variance)) / (area * (1 - area))
    return float(expit(logit(area) - half)), float(expit(logit(area) + half))


def hanley_mcneil_variance(area: float, m: int, n: int) -> float:
    """Variance where only the area and the numbers of positives and negatives are known (1982, Radiology 143:29)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    return (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (m * n)


@dataclass(frozen=True)
class AreaDifference:
    """Two areas over the same cases."""

    first: float
    second: float
    difference: Estimate
    """second - first, with its interval."""
    z: float | None
    """DeLong's statistic; None where the two order all cases alike, and with few cases of a class."""
    p: float | None
    """Two-sided."""


def compare_areas(truth: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike) -> AreaDifference | None:
    """DeLong's paired test of two areas; None with one class only, no interval and no test with few cases of one."""
    positive = np.asarray(truth, dtype=bool)
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return None
    found = placements(positive, first, second)
    one, two = (float(area) for area in found.auc)
    if min(m, n) < MIN_PER_CLASS:
        few = Estimate(two - one, denominator=m + n, note=f"no interval: {m} positive and {n} negative cases")
        return AreaDifference(one, two, few, None, None)
    covariance = found.covariance
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= 1e-15:
        return AreaDifference(one, two, Estimate(two - one, note=NO_VARIANCE), None, None)
    error = float(np.sqrt(variance))
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    z = (two - one) / error
    difference = Estimate(two - one, two - one - half, two - one + half, "delong", denominator=positive.size)
    return AreaDifference(one, two, difference, z, float(2 * norm.sf(abs(z))))


def weighted_auc(truth: Bools, score: Floats, weights: Floats) -> Floats:
    """Areas of many weightings of the same cases at once, as a bootstrap needs them.

    Args:
        truth: (n,).
        score: (n,).
        weights: (b, n), how often each case was drawn.

    Returns:
        (b,); NaN where a class was not drawn.
    """
    order = np.argsort(score, kind="stable")
    positive, values = truth[order], score[order]
    last = np.append(np.flatnonzero(np.diff(values)), values.size - 1)
    drawn = weights[:, order]
    positives = np.cumsum(drawn * positive, axis=1)[:, last]
    negatives = np.cumsum(drawn * ~positive, axis=1)[:, last]
    of_group = np.diff(positives, axis=1, prepend=0)
    below = np.concatenate([np.zeros((weights.shape[0], 1)), negatives[:, :-1]], axis=1)
    wins = (of_group * (below + negatives) / 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return wins / (positives[:, -1] * negatives[:, -1])


def roc_curve(truth: Bools, score: Floats) -> tuple[Floats, Floats, Floats]:
    """False positive rate, true positive rate and threshold, from (0, 0) at infinity; one point per distinct score."""
    order = np.argsort(-score, kind="stable")
    values = score[order]
    last = np.append(np.flatnonzero(np.diff(values)), values.size - 1)
    positives, negatives = np.cumsum(truth[order])[last], np.cumsum(~truth[order])[last]
    return (
        np.concatenate([[0.0], negatives / negatives[-1]]),
        np.concatenate([[0.0], positives / positives[-1]]),
        np.concatenate([[np.inf], values[last]]),
    )
