"""One-to-one assignment against exhaustive search and the rules of picai_eval."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluate.matching import Pairs, allowed, assign, extra_candidates
from schemas.evaluation import MatchRule


def pairs_of(iou: np.ndarray, distance: np.ndarray | None = None) -> Pairs:
    """All pairs of a matrix [truth, candidate] of overlaps."""
    truth, candidate = (index.ravel() for index in np.indices(iou.shape))
    flat = iou.ravel().astype(float)
    return Pairs(
        truth=truth,
        candidate=candidate,
        iou=flat,
        dice=2 * flat / (1 + flat),
        distance_mm=np.full(flat.size, 5.0) if distance is None else distance.ravel(),
        centroid_in_truth=flat > 0.3,
        radius_mm=np.full(flat.size, 6.0),
    )


def hits_of(iou: np.ndarray, scores: list[float], rule: MatchRule | None = None) -> set[tuple[int, int]]:
    pairs = pairs_of(iou)
    usable = allowed(pairs, rule or MatchRule())
    hits = assign(pairs, scores=np.array(scores), n_truths=iou.shape[0], usable=usable)
    return {(int(t), int(c)) for t, c in zip(pairs.truth[hits], pairs.candidate[hits], strict=True)}


def test_of_two_candidates_on_one_lesion_the_surer_hits() -> None:
    """picai_eval takes the one that overlaps more, whatever its score."""
    assert hits_of(np.array([[0.3, 0.9]]), [0.95, 0.10]) == {(0, 0)}


def test_touching_lesions_are_two() -> None:
    assert hits_of(np.array([[0.8, 0.05], [0.1, 0.7]]), [0.9, 0.8]) == {(0, 0), (1, 1)}


def test_a_candidate_moves_aside_so_that_more_are_found() -> None:
    assert hits_of(np.array([[0.6, 0.5], [0.3, 0.0]]), [0.9, 0.8]) == {(1, 0), (0, 1)}


def test_the_same_candidates_go_to_the_lesions_they_overlap_most() -> None:
    assert hits_of(np.array([[0.2, 0.6], [0.6, 0.2]]), [0.9, 0.8]) == {(1, 0), (0, 1)}


def test_candidates_without_scores_are_matched_by_overlap() -> None:
    assert hits_of(np.array([[0.2, 0.6]]), [np.nan, np.nan]) == {(0, 1)}


def test_nothing_overlaps_nothing() -> None:
    assert hits_of(np.zeros((2, 3)), [0.1, 0.2, 0.3], MatchRule(limit=0)) == set()
    assert hits_of(np.zeros((0, 3)), [0.1, 0.2, 0.3]) == set()


def test_an_extra_candidate_is_one_that_overlaps_a_lesion_another_hits() -> None:
    pairs = pairs_of(np.array([[0.3, 0.9, 0.0]]))
    usable = allowed(pairs, MatchRule())
    hits = assign(pairs, scores=np.array([0.9, 0.5, 0.7]), n_truths=1, usable=usable)
    assert extra_candidates(pairs, hits, usable, 3).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (MatchRule(), [True, True, False, True]),
        (MatchRule(limit=0.5), [True, False, False, True]),
        (MatchRule(measure="dice", limit=0.4), [True, True, False, True]),
        (MatchRule(measure="overlap"), [True, True, True, True]),
        (MatchRule(measure="distance", limit=4), [True, False, False, False]),
        (MatchRule(measure="radius"), [True, False, False, True]),
        (MatchRule(measure="centroid_inside"), [True, False, True, False]),
    ],
)
def test_rules(rule: MatchRule, expected: list[bool]) -> None:
    pairs = Pairs(
        truth=np.arange(4),
        candidate=np.arange(4),
        iou=np.array([0.6, 0.25, 0.05, np.nan]),  # the last is a point
        dice=np.array([0.75, 0.4, 0.095, np.nan]),
        distance_mm=np.array([2.0, 9.0, 8.0, 5.0]),
        centroid_in_truth=np.array([True, False, True, False]),
        radius_mm=np.array([6.0, 6.0, 6.0, 6.0]),
    )
    assert allowed(pairs, rule).tolist() == expected


def test_names_of_rules_tell_them_apart() -> None:
    rules = [MatchRule(), MatchRule(extra="ignore"), MatchRule(limit=0.5), MatchRule(measure="distance", limit=5)]
    assert [rule.name for rule in rules] == ["iou>=0.1", "iou>=0.1 extra ignored", "iou>=0.5", "distance<=5mm"]


matrices = st.tuples(st.integers(1, 3), st.integers(1, 4)).flatmap(
    lambda shape: st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 0.2, 0.35, 0.5, 0.9]), min_size=shape[1], max_size=shape[1]),
        min_size=shape[0],
        max_size=shape[0],
    )
)


def best_by_trying_all(iou: np.ndarray, scores: np.ndarray) -> tuple[int, tuple[float, ...]]:
    """Most hits, and of those the highest scores in order, over every one-to-one assignment."""
    n_truths, n_candidates = iou.shape
    best: tuple[int, tuple[float, ...]] = (0, ())
    slots = [*range(n_candidates), *([None] * n_truths)]
    for chosen in set(permutations(slots, n_truths)):
        taken = [c for t, c in enumerate(chosen) if c is not None and iou[t, c] >= 0.1]
        best = max(best, (len(taken), tuple(sorted(scores[taken], reverse=True))))
    return best


@settings(max_examples=40, deadline=None)
@given(matrices, st.permutations([0.9, 0.7, 0.5, 0.3]))
def test_most_hits_with_the_highest_scores_at_every_threshold(rows: list[list[float]], order: list[float]) -> None:
    iou = np.array(rows)
    scores = np.array(order[: iou.shape[1]])
    found = hits_of(iou, scores.tolist())
    assert len({t for t, _ in found}) == len({c for _, c in found}) == len(found)
    assert all(iou[t, c] >= 0.1 for t, c in found)
    for threshold in (0.0, 0.4, 0.6, 0.8):
        above = np.where(scores >= threshold, iou, 0.0)
        ours = tuple(sorted((float(scores[c]) for _, c in found if scores[c] >= threshold), reverse=True))
        assert (len(ours), ours) == best_by_trying_all(above, scores)
