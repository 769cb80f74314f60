"""FROC and average precision against scikit-learn, picai_eval and the definition of LUNA16's score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picai_eval import Metrics
from sklearn.metrics import average_precision_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from pipeline.evaluate.statistics.ranking import FP_RATES, Ranked, average_precision, curve, rank, sensitivity_at


def ranked(rows: list[tuple[float, bool]], lesions: int, scans: int) -> Ranked:
    scores, hits = (
        (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0), np.zeros(0, bool))
    )
    return rank(
        scores.astype(float),
        hits.astype(bool),
        np.zeros(len(rows), dtype=np.int64),
        lesions=np.array([float(lesions)]),
        scans=np.array([float(scans)]),
    )


def test_froc_is_1_where_every_lesion_is_found() -> None:
    """picai_eval 1.4.13 overwrites the last operating point: one lesion found gives 0, two of two give 0.5."""
    for n in (1, 2):
        made = curve(ranked([(0.9 - i / 10, True) for i in range(n)], n, 1))
        assert sensitivity_at(made).tolist() == [1.0] * 7
        assert average_precision(made) == 1.0
    theirs = Metrics(lesion_results={"case": [(1, 0.9, 1.0)]}, case_target={"case": 1}, case_pred={"case": 0.9})
    assert theirs.AP == 1.0
    assert theirs.lesion_TPR_at_FPR(1.0) == 0.0  # pinned: when this fails, their fault is mended


def test_no_candidate_and_no_lesion() -> None:
    nothing = curve(ranked([], 4, 2))
    assert sensitivity_at(nothing).tolist() == [0.0] * 7
    assert average_precision(nothing) == 0.0
    assert np.isnan(sensitivity_at(curve(ranked([(0.5, False)], 0, 2)))).all()


def test_equal_scores_are_one_operating_point() -> None:
    made = curve(ranked([(0.5, True), (0.5, False), (0.5, False)], 2, 1))
    assert made.false_positives.tolist() == [0.0, 2.0]
    assert made.sensitivity.tolist() == [0.0, 0.5]
    assert sensitivity_at(made, (1.0, 8.0)).tolist() == [0.25, 0.5]


found = st.lists(st.tuples(st.integers(1, 6).map(lambda i: i / 6), st.booleans()), min_size=1, max_size=50)


@given(found, st.integers(0, 10), st.integers(1, 20))
def test_the_score_of_luna16(rows: list[tuple[float, bool]], missed: int, scans: int) -> None:
    """By the text of the challenge: scikit-learn's ROC curve over candidates, rescaled and interpolated linearly."""
    hits, scores = np.array([hit for _, hit in rows]), np.array([score for score, _ in rows])
    if hits.all() or not hits.any():
        return
    lesions = int(hits.sum()) + missed
    fpr, tpr, _ = sklearn_roc_curve(hits, scores)
    expected = np.interp(FP_RATES, fpr * (~hits).sum() / scans, tpr * hits.sum() / lesions)
    made = sensitivity_at(curve(ranked(rows, lesions, scans)))
    np.testing.assert_allclose(made, expected, atol=1e-12)
    assert made.mean() == pytest.approx(expected.mean())


@given(found, st.integers(0, 10))
def test_average_precision_is_that_of_picai_eval_and_of_scikit_learn(
    rows: list[tuple[float, bool]], missed: int
) -> None:
    hits, scores = [hit for _, hit in rows], [score for score, _ in rows]
    lesions = sum(hits) + missed
    if lesions == 0:
        return
    ours = float(average_precision(curve(ranked(rows, lesions, 1))))
    results = [(int(hit), score, float(hit)) for score, hit in rows] + [(1, 0.0, 0.0)] * missed
    theirs = Metrics(lesion_results={"case": results}, case_target={"case": 1}, case_pred={"case": max(scores)})
    assert ours == pytest.approx(theirs.AP, abs=1e-9)
    if any(hits):
        found_only = average_precision_score(hits, scores)
        assert ours == pytest.approx(found_only * sum(hits) / lesions, abs=1e-12)


@given(found, st.integers(0, 2**32))
def test_a_weighting_is_the_same_as_repeating_patients(rows: list[tuple[float, bool]], seed: int) -> None:
    generator = np.random.default_rng(seed)
    patients = generator.integers(0, 4, len(rows))
    scores, hits = np.array([s for s, _ in rows]), np.array([h for _, h in rows])
    lesions, scans = np.bincount(patients, hits, minlength=4) + 1, np.array([1.0, 2.0, 1.0, 3.0])
    weights = generator.integers(0, 3, (5, 4)).astype(float)
    made = curve(rank(scores, hits, patients, lesions=lesions, scans=scans), weights)
    for b, drawn in enumerate(weights):
        if drawn.sum() == 0:
            continue
        times = drawn[patients].astype(int)
        repeated = ranked(
            list(zip(np.repeat(scores, times), np.repeat(hits, times), strict=True)),
            int(drawn @ lesions),
            int(drawn @ scans),
        )
        single = curve(repeated)
        np.testing.assert_allclose(sensitivity_at(made)[b], sensitivity_at(single), atol=1e-12)
        assert average_precision(made)[b] == pytest.approx(float(average_precision(single)))
