"""The same cases through picai_eval, and figures of panoptica on real masks."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from picai_eval import Metrics
from picai_eval import evaluate as picai_evaluate
from scipy import ndimage

from pipeline.evaluate.cohort import Cohort, Findings, Scans, Vertebrae, hits_of
from pipeline.evaluate.lesion_metrics import ranked_of
from pipeline.evaluate.matching import Pairs
from pipeline.evaluate.readers import matched_dice
from pipeline.evaluate.statistics.ranking import average_precision, curve
from pipeline.evaluate.statistics.roc import auroc
from schemas.evaluation import MatchRule

SHAPE = (6, 48, 48)


def test_matched_dice_and_panoptic_quality_as_panoptica_2_1_7_gives_them(shared_data: Path) -> None:
    """`Panoptica_Evaluator` with NaiveThresholdMatching by IoU of 0.5 and more: tp 19, fp 3, fn 3."""
    folder = shared_data / "labels_spine_mr_panoptica" / "matched_instance"
    reference, prediction = (
        np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj).astype(np.uint16) for name in ("ref", "pred")
    )
    dice = matched_dice(reference, prediction, MatchRule(limit=0.5))
    assert len(dice) == 19
    assert np.mean(dice) == pytest.approx(0.900292616009954, abs=1e-9)
    segmentation_quality = np.mean([d / (2 - d) for d in dice])
    assert segmentation_quality == pytest.approx(0.8328184295330796, abs=1e-9)
    assert segmentation_quality * 19 / (19 + (3 + 3) / 2) == pytest.approx(0.719252280051296, abs=1e-9)


def cases(n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Reference masks and detection maps; blocks never touch and none overlaps two, so that both match alike."""
    generator = np.random.default_rng(11)
    made = []
    for _ in range(n):
        truth, found = np.zeros(SHAPE, dtype=np.int32), np.zeros(SHAPE, dtype=np.float32)
        for row in range(4):
            for column in range(4):
                y, x = 12 * row + 1, 12 * column + 1
                if generator.random() < 0.12:
                    truth[1:5, y : y + 6, x : x + 6] = 1
                if generator.random() < (0.75 if truth[1, y, x] else 0.1):
                    shift = int(generator.integers(0, 5))
                    score = np.float32(np.clip(generator.normal(0.65 if truth[1, y, x] else 0.45, 0.2), 0.05, 0.99))
                    found[1:5, y + shift : y + shift + 6, x : x + 6] = score
        made.append((truth, found))
    return made


def cohort_of(made: list[tuple[np.ndarray, np.ndarray]]) -> Cohort:
    truth_scan, candidate_scan, scores, rows, best = [], [], [], [], []
    for scan, (truth, found) in enumerate(made):
        truths, n_truths = ndimage.label(truth, np.ones((3, 3, 3)))
        candidates, n_found = ndimage.label(found > 0, np.ones((3, 3, 3)))
        for t in range(1, n_truths + 1):
            for c in range(1, n_found + 1):
                common = np.count_nonzero((truths == t) & (candidates == c))
                either = np.count_nonzero((truths == t) | (candidates == c))
                rows.append((len(truth_scan) + t - 1, len(candidate_scan) + c - 1, common / either))
        truth_scan += [scan] * n_truths
        candidate_scan += [scan] * n_found
        scores += [float(found[candidates == c].max()) for c in range(1, n_found + 1)]
        best.append(float(found.max()))
    return assembled(truth_scan, candidate_scan, scores, rows, best)


def assembled(
    truth_scan: list[int],
    candidate_scan: list[int],
    scores: list[float],
    rows: list[tuple[int, int, float]],
    best: list[float],
) -> Cohort:
    """One scan of each patient; `rows` are the lesion, the candidate and the IoU of each pair."""
    n = len(best)
    pair = np.array(rows)
    nothing, empty = np.zeros(n), np.zeros(0)
    return Cohort(
        patients=np.array([f"p{i}" for i in range(n)], dtype=object),
        scans=Scans(
            *(np.array([f"s{i}" for i in range(n)], dtype=object), np.arange(n)),
            *(np.full(n, None), np.full(n, None), np.full(n, "ok", dtype=object)),
            n_truth=np.bincount(truth_scan, minlength=n).astype(float),
            n_lesions=np.bincount(candidate_scan, minlength=n).astype(float),
            score=np.array(best),
            truth_volume_mm3=nothing,
            lesion_volume_mm3=nothing,
        ),
        truths=findings(truth_scan, None),
        candidates=findings(candidate_scan, scores),
        pairs=Pairs(
            pair[:, 0].astype(int),
            pair[:, 1].astype(int),
            pair[:, 2],
            pair[:, 2],
            np.ones(len(pair)),
            pair[:, 2] > 0,
            np.ones(len(pair)),
        ),
        vertebrae=Vertebrae(empty.astype(int), empty.astype(object), empty.astype(bool), empty.astype(bool), empty),
    )


