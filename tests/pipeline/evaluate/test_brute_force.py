"""Every main figure of a random cohort, worked out from its boxes by counting: several scans a patient, some failed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline.evaluate.evaluation import evaluate_store
from schemas.config import CohortConfig
from schemas.evaluation import Evaluation
from tests.pipeline.evaluate.little import Box, LittleScan, make_store, truths

BOXES: tuple[Box, ...] = (
    (9, 8, 8, 12, 14, 14),
    (9, 20, 20, 12, 26, 26),
    (3, 8, 8, 6, 14, 14),
    (3, 20, 20, 6, 26, 26),
    (9, 8, 26, 12, 14, 32),
)
"""Apart from each other, so that a candidate hits what lies in the same box and nothing else."""
RATES = (0.125, 0.25, 0.5, 1, 2, 4, 8)
Key = tuple[str, str]


def drawn(seed: int) -> list[LittleScan]:
    generator = np.random.default_rng(seed)
    scans = []
    for patient in range(8):
        for study in range(generator.integers(1, 4)):
            true = tuple(box for box in BOXES if generator.random() < (0.4 if patient > 2 else 0.0))
            found = {box: float(generator.choice([0.5, 0.6, 0.7, 0.8])) for box in BOXES if generator.random() < 0.35}
            below = [box for box in BOXES if generator.random() < 0.3 and box not in found]
            scans.append(
                LittleScan(
                    f"s{patient}{study}", f"p{patient}", true, tuple(found.items()),
                    tuple((box, float(generator.choice([0.1, 0.2]))) for box in below),
                    status="ok" if generator.random() < 0.85 else "failed", study=f"t{patient}{study}",
                )
            )  # fmt: skip
    return scans


def of_lesions(scans: list[LittleScan], ok: list[LittleScan]) -> dict[Key, float]:
    true = sum(len(s.truth) for s in ok)
    hits = sum(box in s.truth for s in ok for box, _ in s.found)
    false = sum(len(s.found) for s in ok) - hits
    healthy = [s for s in ok if not s.truth]
    ranked = [(score, box in s.truth) for s in ok for box, score in (*s.found, *s.below)]
    points, precision = [(0.0, 0.0)], 0.0
    for threshold in sorted({score for score, _ in ranked}, reverse=True):
        taken = [hit for score, hit in ranked if score >= threshold]
        precision += (sum(taken) / true - points[-1][1]) * sum(taken) / len(taken)
        points.append(((len(taken) - sum(taken)) / len(ok), sum(taken) / true))
    x, y = zip(*points, strict=True)
    return {
        ("lesion", "sensitivity"): hits / true,
        ("lesion", "sensitivity_all_scans"): hits / sum(len(s.truth) for s in scans),
        ("lesion", "precision"): hits / (hits + false),
        ("lesion", "f1"): 2 * hits / (true + hits + false),
        ("lesion", "false_positives_per_scan"): false / len(ok),
        ("lesion", "false_positives_per_negative_scan"): sum(len(s.found) for s in healthy) / len(healthy),
        ("lesion", "false_positives_per_lesion"): false / true,
        ("lesion", "average_precision"): precision,
        ("lesion", "froc_score"): float(np.mean([np.interp(rate, x, y) for rate in RATES])),
    }


def of_patients(scans: list[LittleScan], ok: list[LittleScan]) -> dict[Key, float]:
    names = sorted({s.patient for s in ok})
    ill, called = ({s.patient for s in ok if part(s)} for part in (lambda s: s.truth, lambda s: s.found))
    best = dict.fromkeys(names, 0.0)
    for scan in ok:
        best[scan.patient] = max([best[scan.patient], *(score for _, score in (*scan.found, *scan.below))])
    ever_ill = {s.patient for s in scans if s.truth}
    return {
        ("patient", "auroc"): roc_auc_score([name in ill for name in names], [best[name] for name in names]),
        ("patient", "sensitivity"): len(ill & called) / len(ill),
        ("patient", "specificity"): len(set(names) - ill - called) / len(set(names) - ill),
        ("patient", "sensitivity_all_scans"): len(ever_ill & called) / len(ever_ill),
        ("patient", "prevalence"): len(ill) / len(names),
    }


@pytest.mark.parametrize("seed", [2, 4])
def test_every_main_figure_is_what_counting_gives(seed: int, tmp_path: Path) -> None:
    scans = drawn(seed)
    ok = [scan for scan in scans if scan.status == "ok"]
    store = make_store(tmp_path, scans)
    config = CohortConfig(source="x", store="x")
    evaluate_store(store, config, truths=truths(tmp_path, scans), settings=Evaluation(bootstraps=100))
    found: dict[Key, set[float]] = {}
    for row in store.read_table(store.list("truth/tables/metrics")[-1]).to_pylist():
        if row["subgroup"] == "all" and row["rule"] in (None, "iou>=0.1"):
            found.setdefault((row["unit"], row["metric"]), set()).add(row["value"])
    for key, expected in (of_lesions(scans, ok) | of_patients(scans, ok)).items():
        assert list(found[key]) == [pytest.approx(expected)], key
