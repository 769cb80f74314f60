"""The same cases through picai_eval, and figures of panoptica on real masks."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
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
    n = len(made)
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
