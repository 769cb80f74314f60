"""Candidates ranked by their score: FROC, its mean over seven rates, and average precision.

FROC: sensitivity over false positives per scan. The mean over 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives per scan is
the score of LUNA16 (Setio 2017, Medical Image Analysis 42:1), which interpolates linearly between the points and keeps
the last sensitivity beyond them. The curve ends at its last operating point, so it is 1 where every lesion is found
(picai_eval 1.4.13 loses that point).

Average precision is the step sum of precision times the rise of recall over distinct scores, with the lesions that no
candidate hits in the denominator of recall (as picai_eval and scikit-learn, which agree).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.grid import Floats

FP_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives per scan of the score of LUNA16."""


@dataclass(frozen=True)
class Ranked:
    """Candidates of all scans in order of falling score."""

    hits: npt.NDArray[np.bool_]
    """(n,) whether it hits a lesion."""
    patients: npt.NDArray[np.int64]
    """(n,) index of its patient."""
    last_of_score: npt.NDArray[np.int64]
    """Positions of the last candidate of each distinct score: the operating points."""
    thresholds: Floats
    """Their scores."""
    lesions: Floats
    """(patients,) true lesions."""
    scans: Floats
    """(patients,) scans."""


@dataclass(frozen=True)
class Curve:
    """Operating points of one weighting or of several, from none found to all candidates taken."""

    false_positives: Floats
    """(..., points) per scan."""
    sensitivity: Floats
    """(..., points)."""
    precision: Floats
    """(..., points); 1 at the first point, where nothing is taken."""


def rank(
    scores: Floats,
    hits: npt.NDArray[np.bool_],
    patients: npt.NDArray[np.int64],
    *,
    lesions: Floats,
    scans: Floats,
) -> Ranked:
    """Put candidates in order."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), ordered.size - 1) if ordered.size else np.array([], dtype=int)
    return Ranked(hits[order], patients[order], last, ordered[last], lesions, scans)


def curve(ranked: Ranked, weights: Floats | None = None) -> Curve:
    """The operating points, for each row of weights (b, patients), or for every patient once."""
    drawn = np.ones((1, ranked.lesions.size)) if weights is None else weights
    of_candidate = drawn[:, ranked.patients]
    taken = _counted(of_candidate, ranked.last_of_score)
    of_candidate *= ranked.hits
    hit = _counted(of_candidate, ranked.last_of_score)
    with np.errstate(invalid="ignore", divide="ignore"):
        made = Curve(
            false_positives=(taken - hit) / (drawn @ ranked.scans)[:, None],
            sensitivity=hit / (drawn @ ranked.lesions)[:, None],
            precision=np.divide(hit, taken, out=np.ones_like(hit), where=taken > 0),
        )
    return Curve(*(part[0] for part in _parts(made))) if weights is None else made


def sensitivity_at(points: Curve, rates: tuple[float, ...] = FP_RATES) -> Floats:
    """(..., rates) sensitivity at false positives per scan."""
    x, y = np.atleast_2d(points.false_positives), np.atleast_2d(points.sensitivity)
    found = np.array([np.interp(rates, xs, ys) for xs, ys in zip(x, y, strict=True)])
    return found[0] if points.sensitivity.ndim == 1 else found


def average_precision(points: Curve) -> Floats:
    """(...) area under the steps of precision over recall."""
    rise = np.diff(points.sensitivity, axis=-1)
    return (rise * points.precision[..., 1:]).sum(axis=-1)


def _counted(values: Floats, last: npt.NDArray[np.int64]) -> Floats:
    """Running sums at the operating points, with a 0 before them."""
    sums = np.zeros((values.shape[0], last.size + 1))
    if last.size == values.shape[1]:  # no two scores are equal
        np.cumsum(values, axis=1, out=sums[:, 1:])
    else:
        sums[:, 1:] = np.cumsum(values, axis=1)[:, last]
    return sums


def _parts(points: Curve) -> tuple[Floats, Floats, Floats]:
    return points.false_positives, points.sensitivity, points.precision
