"""The bootstrap over patients: lesions of one patient are alike, so patients are drawn, not lesions.

Drawn within strata (patients with and without disease), so that no resample has one class only; seeded, so that the
same table gives the same interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.grid import Floats

Statistic = Callable[[Floats], Floats]
"""From how often each patient was drawn (b, patients) to the figures of each resample (b, figures)."""

_CELLS_AT_ONCE = 2**22
"""Weights in memory at once; 32 MiB."""


@dataclass(frozen=True)
class PatientBootstrap:
    """How patients are drawn."""

    strata: npt.NDArray[np.int64]
    """(patients,) stratum of each, 0 and up."""
    n: int = 2000
    """Resamples."""
    seed: int = 20240615
    """Of the generator."""

    def weights(self, *, at_once: int | None = None) -> Iterator[Floats]:
        """How often each patient was drawn, (b, patients), in blocks that fit in memory."""
        generator = np.random.default_rng(self.seed)
        block = max(1, min(self.n, at_once or _CELLS_AT_ONCE // max(1, self.strata.size)))
        groups = [np.flatnonzero(self.strata == stratum) for stratum in np.unique(self.strata)]
        for start in range(0, self.n, block):
            size = min(block, self.n - start)
            drawn = np.zeros((size, self.strata.size), dtype=np.float64)
            for group in groups:
                drawn[:, group] = _draw(generator, group.size, size)
            yield drawn

    def run(self, statistic: Statistic, *, cases_per_patient: float = 1.0) -> Floats:
        """(n, figures) figures of every resample.

        Args:
            statistic: what to compute.
            cases_per_patient: how many values it makes of each weight, which bounds the size of a block.
        """
        room = _CELLS_AT_ONCE / max(1.0, self.strata.size * max(1.0, cases_per_patient))
        return np.concatenate([statistic(weights) for weights in self.weights(at_once=max(1, int(room)))])


def _draw(generator: np.random.Generator, n: int, size: int) -> npt.NDArray[np.int64]:
    """(size, n) how often each of n was drawn in n draws with replacement."""
    picks = generator.integers(0, n, size=(size, n))
    return np.bincount((picks + np.arange(size)[:, None] * n).ravel(), minlength=size * n).reshape(size, n)


def ratio(numerators: Floats, denominators: Floats) -> Statistic:
    """The statistic sum of numerators over sum of denominators; both (patients,) or (patients, figures)."""
    top, bottom = (np.reshape(part, (part.shape[0], -1)) for part in (numerators, denominators))

    def statistic(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return (weights @ top) / (weights @ bottom)

    return statistic
