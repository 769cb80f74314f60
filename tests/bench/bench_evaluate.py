"""What an evaluation from its tables costs: 10,000 scans with 100,000 candidates, 2,000 resamples.

SPINETALLY_BENCH_SCANS=10000 python -m pytest -m bench -s tests/bench/bench_evaluate.py
"""

from __future__ import annotations

import os
import time

import numpy as np
import psutil
import pyarrow as pa
import pytest

from pipeline.evaluate.cohort import Cohort, build_cohort
from pipeline.evaluate.evaluation import evaluate_cohort
from schemas.evaluation import LEVELS, MATCHES, SCANS, Evaluation

N_SCANS = int(os.environ.get("SPINETALLY_BENCH_SCANS", "10000").split(",")[0])
PER_SCAN = 10
"""Candidates of a scan."""


def _table(schema: pa.Schema, columns: dict[str, object], n: int) -> pa.Table:
    """Columns as a table of this schema; what is not given is NULL."""
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(n, f.type) for f in schema]
    return pa.table(arrays, schema=schema)


def made_cohort(n_scans: int) -> Cohort:
    """Scans of half as many patients, two true lesions in every second one, ten candidates in each."""
    generator = np.random.default_rng(1)
    scan = np.arange(n_scans)
    series = np.array([f"s{i:06}" for i in scan])
    truths = np.where(scan % 2, 2, 0)
    shared = {"recipe_id": ["r"] * n_scans, "series_key": series, "attempt": ["t"] * n_scans}
    candidates = generator.random(n_scans * PER_SCAN)
    scans = shared | {
        "study_key": series, "patient_key": [f"p{i // 2:06}" for i in scan], "match_version": [1] * n_scans,
        "rule": ["iou>=0.1"] * n_scans, "reference_attempt": ["t"] * n_scans, "status": ["ok"] * n_scans,
        "n_truth": truths, "n_lesions": np.full(n_scans, PER_SCAN // 2),
        "score_max": candidates.reshape(n_scans, -1).max(axis=1), "site": [f"site{i % 6}" for i in scan],
        "truth_volume_mm3": 1000.0 * truths, "lesion_volume_mm3": generator.uniform(0, 3000, n_scans),
    }  # fmt: skip
    rows = np.concatenate([np.repeat(scan, PER_SCAN), np.repeat(scan[truths > 0], PER_SCAN)])
    number = np.concatenate([np.tile(np.arange(PER_SCAN), n_scans), np.tile(np.arange(PER_SCAN), (truths > 0).sum())])
    second = np.arange(rows.size) >= n_scans * PER_SCAN
    has_truth = truths[rows] > 0
    n = rows.size
    matches = {
        "recipe_id": ["r"] * n, "series_key": series[rows], "study_key": series[rows],
        "patient_key": series[rows], "attempt": ["t"] * n,
        "truth_id": pa.array(np.where(second, 2, 1), mask=~has_truth), "truth_volume_mm3": np.full(n, 1000.0),
        "truth_diameter_mm": np.full(n, 12.4), "truth_type": ["lytic"] * n, "truth_level": ["L1"] * n,
        "candidate_id": number + 1, "is_lesion": number < PER_SCAN // 2, "score": candidates[rows * PER_SCAN + number],
        "candidate_volume_mm3": np.full(n, 900.0), "iou": np.where((number + second) % 5 == 0, 0.4, 0.0),
        "dice": np.where((number + second) % 5 == 0, 0.57, 0.0), "centroid_distance_mm": generator.uniform(0, 60, n),
        "centroid_in_truth": (number + second) % 5 == 0,
    }  # fmt: skip
    at = np.repeat(scan, 5)
    levels = {
        "recipe_id": ["r"] * at.size, "series_key": series[at], "study_key": series[at], "patient_key": series[at],
        "attempt": ["t"] * at.size, "level": np.tile([f"L{i}" for i in range(1, 6)], n_scans),
        "assessed": ["full"] * at.size, "n_truth": (np.tile(np.arange(5), n_scans) == 0) * truths[at],
        "n_lesions": np.tile(np.arange(5), n_scans) % 2, "score_max": generator.random(at.size),
    }  # fmt: skip
    return build_cohort(_table(SCANS, scans, n_scans), _table(MATCHES, matches, n), _table(LEVELS, levels, at.size))


STRATA = {
    "site": 6, "manufacturer": 4, "convolution_kernel": 5, "slice_spacing": 3, "contrast": 2, "patient_sex": 2,
    "age_band": 4,
}  # fmt: skip
"""Subgroup to how many strata it has, as an evaluation divides a cohort by default."""


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_evaluation_from_its_tables() -> None:
    start = time.perf_counter()
    cohort = made_cohort(N_SCANS)
    built, before = time.perf_counter(), time.process_time()
    generator = np.random.default_rng(2)
    attributes = {
        name: np.array([f"{name} {i}" for i in generator.integers(0, n, N_SCANS)], dtype=object)
        for name, n in STRATA.items()
    }
    result = evaluate_cohort(cohort, Evaluation(bootstraps=2000), attributes=attributes)
    done = time.perf_counter()
    print(
        f"\n{N_SCANS} scans, {cohort.candidates.scan.size} candidates, {cohort.truths.scan.size} true lesions: "
        f"tables made and read {built - start:.1f} s, evaluated {done - built:.1f} s "
        f"({time.process_time() - before:.1f} s of processor), {len(result.figures)} figures, "
        f"process {psutil.Process().memory_info().rss / 2**20:.0f} MiB, load {os.getloadavg()[0]:.1f}"
    )
