"""Which candidate hits which true lesion: one to one, candidates in order of their scores.

A candidate is taken if it can be matched without giving up one with a higher score: the true lesions of those before it
are moved among each other as far as the rule allows (augmenting paths, Kuhn 1955). So as many candidates hit as can,
those with the highest scores among them, and the hits at any threshold are those that the candidates above it have
by themselves: a FROC curve needs one assignment only. Among the assignments of the same candidates the one with the
largest total overlap is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.grid import Floats
from schemas.evaluation import MatchRule

Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Pairs of a true lesion and a candidate, numbered through all scans."""

    truth: Integers
    """(n,) number of the true lesion."""
    candidate: Integers
    """(n,) number of the candidate."""
    iou: Floats
    """(n,) intersection over union; NaN without two regions."""
    dice: Floats
    """(n,)."""
    distance_mm: Floats
    """(n,) of the centroids."""
    centroid_in_truth: Bools
    """(n,) the candidate's centroid lies in the lesion."""
    radius_mm: Floats
    """(n,) of the true lesion: of the sphere of its volume, or of the point."""


def allowed(pairs: Pairs, rule: MatchRule) -> Bools:
    """(n,) which pairs may be a hit. A point has no region, so that iou, dice and overlap become its radius."""
    within = pairs.distance_mm <= pairs.radius_mm
    if rule.measure == "radius":
        return within
    if rule.measure == "distance":
        return pairs.distance_mm <= rule.limit
    if rule.measure == "centroid_inside":
        return pairs.centroid_in_truth
    with np.errstate(invalid="ignore"):
        by_region = {
            "iou": pairs.iou >= rule.limit,
            "dice": pairs.dice >= rule.limit,
            "overlap": pairs.iou > 0,
        }[rule.measure] & (pairs.iou > 0)
    return np.where(np.isnan(pairs.iou), within, by_region)


def assign(pairs: Pairs, *, scores: Floats, n_truths: int, usable: Bools) -> Bools:
    """(n,) which pairs are hits.

    Args:
        pairs: all of them.
        scores: (candidates,) by number; NaN counts as equal and lowest.
        n_truths: how many true lesions there are.
        usable: (n,) which pairs may be hits.
    """
    hits = np.zeros(pairs.truth.size, dtype=np.bool_)
    chosen = np.flatnonzero(usable)
    truth, candidate = pairs.truth[chosen], pairs.candidate[chosen]
    alone = _only_one(truth, n_truths) & _only_one(candidate, scores.size)
    hits[chosen[alone]] = True
    for group in _groups(truth[~alone], candidate[~alone], n_truths, scores.size):
        members = chosen[~alone][group]
        hits[members[_assign_group(pairs, members, scores)]] = True
    return hits


def _only_one(numbers: Integers, n: int) -> Bools:
    return np.bincount(numbers, minlength=n)[numbers] == 1


def _groups(truth: Integers, candidate: Integers, n_truths: int, n_candidates: int) -> list[Integers]:
    """Pairs that hang together by a lesion or a candidate, as positions."""
    if truth.size == 0:
        return []
    n = n_truths + n_candidates
    graph = coo_array((np.ones(truth.size), (truth, candidate + n_truths)), shape=(n, n))
    label = connected_components(graph, directed=False)[1][truth]
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1)


def _assign_group(pairs: Pairs, members: Integers, scores: Floats) -> Integers:
    """Positions among `members` that are hits."""
    truths, t = np.unique(pairs.truth[members], return_inverse=True)
    candidates, c = np.unique(pairs.candidate[members], return_inverse=True)
    overlap = np.nan_to_num(pairs.iou[members]) + 1e-6 / (1 + pairs.distance_mm[members])
    weight = np.full((candidates.size, truths.size), -np.inf)
    weight[c, t] = overlap
    matched = _match_by_score(weight, np.nan_to_num(scores[candidates], nan=-np.inf))
    taken = np.flatnonzero(matched >= 0)
    # the same candidates, now to the lesions that they overlap most; what is not allowed costs more than all overlaps
    cost = np.where(np.isfinite(weight[taken]), -weight[taken], truths.size + 1.0)
    rows, columns = linear_sum_assignment(cost)
    pairing = dict(zip(candidates[taken[rows]].tolist(), truths[columns].tolist(), strict=True))
    return np.array(
        [i for i, m in enumerate(members) if pairing.get(int(pairs.candidate[m])) == int(pairs.truth[m])],
        dtype=np.int64,
    )


def _match_by_score(weight: Floats, scores: Floats) -> Integers:
    """(candidates,) a lesion for each that can have one, in order of score; -1 for the others."""
    of_truth = np.full(weight.shape[1], -1)
    for candidate in np.lexsort((-weight.max(axis=1), -scores)):
        _augment(int(candidate), weight, of_truth, set())
    matched = np.full(weight.shape[0], -1)
    for truth, candidate in enumerate(of_truth):
        if candidate >= 0:
            matched[candidate] = truth
    return matched


def _augment(candidate: int, weight: Floats, of_truth: Integers, seen: set[int]) -> bool:
    """Find the candidate a lesion, moving others aside where they have another; whether it was found."""
    for truth in np.argsort(-weight[candidate]):
        if not np.isfinite(weight[candidate, truth]):
            return False
        if int(truth) in seen:
            continue
        seen.add(int(truth))
        if of_truth[truth] < 0 or _augment(int(of_truth[truth]), weight, of_truth, seen):
            of_truth[truth] = candidate
            return True
    return False


def extra_candidates(pairs: Pairs, hits: Bools, usable: Bools, n_candidates: int) -> Bools:
    """(candidates,) which hit no lesion of their own but overlap one that another candidate hits."""
    own = np.zeros(n_candidates, dtype=np.bool_)
    own[pairs.candidate[hits]] = True
    near = np.zeros(n_candidates, dtype=np.bool_)
    near[pairs.candidate[usable]] = True
    return near & ~own
