"""The worked questions have answers, and where the answer can be worked out by hand it is that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.query import run_query
from pipeline.query.examples import EXAMPLES
from pipeline.store import Store
from schemas.columns import table
from schemas.edges import EDGES
from tests.conftest import ROOT
from tests.pipeline.query.rows import add_scans, add_series, attempt, lesion, scan, series, vertebra

SECOND = series("p-s-a")["study_date_shifted"].replace(month=4)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """The answers about two patients, one of them scanned twice, under two recipes."""
    store = Store.create(str(tmp_path_factory.mktemp("examples") / "store"), cohort="test")
    _fill(store)
    return {example.title: run_query(store, example.sql).to_pylist() for example in EXAMPLES}


def _fill(store: Store) -> None:
    device = {"manufacturer": "A", "manufacturer_model_name": "One", "convolution_kernel": ["B30f"]}
    add_series(
        store,
        series("p1-s1-a", **device),
        series("p1-s2-a", study_date_shifted=SECOND, **device),
        series("p2-s3-a", **device),
        series("p3-s4-a", status="quarantined", reason_code="gap", reason="2 of 80 slices are missing"),
    )
    levels = [vertebra("L1", n_lesions=1, lesion_load_mm3=100.0, dominant_type="lytic"), vertebra("T12")]
    far = lesion(2, level="T12", volume_mm3=50.0, centroid_mm=[1.0, 2.0, 90.0], score_max=0.6)
    near = lesion(1, score_max=0.85)
    candidates = [{"score_max": 0.45, "why_not": "threshold"}, {"score_max": 0.95, "why_not": "min_volume"}]
    add_scans(
        store,
        scan("p1-s1-a", [near], vertebrae=levels, candidates=candidates, device="cpu", backend="torch"),
        scan("p1-s2-a", [near, far], vertebrae=levels, device="cpu", backend="torch"),
        scan("p2-s3-a", [near], vertebrae=levels, device="cpu", backend="torch", seconds_total=5.0),
    )
    moved = lesion(1, centroid_mm=[1.0, 2.0, 5.0], volume_mm3=110.0)
    add_scans(store, scan("p1-s1-a", [moved], recipe_id="r2"), scan("p2-s3-a", [], recipe_id="r2"))
    store.write_table(
        "clinical/1.parquet", pa.table({"patient_key": ["p1", "p2"], "primary_tumour": ["lung", "breast"]})
    )
    pair = {"pair_id": "x", "recipe_id": "r1", "patient_key": "p1", "modality": "CT"}
    ends = {"study_key_0": "p1-s1", "study_key_1": "p1-s2", "series_key_0": "p1-s1-a", "series_key_1": "p1-s2-a"}
    common = pair | ends | {"attempt_0": attempt(1), "attempt_1": attempt(1)}
    edges = [
        {"event": 1, "state": "stable", "n_0": 1, "n_1": 1, "lesion_id_0": 1, "lesion_id_1": 1, "volume_change": 0.0},
        {"event": 2, "state": "new", "n_0": 0, "n_1": 1, "lesion_id_1": 2, "level": "T12", "event_volume_1_mm3": 50.0},
    ]
    store.write_table("changes/recipe=r1/x.parquet", table([common | edge for edge in edges], EDGES))


def test_there_are_ten_and_each_has_an_answer(asked: dict[str, list[dict[str, Any]]]) -> None:
    assert len(asked) == len(EXAMPLES) == 10
    assert all(asked.values())


@pytest.mark.parametrize(
    ("title", "answer"),
    [
        (
            "by primary tumour",
            [
                {"recipe": "r1", "primary_tumour": "lung", "lesions": 2},
                {"recipe": "r1", "primary_tumour": "breast", "lesions": 1},
                {"recipe": "r2", "primary_tumour": "lung", "lesions": 1},
                {"recipe": "r2", "primary_tumour": "breast", "lesions": 0},
            ],
        ),
        ("levels are involved", [{"level": "L1", "seen": 3, "percent": 100.0}, {"level": "T12", "percent": 0.0}]),
        ("became of the lesions", [{"state": "new", "events": 1}, {"state": "stable", "patients": 1}]),
        ("180 days", [{"patient": "p1", "study_day": 91, "new_lesions": 1, "volume_mm3": 50.0, "levels": ["T12"]}]),
        ("scanners differ", [{"manufacturer": "A", "scans": 3, "slice_mm": 1.0}, {"recipe": "r2", "scans": 2}]),
        (
            "two recipes",
            [
                {"series": "p2-s3-a", "level": "L1", "volume_a_mm3": 100.0, "volume_b_mm3": None},
                {"series": "p1-s1-a", "level": "L1", "volume_a_mm3": 100.0, "volume_b_mm3": 110.0},
            ],
        ),
        ("cost", [{"scans": 3, "seconds_per_scan": 3.0}, {"scans": 2, "device": None}]),
        ("left out", [{"stage": "ingest", "reason_code": "gap", "series": 1}]),
        ("thresholds", [{"threshold": 0.3, "found": 5}, {"found": 5}, {"found": 4}, {"found": 4}, {"found": 3}]),
        ("unstable", [{"patient": "p1", "level": "L1", "sins_min": 5}]),
    ],
)
def test_answers_are_those_worked_out_by_hand(
    asked: dict[str, list[dict[str, Any]]], title: str, answer: list[dict[str, Any]]
) -> None:
    (rows,) = (rows for name, rows in asked.items() if title in name)
    assert len(rows) >= len(answer)
    for row, expected in zip(rows, answer, strict=False):
        assert row | expected == row


def test_they_read_on_an_empty_store_too(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"), cohort="test")
    store.write_table("clinical/1.parquet", pa.table({"patient_key": pa.array([], pa.string()), "primary_tumour": []}))
    for example in EXAMPLES:
        run_query(store, example.sql)


def test_the_readme_asks_the_same_questions() -> None:
    readme = (ROOT / "README.md").read_text()
    for example in EXAMPLES:
        assert f"<summary>{example.title}</summary>" in readme, "run `make questions`"
        assert f"```sql\n{example.sql.strip()}\n```\n```\n" in readme, "run `make questions`"
