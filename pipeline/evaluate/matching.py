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
    if not chosen.size:
        return hits
    truth, candidate = pairs.truth[chosen], pairs.candidate[chosen]
    group = _groups(truth, candidate, n_truths, scores.size)
    simple = (_members(truth, group) == 1) | (_members(candidate, group) == 1)
    hits[chosen[_best_of_group(pairs, chosen, group, scores, simple[group])]] = True
    order = np.flatnonzero(~simple[group])
    order = order[np.argsort(group[order], kind="stable")]
    for members in np.split(chosen[order], np.flatnonzero(np.diff(group[order])) + 1) if order.size else []:
        hits[members[_assign_group(pairs, members, scores)]] = True
    return hits


def _groups(truth: Integers, candidate: Integers, n_truths: int, n_candidates: int) -> Integers:
    """(pairs,) number of the group of each: pairs that hang together by a lesion or a candidate."""
    n = n_truths + n_candidates
    graph = coo_array((np.ones(truth.size), (truth, candidate + n_truths)), shape=(n, n))
    label = connected_components(graph, directed=False)[1][truth]
    return np.unique(label, return_inverse=True)[1]


def _members(numbers: Integers, group: Integers) -> Integers:
    """(groups,) how many different lesions, or candidates, each group holds."""
    _, first = np.unique(numbers, return_index=True)
    return np.bincount(group[first], minlength=int(group.max()) + 1)


def _best_of_group(pairs: Pairs, chosen: Integers, group: Integers, scores: Floats, simple: Bools) -> Integers:
    """Of each group around one lesion or one candidate its only hit: the highest score, then the largest overlap."""
    inside = np.flatnonzero(simple)
    score = np.nan_to_num(scores[pairs.candidate[chosen[inside]]], nan=-np.inf)
    order = inside[np.lexsort((-_overlap(pairs, chosen[inside]), -score, group[inside]))]
    first = np.concatenate([[True], np.diff(group[order]) > 0]) if order.size else np.zeros(0, dtype=np.bool_)
    return order[first]


def _overlap(pairs: Pairs, members: Integers) -> Floats:
    """What makes one lesion a better partner than another: overlap, then nearness."""
    return np.nan_to_num(pairs.iou[members]) + 1e-6 / (1 + pairs.distance_mm[members])


def _assign_group(pairs: Pairs, members: Integers, scores: Floats) -> Integers:
    """Positions among `members` that are hits."""
    truths, t = np.unique(pairs.truth[members], return_inverse=True)
    candidates, c = np.unique(pairs.candidate[members], return_inverse=True)
    weight = np.full((candidates.size, truths.size), -np.inf)
    weight[c, t] = _overlap(pairs, members)
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