OWN_CASES: list[tuple[int, list[tuple[float, dict[int, float]]]]] = [
    (0, []),
    (1, []),
    (0, [(1.0, {})]),
    (1, [(1.0, {})]),
    (1, [(1.0, {0: 1 / 3})]),
    (1, [(1.0, {0: 9 / 41}), (2.0, {0: 3 / 47})]),
    (1, [(1.0, {0: 1 / 3}), (2.0, {0: 2 / 7})]),
    (2, [(1.0, {0: 1 / 3, 1: 1 / 6})]),
    (2, [(1.0, {0: 5 / 11, 1: 1 / 11})]),
    (1, [(1.0, {})]),
]
"""True lesions and candidates (score, IoU by lesion) of the ten cases that picai_eval tests itself with: its
tests/test-maps/overview.md and tests/output-expected/metrics-full-expected.json."""
OWN_RESULTS: list[list[tuple[int, float, float]]] = [
    [], [(1, 0.0, 0.0)], [(0, 1.0, 0.0)], [(1, 0.0, 0.0), (0, 1.0, 0.0)], [(1, 1.0, 1 / 3)],
    [(1, 1.0, 9 / 41), (0, 2.0, 0.0)], [(1, 1.0, 1 / 3)], [(1, 1.0, 1 / 3), (1, 0.0, 0.0)],
    [(1, 1.0, 5 / 11), (1, 0.0, 0.0)], [(1, 0.0, 0.0), (0, 1.0, 0.0)],
]  # fmt: skip
"""What it expects of them: is a lesion, score, overlap."""


def of_table(cases: list[tuple[int, list[tuple[float, dict[int, float]]]]]) -> Cohort:
    """A cohort of cases whose overlaps are known."""
    truth_scan = [scan for scan, (n, _) in enumerate(cases) for _ in range(n)]
    candidate_scan = [scan for scan, (_, found) in enumerate(cases) for _ in found]
    scores = [score for _, found in cases for score, _ in found]
    pairs, first, number = [], 0, 0
    for n, found in cases:
        for _, overlaps in found:
            pairs += [(first + lesion, number, iou) for lesion, iou in overlaps.items()]
            number += 1
        first += n
    best = [max((score for score, _ in found), default=0.0) for _, found in cases]
    return assembled(truth_scan, candidate_scan, scores, pairs, best)


def picai_metrics(chosen: list[int]) -> Metrics:
    best = [max((score for score, _ in OWN_CASES[i][1]), default=0.0) for i in chosen]
    return Metrics(
        lesion_results={str(i): OWN_RESULTS[i] for i in chosen},
        case_target={str(i): int(OWN_CASES[i][0] > 0) for i in chosen},
        case_pred={str(i): score for i, score in zip(chosen, best, strict=True)},
    )


def test_the_ten_cases_that_picai_eval_tests_itself_with() -> None:
    """Case 6 has two candidates on one lesion: picai_eval keeps the one that overlaps more and drops the surer one;
    here the surer one hits and the other is an extra. In the nine others both match alike.
    """
    everyone = list(range(len(OWN_CASES)))
    for chosen in ([i for i in everyone if i != 6], everyone):
        theirs, cohort = picai_metrics(chosen), of_table([OWN_CASES[i] for i in chosen])
        hits = hits_of(cohort, MatchRule(extra="ignore"))
        ranked = ranked_of(cohort, hits)
        assert ranked is not None
        ours = float(average_precision(curve(ranked)))
        assert auroc(cohort.positive, cohort.patient_score).value == pytest.approx(theirs.auroc, abs=1e-9)
        if len(chosen) == 9:
            assert ours == pytest.approx(theirs.AP, abs=1e-9)
        else:
            assert (theirs.AP, theirs.auroc) == pytest.approx((5 / 18, 0.75)), "its metrics-full-expected.json"
            assert hits.candidate_ranked.sum() == 5
            assert ours == pytest.approx(0.1 * 1 / 2 + 0.4 * 5 / 9), "the surer candidate of case 6 hits at 2.0"


def findings(scan: list[int], scores: list[float] | None) -> Findings:
    n = len(scan)
    texts = np.full(n, None)
    score = np.full(n, np.nan) if scores is None else np.array(scores)
    return Findings(np.array(scan), np.full(n, 10.0), np.full(n, 500.0), texts, texts, score, np.ones(n, dtype=bool))


def test_average_precision_and_area_are_those_of_picai_eval_1_4_13() -> None:
    """Where neither a touching lesion nor a second candidate on one makes the two match in different ways."""
    made = cases(60)
    theirs = picai_evaluate(
        y_det=[found for _, found in made],
        y_true=[truth for truth, _ in made],
        allow_unmatched_candidates_with_minimal_overlap=False,
        num_parallel_calls=1,
        verbose=0,
    )
    cohort = cohort_of(made)
    ranked = ranked_of(cohort, hits_of(cohort, MatchRule()))
    assert ranked is not None
    assert float(average_precision(curve(ranked))) == pytest.approx(theirs.AP, abs=1e-9)
    assert auroc(cohort.positive, cohort.patient_score).value == pytest.approx(theirs.auroc, abs=1e-9)
    assert 0.2 < theirs.AP < 0.99
