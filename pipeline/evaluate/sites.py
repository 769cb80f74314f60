"""Estimates per site, and sites pooled by random effects; parts of a cohort are never put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit, logit

from pipeline.errors import ConfigError
from pipeline.evaluate.cohort import Cohort, hits_of
from pipeline.evaluate.statistics.estimate import CONFIDENCE, Estimate, not_estimable
from pipeline.evaluate.statistics.proportions import proportion
from pipeline.evaluate.statistics.random_effects import (
    MIN_SITES,
    Pooled,
    leave_one_out,
    logit_of_proportion,
    random_effects,
)
from pipeline.evaluate.statistics.roc import MIN_PER_CLASS, auroc, placements
from schemas.evaluation import Evaluation

MIN_PATIENTS = 2
"""A site with one patient is listed, not pooled: it has no variance between patients."""


@dataclass(frozen=True)
class SiteEstimate:
    """One metric at one site."""

    split: str
    unit: str
    metric: str
    site: str
    estimate: Estimate
    """On its own scale."""
    effect: float | None
    """On the logit scale; None where it cannot be pooled."""
    variance: float | None
    n_patients: int


def site_estimates(cohort: Cohort, settings: Evaluation, *, split: str) -> list[SiteEstimate]:
    """The main metrics at each site of one part."""
    found: list[SiteEstimate] = []
    for site in sorted({str(s) for s in cohort.scans.site if s is not None}):
        here = cohort.of_scans(cohort.scans.site == site)
        found += _of_site(here, settings, split, site)
    return found


def _of_site(cohort: Cohort, settings: Evaluation, split: str, site: str) -> list[SiteEstimate]:
    n = int(cohort.patients.size)
    hits = hits_of(cohort, settings.rule)
    positive, called = cohort.positive, cohort.called
    counts = {
        ("lesion", "sensitivity"): (int(hits.truth.sum()), hits.truth.size),
        ("patient", "sensitivity"): (int((positive & called).sum()), int(positive.sum())),
        ("patient", "specificity"): (int((~positive & ~called).sum()), int((~positive).sum())),
    }
    found = []
    for (unit, metric), (k, total) in counts.items():
        poolable = total > 0 and n >= MIN_PATIENTS
        effect, variance = logit_of_proportion(k, total) if poolable else (None, None)
        found.append(SiteEstimate(split, unit, metric, site, proportion(k, total), effect, variance, n))
    return [*found, _area(cohort, split, site, n)]


def _area(cohort: Cohort, split: str, site: str, n: int) -> SiteEstimate:
    positive, score = cohort.positive, cohort.patient_score
    if np.isnan(score).any():
        nothing = not_estimable("masks without scores cannot be ranked")
        return SiteEstimate(split, "patient", "auroc", site, nothing, None, None, n)
    estimate = auroc(positive, score)
    effect = variance = None
    if (
        estimate.low is not None
        and estimate.value is not None
        and min(positive.sum(), (~positive).sum()) >= MIN_PER_CLASS
    ):
        area = estimate.value
        effect = float(logit(area))
        variance = float(placements(positive, score).covariance[0, 0]) / (area * (1 - area)) ** 2
    return SiteEstimate(split, "patient", "auroc", site, estimate, effect, variance, n)


def pool(estimates: Sequence[SiteEstimate]) -> Pooled | None:
    """One metric over the sites of one part; None with fewer than three that can be pooled.

    Raises:
        ConfigError: the estimates are of several parts or metrics.
    """
    kinds = {(e.split, e.unit, e.metric) for e in estimates}
    if len(kinds) > 1:
        parts = ", ".join(sorted({e.split for e in estimates}))
        raise ConfigError(f"sites of different parts ({parts}) or metrics are not pooled: internal is not external")
    usable = [(e.effect, e.variance) for e in estimates if e.effect is not None]
    return random_effects(*np.array(usable, dtype=np.float64).T) if len(usable) >= MIN_SITES else None


def site_rows(estimates: Sequence[SiteEstimate], *, recipe_id: str, attempt: str) -> list[dict[str, Any]]:
    """Rows of `schemas.evaluation.SITE_METRICS`: each site, all pooled, and pooled without each."""
    keys = {"recipe_id": recipe_id, "attempt": attempt}
    rows: list[dict[str, Any]] = []
    for kind in sorted({(e.split, e.unit, e.metric) for e in estimates}):
        of_kind = [e for e in estimates if (e.split, e.unit, e.metric) == kind]
        named = keys | dict(zip(("split", "unit", "metric"), kind, strict=True))
        rows += _rows_of(of_kind, named)
    return rows


def _rows_of(estimates: list[SiteEstimate], named: dict[str, Any]) -> list[dict[str, Any]]:
    usable = [e for e in estimates if e.effect is not None]
    pooled = pool(estimates)
    weights = dict(zip((e.site for e in usable), pooled.weights, strict=True)) if pooled else {}
    rows = [named | _site_row(e, weights.get(e.site)) for e in estimates]
    patients = sum(e.n_patients for e in usable)
    if pooled is None:
        few = not_estimable(f"of {len(estimates)} sites {len(usable)} can be pooled, {MIN_SITES} are needed")
        return [*rows, named | {"kind": "pooled", "n_patients": patients} | _estimate_columns(few)]
    rows.append(named | {"kind": "pooled", "n_patients": patients} | _pooled_columns(pooled))
    without = leave_one_out(*np.array([(e.effect, e.variance) for e in usable], dtype=np.float64).T)
    for left, rest in zip(usable, without, strict=True):
        if rest is not None:
            n = patients - left.n_patients
            rows.append(named | {"kind": "without", "site": left.site, "n_patients": n} | _pooled_columns(rest))
    return rows


def _site_row(e: SiteEstimate, weight: float | None) -> dict[str, Any]:
    return {
        "kind": "site",
        "site": e.site,
        "effect": e.effect,
        "variance": e.variance,
        "weight": weight,
        "n_patients": e.n_patients,
    } | _estimate_columns(e.estimate)


def _estimate_columns(e: Estimate) -> dict[str, Any]:
    names = ("value", "low", "high", "interval", "numerator", "denominator", "note")
    return {name: getattr(e, name) for name in names}


def _pooled_columns(pooled: Pooled) -> dict[str, Any]:
    back: Callable[[float | None], float | None] = lambda x: None if x is None else float(expit(x))  # noqa: E731
    return {
        "value": back(pooled.effect),
        "low": back(pooled.low),
        "high": back(pooled.high),
        "interval": f"hartung_knapp_{CONFIDENCE:g}",
        "effect": pooled.effect,
        "tau2": pooled.tau2,
        "i2": pooled.i2,
        "prediction_low": back(pooled.prediction_low),
        "prediction_high": back(pooled.prediction_high),
    }
