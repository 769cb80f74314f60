"""How far a score can be read as a probability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit
from scipy.stats import norm

from pipeline.evaluate.statistics.estimate import CONFIDENCE, Estimate, not_estimable
from pipeline.evaluate.statistics.proportions import proportion
from pipeline.grid import Floats

_EDGE = 1e-6
"""Scores of 0 and 1 have no logit and are moved in by this."""
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
    bins: tuple[Bin, ...]
    """By tenths of the cases, fewer where there are not ten cases for each."""


def calibration(truth: npt.ArrayLike, score: npt.ArrayLike, *, n_bins: int = 10) -> Calibration | None:
    """Calibration of scores between 0 and 1; None with one class or a score outside."""
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if y.size == 0 or y.min() == y.max() or p.min() < 0 or p.max() > 1:
        return None
    x = logit(np.clip(p, _EDGE, 1 - _EDGE))
    slope = _regress(np.stack([np.ones_like(x), x], axis=1), y, np.zeros_like(x))
    large = _regress(np.ones((x.size, 1)), y, x)
    return Calibration(
        brier=float(((p - y) ** 2).mean()),
        slope=not_estimable("the scores separate the classes or are all equal", denominator=y.size)
        if slope is None
        else slope[1],
        intercept=not_estimable("the scores separate the classes", denominator=y.size) if large is None else large[0],
        bins=_bins(y, p, max(1, min(n_bins, y.size // 10))),
    )


def _regress(design: Floats, y: Floats, offset: Floats) -> list[Estimate] | None:
    """Logistic regression by Newton's method with Wald intervals; None where it has no finite solution."""
    beta = np.zeros(design.shape[1])
    for _ in range(_ROUNDS):
        mean = expit(design @ beta + offset)
        information = design.T @ (design * (mean * (1 - mean))[:, None])
        if np.linalg.cond(information) > 1e12:
            return None
        step = np.linalg.solve(information, design.T @ (y - mean))
        beta = beta + step
        if np.abs(beta).max() > 1e4:
            return None
        if np.abs(step).max() < 1e-10:
            break
    else:
        return None
    half = float(norm.ppf((1 + CONFIDENCE) / 2)) * np.sqrt(np.diag(np.linalg.inv(information)))
    return [
        Estimate(float(b), float(b - h), float(b + h), "wald", denominator=y.size)
        for b, h in zip(beta, half, strict=True)
    ]


def _bins(y: Floats, p: Floats, n_bins: int) -> tuple[Bin, ...]:
    edges = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)))
    which = np.searchsorted(edges[1:-1], p, side="right")
    return tuple(
        Bin(float(p[which == b].mean()), proportion(int(y[which == b].sum()), int((which == b).sum())))
        for b in np.unique(which)
    )
