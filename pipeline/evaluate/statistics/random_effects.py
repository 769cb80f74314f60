"""Pooling of sites by random effects.

Between-site variance by Paule and Mandel (1982), interval by Hartung and Knapp (2001) as changed by Rover and others
(2015, BMC Medical Research Methodology 15:99: never surer than a fixed effect), prediction interval by Higgins and
others (2009, JRSS A 172:137), I2 by Higgins and Thompson (2002). tau2 and I2 are never negative.

The factor of Hartung and Knapp is the weighted sum of squares over its degrees of freedom. Paule and Mandel choose the
tau2 that makes it 1; where they would need a negative one it is below 1 and held at 1. So it is 1 throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import t

from pipeline.evaluate.statistics.estimate import CONFIDENCE
from pipeline.grid import Floats

MIN_SITES = 3
"""Fewer are listed, not pooled."""
MIN_SITES_PREDICTION = 5
"""Fewer, and a prediction interval says nothing."""


@dataclass(frozen=True)
class Pooled:
    """Sites put together, on the scale of the effects."""

    effect: float
    """Pooled effect."""
    low: float
    """Interval of Hartung and Knapp."""
    high: float
    prediction_low: float | None
    """Where the effect of a new site would lie; None with few sites."""
    prediction_high: float | None
    tau2: float
    """Variance between sites."""
    i2: float
    """Share of the variation that is between sites, 0 to 1."""
    q: float
    """Cochran's Q."""
    weights: Floats
    """(sites,) share of each, summing to 1."""


def random_effects(effects: npt.ArrayLike, variances: npt.ArrayLike) -> Pooled:
    """Pool sites.

    Args:
        effects: (sites,) on a scale where they are near normal: logits of areas or of proportions.
        variances: (sites,) of each effect, above 0.

    Raises:
        ValueError: fewer than three sites, or a variance that is not above 0.
    """
    y, v = np.asarray(effects, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if y.size < MIN_SITES or not np.all(v > 0):
        raise ValueError(f"{y.size} sites with variances from {v.min(initial=np.inf):g}: 3 sites and variances above 0")
    tau2 = paule_mandel(y, v)
    w = 1 / (v + tau2)
    mean = float((w * y).sum() / w.sum())
    degrees = y.size - 1
    error = float(1 / np.sqrt(w.sum()))
    half = float(t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    reach = None
    if y.size >= MIN_SITES_PREDICTION:
        reach = float(t.ppf((1 + CONFIDENCE) / 2, y.size - 2)) * float(np.sqrt(tau2 + error**2))
    fixed = 1 / v
    q = float((fixed * (y - (fixed * y).sum() / fixed.sum()) ** 2).sum())
    return Pooled(
        effect=mean,
        low=mean - half,
        high=mean + half,
        prediction_low=None if reach is None else mean - reach,
        prediction_high=None if reach is None else mean + reach,
        tau2=tau2,
        i2=max(0.0, (q - degrees) / q) if q > 0 else 0.0,
        q=q,
        weights=w / w.sum(),
    )


def paule_mandel(effects: Floats, variances: Floats) -> float:
    """The tau2 at which the weighted sum of squares is what it should be, sites less 1; 0 where it is less already."""

    def excess(tau2: float) -> float:
        w = 1 / (variances + tau2)
        mean = (w * effects).sum() / w.sum()
        return float((w * (effects - mean) ** 2).sum() - (effects.size - 1))

    if excess(0.0) <= 0:
        return 0.0
    high = float(np.var(effects)) + float(variances.max()) + 1e-9
    while excess(high) > 0:
        high *= 2
    return float(brentq(excess, 0.0, high, xtol=1e-12, rtol=1e-12))


def leave_one_out(effects: npt.ArrayLike, variances: npt.ArrayLike) -> list[Pooled | None]:
    """The pooled effect without each site in turn; None where fewer than three are left."""
    y, v = np.asarray(effects, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    if y.size - 1 < MIN_SITES:
        return [None] * y.size
    return [random_effects(np.delete(y, i), np.delete(v, i)) for i in range(y.size)]


def logit_of_proportion(k: float, n: float) -> tuple[float, float]:
    """Logit of k of n and its variance; half a case is added to each side where one is empty."""
    a, b = (k, n - k) if 0 < k < n else (k + 0.5, n - k + 0.5)
    return float(np.log(a / b)), 1 / a + 1 / b
