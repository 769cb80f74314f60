"""A figure of an evaluation: what was estimated, of which unit, for which cases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pipeline.evaluate.cohort import Cohort
from pipeline.evaluate.statistics.estimate import Estimate
from pipeline.grid import Floats

ALL = "all"
"""Where cases are not divided."""


@dataclass(frozen=True)
class Figure:
    """One row of `schemas.evaluation.METRICS`."""

    unit: str
    """lesion, vertebra, scan or patient."""
    metric: str
    """What is estimated."""
    estimate: Estimate
    """Value and interval."""
    rule: str | None = None
    """When a candidate hits; None where it does not matter."""
    split: str = ALL
    """Part of the cohort."""
    subgroup: str = ALL
    """What the cases are divided by."""
    stratum: str | None = None
    """Which part of it."""
    n_patients: int = 0
    n_scans: int = 0
    draws: Floats | None = field(default=None, repr=False, compare=False)
    """The value in every resample, to compare it with another."""

    def of(self, cohort: Cohort) -> Figure:
        """The same, with the numbers of patients and scans behind it."""
        return replace(self, n_patients=int(cohort.patients.size), n_scans=int(cohort.scans.patient.size))

    def row(self, **keys: str) -> dict[str, Any]:
        """As a row of the table."""
        e = self.estimate
        return keys | {
            "split": self.split,
            "unit": self.unit,
            "metric": self.metric,
            "value": _finite(e.value),
            "low": _finite(e.low),
            "high": _finite(e.high),
            "interval": e.interval,
            "numerator": _finite(e.numerator),
            "denominator": _finite(e.denominator),
            "note": e.note,
            "subgroup": self.subgroup,
            "stratum": self.stratum,
            "rule": self.rule,
            "n_patients": self.n_patients,
            "n_scans": self.n_scans,
        }


@dataclass(frozen=True)
class CurvePoint:
    """One row of `schemas.evaluation.CURVES`."""

    curve: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    split: str = ALL

    def row(self, **keys: str) -> dict[str, Any]:
        """As a row of the table."""
        numbers = {"x": self.x, "y": self.y, "low": self.low, "high": self.high, "threshold": self.threshold}
        return keys | {"split": self.split, "curve": self.curve} | {n: _finite(v) for n, v in numbers.items()}


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
