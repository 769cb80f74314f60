"""How far two groups differ in a column, in standard deviations, so that group size does not matter (Austin 2009)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt


def standardised_difference(first: npt.ArrayLike, second: npt.ArrayLike) -> float | None:
    """Difference of means (second less first) over the pooled standard deviation; None where it has none.

    Austin PC (2009), Statistics in Medicine 28:3083; 0.1 is commonly taken as notable.
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if min(a.size, b.size) < 2:
        return None
    pooled = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    if pooled == 0:
        return 0.0 if a.mean() == b.mean() else None
    return float((b.mean() - a.mean()) / pooled)


def standardised_difference_of_shares(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """The same for categories: the Mahalanobis distance of their shares (Yang and Dalton 2012).

    For two categories it is |p2 - p1| over sqrt((p1 (1 - p1) + p2 (1 - p2)) / 2). None without cases, and where the two
    have no category in common: then they differ in a direction in which neither varies, by any number of deviations.
    """
    if not first or not second or not set(first) & set(second):
        return None
    counts = [Counter(first), Counter(second)]
    categories = sorted(set(counts[0]) | set(counts[1]), key=str)
    if len(categories) == 1:
        return 0.0
    shares = [
        np.array([c[name] / total for name in categories[1:]])
        for c, total in zip(counts, (len(first), len(second)), strict=True)
    ]
    covariances = [np.diag(p) - np.outer(p, p) for p in shares]
    pooled = (covariances[0] + covariances[1]) / 2
    apart = shares[1] - shares[0]
    return math.sqrt(max(0.0, float(apart @ np.linalg.pinv(pooled) @ apart)))
