"""How an evaluation and the demo's tallies are printed, from stores and summaries made for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flows.cli.demo import tallies
from flows.cli.evaluation import compare_recipes
from flows.cli.evaluation_summary import print_evaluation
from pipeline.evaluate.evaluation import evaluate_store
from schemas.config import CohortConfig
from schemas.evaluation import Evaluation
from tests.pipeline.evaluate.little import RECIPE, LittleScan, make_store, truths


def test_parts_stand_side_by_side_and_their_difference_comes_first(capfd: pytest.CaptureFixture[str]) -> None:
    figure = {"unit": "lesion", "metric": "sensitivity", "value": 0.75, "low": 0.6, "high": 0.9, "interval": "wilson"}
    missing = figure | {"value": None, "low": None, "note": "not estimable: nothing"}
    recipe = {
        "patients": 40,
        "scans": {"ok": 36, "failed": 2, "excluded": 1, "missing": 4},
        "studies_without_reference": 5,
        "patients_of_part": {"external": 8, "internal": 32},
        "true_lesions": 90,
        "scans_in_no_part": 0,
        "sites_in_several_parts": ["north", "south"],
        "parts": {"external": [missing], "internal": [figure | {"numerator": 30.0, "denominator": 40.0}]},
        "drops": [figure | {"metric": "drop_sensitivity", "value": -0.1, "low": -0.2, "high": 0.05}],
    }
    reader = figure | {"metric": "reader_dice", "value": 0.8, "low": None}
    print_evaluation(
        {
            "recipes": {"r1": recipe},
            "readers": [reader],
            "references": {"ok": 8, "unplaced": 1, "failed": 2},
            "reference_reasons": {"mask_grid": 2},
            "references_not_compared": 7,
            "lesions_outside_their_volume": 3,
            "annotation": {"not_stated": []},
            "comparisons": [
                {"recipe": "r2", "against": "r1", "split": "external"} | figure | {"metric": "difference_f1"},
            ],
        }
    )
    out = capfd.readouterr().out
    assert out.startswith("lesion sensitivity, from internal to external: -0.10 (-0.20 to +0.05)")
    assert out.index("internal  ") < out.index("external  ")
    assert "0.75 (0.60 to 0.90), 30 of 40" in out
    assert "not estimable: nothing" in out
    assert "lesion F1" in out
    assert "Of 43 scans with a reference 36 have a result; 1 excluded, 2 failed: their lesions count as missed" in out
    assert "4 scans with a reference not processed yet" in out
    assert "5 studies have a result but no reference" in out
    assert "take those of a patient for unrelated" in out
    assert "Dice of lesions that both readers drew" in out
    assert "8 annotations read; 1 of scans that have no volume; 2 could not be read (mask_grid 2)" in out
    assert "7 further series with a reference" in out
    assert "In more than one part: north, south." in out
    assert "Only 8 patients in external: the intervals are wide" in out


def test_recipes_that_share_no_scan_do_not_end_the_comparison(tmp_path: Path) -> None:
    """Such as those of two modalities: all the evaluation was lost for the one."""
    box = (9, 8, 8, 12, 14, 14)
    scans = [LittleScan(name, f"p{name}", truth=(box,), found=((box, 0.9),)) for name in ("a", "b")]
    store = make_store(tmp_path, scans)
    make_store(tmp_path, scans[:1], recipe_id="b" * 16, store=store)
    failed = [replace(scan, status="failed") for scan in scans]
    make_store(tmp_path, failed, recipe_id="c" * 16, store=store)
    config = CohortConfig(source="x", store=store.uri, evaluation=Evaluation(bootstraps=100))
    evaluate_store(store, config, truths=truths(tmp_path, scans))
    rows = compare_recipes(config, RECIPE, [RECIPE, "b" * 16, "c" * 16])
    by_recipe = {recipe: [row for row in rows if row["recipe"] == recipe] for recipe in ("b" * 16, "c" * 16)}
    assert {row["value"] for row in by_recipe["b" * 16] if row["metric"] == "difference_sensitivity"} == {0.0}
    (none,) = by_recipe["c" * 16]
    assert "share no scan" in none["note"]


def test_a_demo_over_an_older_recipe_counts_its_own_lesions(tmp_path: Path) -> None:
    upper, lower = (9, 8, 8, 12, 14, 14), (3, 20, 20, 6, 26, 26)
    older = [LittleScan("a", "pa", found=((upper, 0.9), (lower, 0.8))), LittleScan("b", "pb")]
    store = make_store(tmp_path, older)
    newer = [LittleScan("a", "pa", found=((lower, 0.9),)), LittleScan("b", "pb")]
    make_store(tmp_path, newer, recipe_id="b" * 16, store=store)
    levels, counts = tallies(store.uri, ["b" * 16])
    assert [(row["level"], row["lesions"]) for row in levels] == [("L2", 1)]
    assert counts == {"patients": 2, "series": 2, "scans": 2, "lesions": 1}
