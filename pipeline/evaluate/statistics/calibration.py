"""How far a score can be read as a probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import expit, log_expit, logit
from scipy.stats import norm

from pipeline.evaluate.statistics.estimate import CONFIDENCE, Estimate, not_estimable
from pipeline.evaluate.statistics.proportions import proportion
from pipeline.grid import Floats

EDGE = 1e-6
"""Scores of 0 and 1 have no logit and are moved in by this: slope and intercept depend on it."""
_ROUNDS = 100


@dataclass(frozen=True)
class Bin:
    """Cases with like scores."""

    mean_score: float
    observed: Estimate
    """Share of positives, with Wilson's interval."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of a score (Van Calster 2019, BMC Medicine 17:230)."""

    brier: float
    """Mean squared error of the score; 0 is best, the square of the prevalence's error is no skill."""
    slope: Estimate
    """Of the logistic regression of the outcome on the score's logit; 1 is best."""
    intercept: Estimate
    """Calibration in the large: of the regression with the slope held at 1; 0 is best."""
    n_moved: int
    """Scores of 0 or 1, such as of a patient without a candidate, which were moved in before their logit was taken."""
    bins: tuple[Bin, ...]
    """By tenths of the cases, fewer where there are not ten cases for each."""


def calibration(truth: npt.ArrayLike, score: npt.ArrayLike, *, n_bins: int = 10) -> Calibration | None:
    """Calibration of scores between 0 and 1; None with one class or a score outside."""
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if y.size == 0 or y.min() == y.max() or p.min() < 0 or p.max() > 1:
        return None
    x = logit(np.clip(p, EDGE, 1 - EDGE))
    return Calibration(
        brier=float(((p - y) ** 2).mean()),
        slope=_slope(x, y),
        intercept=_in_the_large(x, y),
        n_moved=int(((p < EDGE) | (p > 1 - EDGE)).sum()),
        bins=_bins(y, p, max(1, min(n_bins, y.size // 10))),
    )


def _slope(x: Floats, y: Floats) -> Estimate:
    """Of the logistic regression of the outcome on the score's logit, by Newton's method with halved steps."""
    if x.min() == x.max():
        return not_estimable("the scores are all equal", denominator=y.size)
    if x[y == 1].min() >= x[y == 0].max() or x[y == 1].max() <= x[y == 0].min():
        return not_estimable("the scores separate the classes", denominator=y.size)
    middle, spread = float(x.mean()), float(x.std())
    design = np.stack([np.ones_like(x), (x - middle) / spread], axis=1)
    beta = np.zeros(2)
    for _ in range(_ROUNDS):
        information, gradient = _information(design, y, beta)
        step = np.linalg.solve(information, gradient)
        while _likelihood(design, y, beta + step) < _likelihood(design, y, beta) and np.abs(step).max() > 1e-12:
            step /= 2
        beta = beta + step
        if np.abs(step).max() < 1e-10:
            break
    error = float(np.sqrt(np.linalg.inv(_information(design, y, beta)[0])[1, 1]))
    return _wald(float(beta[1]) / spread, error / spread, y.size)


def _in_the_large(x: Floats, y: Floats) -> Estimate:
    """The intercept at which as many are expected as there are, the slope held at 1; two classes always have one."""

    def excess(intercept: float) -> float:
        return float(expit(x + intercept).sum() - y.sum())

    reach = float(np.abs(x).max()) + float(np.log(y.size)) + 1  # there each case counts as one of a class
    found = float(brentq(excess, -reach, reach, xtol=1e-12))
    mean = expit(x + found)
    return _wald(found, float(1 / np.sqrt((mean * (1 - mean)).sum())), y.size)


def _information(design: Floats, y: Floats, beta: Floats) -> tuple[Floats, Floats]:
    mean = expit(design @ beta)
    return design.T @ (design * (mean * (1 - mean))[:, None]), design.T @ (y - mean)


def _likelihood(design: Floats, y: Floats, beta: Floats) -> float:
    """Its logarithm."""
    return float(log_expit(np.where(y == 1, 1.0, -1.0) * (design @ beta)).sum())


def _wald(value: float, error: float, n: int) -> Estimate:
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * error
    return Estimate(value, value - half, value + half, "wald", denominator=n)


def _bins(y: Floats, p: Floats, n_bins: int) -> tuple[Bin, ...]:
    inner = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1]))  # equal scores stay together
    which = np.searchsorted(inner, p, side="right")
    return tuple(
        Bin(float(p[which == b].mean()), proportion(int(y[which == b].sum()), int((which == b).sum())))
        for b in np.unique(which)
    )
