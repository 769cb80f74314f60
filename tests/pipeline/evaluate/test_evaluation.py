"""From a small real store to figures that can be worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError, RequestError
from pipeline.evaluate.evaluation import compare_store, evaluate_store
from pipeline.evaluate.sources import Assignment, TruthSource
from pipeline.evaluate.tables import read_compared, read_references
from pipeline.store import Store
from schemas.config import CohortConfig
from schemas.evaluation import METRICS, SITE_METRICS, Evaluation
from tests.pipeline.evaluate.little import RECIPE, Box, LittleScan, make_store, truths

CONFIG = CohortConfig(source="nowhere", store="nowhere")
QUICK = Evaluation(bootstraps=200)

UPPER: Box = (9, 8, 8, 12, 14, 14)
UPPER_SHIFTED: Box = (9, 9, 8, 12, 15, 14)  # five of seven rows in common: IoU 5/7
LOWER: Box = (3, 20, 20, 6, 26, 26)
ELSEWHERE: Box = (3, 8, 28, 5, 11, 31)

SCANS = [
    LittleScan("a1", "pa", truth=(UPPER, LOWER), found=((UPPER_SHIFTED, 0.9), (ELSEWHERE, 0.6)), below=((LOWER, 0.3),)),
    LittleScan("b1", "pb", truth=(), found=(), below=((ELSEWHERE, 0.2),)),
    LittleScan("c1", "pc", truth=(LOWER,), found=((LOWER, 0.8),)),
    LittleScan("d1", "pd", truth=(UPPER,), status="failed"),
    LittleScan("e1", "pe", truth=(UPPER, LOWER), status="quarantined"),
]
"""Per protocol: 3 true lesions of which 2 are found, 1 false positive in 3 scans; 3 more lesions in failed scans."""


def figures(store: Store, name: str = "metrics", recipe_id: str = RECIPE) -> list[dict[str, Any]]:
    paths = store.list(f"truth/tables/{name}")
    chosen = [path for path in paths if f"/{recipe_id}-" in path][-1]
    return store.read_table(chosen).to_pylist()


def value(rows: list[dict[str, Any]], unit: str, metric: str, **keys: Any) -> Any:
    keys = {"subgroup": "all", "stratum": None} | keys
    found = {
        r["value"]
        for r in rows
        if r["unit"] == unit and r["metric"] == metric and all(r[k] == v for k, v in keys.items())
    }
    assert len(found) == 1, (metric, found)
    return found.pop()


def row(rows: list[dict[str, Any]], unit: str, metric: str, **keys: Any) -> dict[str, Any]:
    keys = {"subgroup": "all"} | keys
    (found,) = [
        r for r in rows if r["unit"] == unit and r["metric"] == metric and all(r[k] == v for k, v in keys.items())
    ]
    return found


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Any], list[TruthSource]]:
    folder = tmp_path_factory.mktemp("evaluated")
    store = make_store(folder, SCANS)
    sources = truths(folder, SCANS)
    return store, evaluate_store(store, CONFIG, truths=sources, settings=QUICK), sources


def test_figures_at_the_threshold(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    rows = figures(evaluated[0])
    rule = {"rule": "iou>=0.1"}
    assert value(rows, "lesion", "sensitivity", **rule) == pytest.approx(2 / 3)
    assert value(rows, "lesion", "false_positives_per_scan", **rule) == pytest.approx(1 / 3)
    assert value(rows, "lesion", "false_positives_per_lesion", **rule) == pytest.approx(1 / 3)
    assert value(rows, "lesion", "false_positives_per_negative_scan", **rule) == 0
    assert value(rows, "lesion", "precision", **rule) == pytest.approx(2 / 3)
    assert value(rows, "lesion", "f1", **rule) == pytest.approx(2 / 3)
    assert value(rows, "lesion", "dice_of_found", **rule) == pytest.approx((2 * 5 / 12 + 1) / 2)
    mean = row(rows, "lesion", "dice_of_found")
    assert (mean["numerator"], mean["denominator"]) == (None, 2), "masks against themselves were `1.00, 14 of 14`"


def test_failed_scans_stay_in_the_denominator_of_one_sensitivity(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    rows = figures(evaluated[0])
    of_all = row(rows, "lesion", "sensitivity_all_scans", interval="wilson")
    assert (of_all["numerator"], of_all["denominator"]) == (2, 6)
    patients = row(rows, "patient", "sensitivity_all_scans")
    assert (patients["numerator"], patients["denominator"]) == (2, 4)


def test_froc_comes_from_the_kept_candidates(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    """In order: 0.9 hits, 0.8 hits, 0.6 is false, 0.3 hits the last lesion (by its box), 0.2 is false."""
    rows = figures(evaluated[0])
    expected = [2 / 3, 2 / 3, 2 / 3 + (1 / 3) * (0.5 - 1 / 3) * 0, 1, 1, 1, 1]
    got = [value(rows, "lesion", f"froc_at_{rate:g}") for rate in (0.125, 0.25, 0.5, 1, 2, 4, 8)]
    # at 1/3 false positives per scan both 2/3 and 1 are reached
    assert got[0] == pytest.approx(expected[0])
    assert got[3:] == [1.0] * 4
    assert got[2] == pytest.approx(1.0)
    assert value(rows, "lesion", "average_precision") == pytest.approx(1 / 3 + 1 / 3 + (1 / 3) * 3 / 4)


def test_vertebrae_and_patients(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    rows = figures(evaluated[0])
    # vertebrae with truth: a L1, a L2, c L2; called: a L1, a L2 (the false one lies there), c L2
    assert value(rows, "vertebra", "sensitivity") == 1.0
    assert value(rows, "vertebra", "specificity") == 1.0
    assert value(rows, "vertebra", "auroc") == 1.0
    notes = {r["note"] for r in rows if r["unit"] == "vertebra" and r["metric"] == "auroc" and r["note"]}
    assert any("no interval" in note for note in notes)
    assert value(rows, "patient", "sensitivity") == 1.0
    assert value(rows, "patient", "specificity") == 1.0
    of_patients = {r["note"] for r in rows if (r["unit"], r["metric"], r["subgroup"]) == ("patient", "auroc", "all")}
    assert "no interval: 2 positive and 1 negative cases" in of_patients


def test_sizes_types_and_levels(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    rows = figures(evaluated[0])
    by_level = {
        r["stratum"]: (r["numerator"], r["denominator"])
        for r in rows
        if r["subgroup"] == "level" and r["interval"] == "wilson"
    }
    assert by_level == {"L1": (1, 1), "L2": (1, 2)}
    assert {r["stratum"] for r in rows if r["subgroup"] == "region"} == {"lumbar"}
    assert {r["stratum"] for r in rows if r["subgroup"] == "size" and r["rule"] == "iou>=0.1"} == {"5-10 mm"}
    assert {r["stratum"] for r in rows if r["subgroup"] == "type"} <= {"lytic", "blastic", "mixed", "indeterminate"}


def test_the_rule_matters_and_the_table_shows_it(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    rows = figures(evaluated[0])
    by_rule = {r["rule"]: r["value"] for r in rows if r["subgroup"] == "rule" and r["metric"] == "sensitivity"}
    assert by_rule["iou>=0.5"] == pytest.approx(2 / 3)
    assert set(by_rule) >= {"centroid_inside", "radius", "overlap", "iou>=0.25", "iou>=0.1 extra ignored"}


def test_every_pair_is_stored(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    scans, matches, levels = read_compared(evaluated[0], RECIPE)
    assert scans.num_rows == 5
    assert scans["status"].to_pylist().count("ok") == 3
    of_a = [r for r in matches.to_pylist() if r["series_key"] == "a1"]
    assert {(r["truth_id"], r["candidate_id"]) for r in of_a} == {(t, c) for t in (1, 2) for c in (1, 2, 3)}
    pair = next(r for r in of_a if (r["truth_id"], r["candidate_id"]) == (1, 1))
    assert pair["iou"] == pytest.approx(5 / 7)
    assert pair["overlap_of"] == "voxels"
    assert pair["centroid_distance_mm"] == pytest.approx(1.0)
    assert pair["truth_level"] == pair["candidate_level"] == "L1"
    kept = next(r for r in of_a if (r["truth_id"], r["candidate_id"]) == (2, 3))
    assert (kept["overlap_of"], kept["iou"], kept["is_lesion"]) == ("boxes", 1.0, False)
    assert [(r["truth_id"], r["candidate_id"]) for r in matches.to_pylist() if r["series_key"] == "b1"] == [(None, 1)]
    assert levels.num_rows == 6


def test_hits_are_marked_in_the_table(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    _, matches, _ = read_compared(evaluated[0], RECIPE)
    hits = {(r["series_key"], r["truth_id"], r["candidate_id"]) for r in matches.to_pylist() if r["hit"]}
    ranked = {(r["series_key"], r["truth_id"], r["candidate_id"]) for r in matches.to_pylist() if r["hit_ranked"]}
    assert hits == {("a1", 1, 1), ("c1", 1, 1)}
    assert ranked == hits | {("a1", 2, 3)}


def test_the_summary_is_json_and_says_what_is_not_stated(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    summary = json.loads(json.dumps(evaluated[1]))
    assert summary["references"] == {"ok": 4, "unplaced": 1, "failed": 0}
    assert summary["annotation"]["not_stated"] == ["annotated_by", "readers", "experience", "blinded", "annotated_on"]
    recipe = summary["recipes"][RECIPE]
    assert recipe["scans"] == {"ok": 3, "failed": 1, "quarantined": 1}
    assert recipe["true_lesions"] == 6
    main = {(f["unit"], f["metric"]) for f in recipe["parts"]["all"]}
    assert {("lesion", "sensitivity"), ("lesion", "froc_score"), ("patient", "sensitivity")} <= main


def test_nothing_is_read_or_compared_twice(evaluated: tuple[Store, dict[str, Any], list[TruthSource]]) -> None:
    store, _, sources = evaluated
    before = [p for p in store.list("truth/tables") if "/references/" in p or "/scans/" in p]
    first = figures(store)
    evaluate_store(store, CONFIG, truths=sources, settings=QUICK)
    assert [p for p in store.list("truth/tables") if "/references/" in p or "/scans/" in p] == before
    again = figures(store)
    drop: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = lambda rows: [r | {"attempt": ""} for r in rows]  # noqa: E731
    assert drop(first) == drop(again)


def test_tables_have_their_declared_columns(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    store = evaluated[0]
    for name, schema in (("metrics", METRICS), ("site_metrics", SITE_METRICS)):
        path = store.list(f"truth/tables/{name}")[-1]
        assert store.read_table(path).schema.names == schema.names


def test_points_are_hit_within_their_radius(tmp_path: Path) -> None:
    centre = (-20 + 10.5, -30 + 10.5, 100 + 10 * 3.0)
    far = (-20 + 35.0, -30 + 35.0, 100 + 4 * 3.0)
    outside = (500.0, 0.0, 0.0)
    scans = [LittleScan("a1", "pa", found=((UPPER, 0.9),), points=((*centre, 4.0), (*far, 4.0), (*outside, 4.0)))]
    store = make_store(tmp_path, scans)
    summary = evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), settings=QUICK)
    assert summary["lesions_outside_their_volume"] == 1
    assert value(figures(store), "lesion", "sensitivity", rule="iou>=0.1") == 0.5
    assert row(figures(store), "lesion", "dice_of_found")["note"] == "not estimable: nothing to divide by"


def test_eight_reconstructions_of_one_scan_are_one_scan(tmp_path: Path) -> None:
    one = [LittleScan(f"r{i}", "pa", truth=(UPPER,), found=((UPPER, 0.9),)) for i in range(8)]
    scans = [*one, LittleScan("b", "pb", truth=(LOWER,))]
    store = make_store(tmp_path, scans)
    evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), settings=QUICK)
    found = row(figures(store), "lesion", "sensitivity", interval="wilson", rule="iou>=0.1")
    assert (found["numerator"], found["denominator"]) == (1, 2)
    assert (found["n_patients"], found["n_scans"]) == (2, 2)


def test_parts_are_never_put_together_and_the_drop_is_given(tmp_path: Path) -> None:
    scans = []
    for i in range(12):
        split = "internal" if i < 6 else "external"
        found = ((UPPER, 0.9 - i / 100),) if split == "internal" or i % 2 else ()
        truth = (UPPER,) if i % 6 < 4 else ()
        columns = {"patient_age": 50.0 + i, "manufacturer": "A" if i % 2 else "B"}
        scans.append(
            LittleScan(f"s{i:02}", f"p{i:02}", truth, found, split=split, site=f"site{i % 3}", columns=columns)
        )
    store = make_store(tmp_path, scans)
    summary = evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), settings=QUICK)
    rows = figures(store)
    assert set(summary["recipes"][RECIPE]["parts"]) == {"internal", "external"}
    assert {r["split"] for r in rows} == {"internal", "external", "internal to external"}
    told = {r["subgroup"]: r for r in rows if r["metric"] == "standardised_difference"}
    assert told["patient_age"]["note"] == "52.5 (SD 1.87); then 58.5 (SD 1.87)"
    assert told["patient_age"]["value"] == pytest.approx(6 / np.sqrt(3.5))
    assert told["prevalence"]["note"] == "with disease 67%, without 33%; then with disease 67%, without 33%"
    assert told["kvp"]["note"] == "not estimable: fewer than two cases: no case; then no case"
    assert told["slice_spacing_mm"]["value"] == 0.0
    assert value(rows, "lesion", "sensitivity", split="internal", rule="iou>=0.1") == 1.0
    assert value(rows, "lesion", "sensitivity", split="external", rule="iou>=0.1") == 0.5
    assert value(rows, "lesion", "drop_sensitivity") == -0.5
    assert {"age_band", "manufacturer", "site"} <= {r["subgroup"] for r in rows}
    mix = {r["subgroup"]: r["value"] for r in rows if r["metric"] == "standardised_difference"}
    assert mix["manufacturer"] == pytest.approx(0)
    assert mix["patient_age"] > 1
    sites = figures(store, "site_metrics")
    listed = [r for r in sites if (r["unit"], r["metric"], r["split"]) == ("patient", "sensitivity", "external")]
    assert [r["kind"] for r in listed] == ["site"] * 3 + ["pooled"]
    assert listed[-1]["value"] is None or listed[-1]["low"] is not None


def test_a_split_that_leaks_is_refused(tmp_path: Path) -> None:
    scans = [LittleScan("a1", "pa", truth=(UPPER,)), LittleScan("a2", "pa", truth=(UPPER,), study="other")]
    store = make_store(tmp_path, scans)
    parts = [Assignment("a1", "pa", "internal"), Assignment("a2", "pa", "external")]
    with pytest.raises(ConfigError, match="1 patients"):
        evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), parts=parts, settings=QUICK)
    assert store.list("truth") == []


def test_no_reference_no_result_and_no_lesion_are_clear(tmp_path: Path) -> None:
    scans = [LittleScan("a1", "pa"), LittleScan("b1", "pb", found=((UPPER, 0.5),))]
    store = make_store(tmp_path, scans)
    with pytest.raises(RequestError, match="no reference standard"):
        evaluate_store(store, CONFIG, truths=[])
    with pytest.raises(RequestError, match="has no result in this store"):
        evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), recipe_ids=["f" * 16])
    evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), settings=QUICK)
    rows = figures(store)
    sensitivity = row(rows, "lesion", "sensitivity", interval=None, rule="iou>=0.1", n_scans=2, numerator=0)
    assert sensitivity["value"] is None
    assert row(rows, "patient", "auroc")["note"] == "not estimable: 0 positive and 2 negative cases"
    assert row(rows, "lesion", "froc_score")["note"] == "not estimable: there is no true lesion"
    assert value(rows, "lesion", "false_positives_per_scan", rule="iou>=0.1") == 0.5


def test_masks_without_scores_have_no_froc(tmp_path: Path) -> None:
    scans = [LittleScan("a1", "pa", truth=(UPPER,), found=((UPPER, None),)), LittleScan("b1", "pb", truth=(LOWER,))]
    store = make_store(tmp_path, scans)
    evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), settings=QUICK)
    rows = figures(store)
    assert value(rows, "lesion", "sensitivity", rule="iou>=0.1") == 0.5
    assert row(rows, "lesion", "froc_score")["note"] == "not estimable: masks without scores cannot be ranked"


def test_truth_of_another_place_is_a_row_with_its_reason(tmp_path: Path) -> None:
    import SimpleITK as sitk

    scans = [LittleScan("a1", "pa", truth=(UPPER,), found=((UPPER, 0.9),)), LittleScan("b1", "pb", truth=(UPPER,))]
    store = make_store(tmp_path, scans)
    sources = truths(tmp_path, scans)
    far = sitk.ReadImage(str(sources[1].uri))
    far.SetOrigin((900.0, 0.0, 0.0))
    sitk.WriteImage(far, str(sources[1].uri))
    summary = evaluate_store(store, CONFIG, truths=sources, settings=QUICK)
    assert summary["references"]["failed"] == 1
    assert summary["reference_reasons"] == {"mask_grid": 1}
    assert summary["recipes"][RECIPE]["unreadable_references"] == 1
    assert "does not meet the scan" in str(read_references(store)["reason"].to_pylist())


def test_two_readers_agree_as_far_as_they_do(tmp_path: Path) -> None:
    first = [
        LittleScan("a1", "pa", truth=(UPPER, LOWER)),
        LittleScan("b1", "pb"),
        LittleScan("c1", "pc", truth=(LOWER,)),
    ]
    second = [
        LittleScan("a1", "pa", truth=(UPPER_SHIFTED,)),
        LittleScan("b1", "pb"),
        LittleScan("c1", "pc", truth=(LOWER,)),
    ]
    store = make_store(tmp_path, first)
    sources = truths(tmp_path, first) + truths(tmp_path, second, reader="2")
    summary = evaluate_store(store, CONFIG, truths=sources, settings=QUICK)
    found = {f["metric"]: f for f in summary["readers"]}
    assert found["reader_detection_agreement"]["value"] == pytest.approx(2 * 2 / 5)
    assert found["reader_dice"]["value"] == pytest.approx((2 * 5 / 12 + 1) / 2)
    assert found["reader_kappa_scan"]["value"] == 1.0
    assert found["reader_dice"]["note"] == "no interval: fewer than 10 patients"
    held = row(figures(store), "lesion", "sensitivity", interval="wilson", rule="iou>=0.1")
    assert held["denominator"] == 3, "the first reader's lesions are the reference standard"
    assert read_compared(store, RECIPE)[1]["truth_id"].null_count == 0


def test_agreement_of_readers_has_an_interval_over_patients(tmp_path: Path) -> None:
    first, second = (
        [
            LittleScan(f"s{i:02}", f"p{i:02}", truth=(UPPER, LOWER) if both or i % 2 else (UPPER_SHIFTED,))
            for i in range(14)
        ]
        for both in (True, False)
    )
    store = make_store(tmp_path, first)
    sources = truths(tmp_path, first) + truths(tmp_path, second, reader="2")
    found = {f["metric"]: f for f in evaluate_store(store, CONFIG, truths=sources, settings=QUICK)["readers"]}
    agreed = found["reader_detection_agreement"]
    assert (agreed["numerator"], agreed["denominator"]) == (2 * 21, 28 + 21)
    assert agreed["low"] < agreed["value"] < agreed["high"] <= 1
    assert agreed["interval"] == found["reader_dice"]["interval"] == "bootstrap_patient"
    assert found["reader_dice"]["value"] == pytest.approx((14 * 1 + 7 * 10 / 12) / 21)


def test_recipes_are_compared_pair_by_pair(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    scans, better = [], []
    for i in range(30):
        truth = (UPPER,) if i % 2 else ()
        weak = ((UPPER, float(generator.uniform(0.2, 0.9))),) if generator.random() < 0.5 else ()
        strong = ((UPPER, float(0.6 + 0.3 * generator.random() * (i % 2))),) if i % 2 else ()
        scans.append(LittleScan(f"s{i:02}", f"p{i:02}", truth, weak))
        better.append(LittleScan(f"s{i:02}", f"p{i:02}", truth, strong))
    store = make_store(tmp_path, scans)
    make_store(tmp_path, better, recipe_id="b" * 16, store=store)
    evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), settings=QUICK)
    rows = compare_store(store, RECIPE, "b" * 16, settings=QUICK)
    found = {r["metric"]: r for r in rows}
    assert found["difference_sensitivity"]["value"] > 0.2
    assert found["difference_sensitivity"]["low"] > 0
    assert found["difference_auroc"]["value"] > 0.2
    assert "DeLong" in found["difference_auroc"]["note"]
    assert found["difference_false_positives_per_scan"]["high"] < 0
    assert {r["split"] for r in rows} == {"all"}
    nothing = {r["metric"]: r["value"] for r in compare_store(store, RECIPE, RECIPE, settings=QUICK)}
    assert {value for value in nothing.values() if value is not None} == {0.0}
    with pytest.raises(RequestError, match="has not been evaluated"):
        compare_store(store, RECIPE, "c" * 16)


def test_recipes_are_compared_within_a_part_of_the_cohort(tmp_path: Path) -> None:
    """Better in every patient of one part, worse in every one of the other: together they would be equal."""
    scans, other = [], []
    for i in range(24):
        keys = {
            "name": f"s{i:02}",
            "patient": f"p{i:02}",
            "truth": (UPPER,),
            "split": "internal" if i < 12 else "external",
        }
        scans.append(LittleScan(**keys, found=((UPPER, 0.9),) if i < 12 else ()))
        other.append(LittleScan(**keys, found=((UPPER, 0.9),) if i >= 12 else ()))
    store = make_store(tmp_path, scans)
    make_store(tmp_path, other, recipe_id="b" * 16, store=store)
    evaluate_store(store, CONFIG, truths=truths(tmp_path, scans), settings=QUICK)
    rows = compare_store(store, RECIPE, "b" * 16, settings=QUICK)
    found = {r["split"]: r["value"] for r in rows if r["metric"] == "difference_sensitivity"}
    assert found == {"internal": -1.0, "external": 1.0}


def test_a_result_that_fails_later_leaves_the_hits(tmp_path: Path) -> None:
    """What was compared before is no longer counted when a newer row stands for the scan."""
    scans = [
        LittleScan("a1", "pa", truth=(UPPER,), found=((UPPER, 0.9),)),
        LittleScan("b1", "pb", truth=(UPPER,), found=((UPPER, 0.9),)),
    ]
    store = make_store(tmp_path, scans)
    sources = truths(tmp_path, scans)
    evaluate_store(store, CONFIG, truths=sources, settings=QUICK)
    assert value(figures(store), "lesion", "sensitivity", rule="iou>=0.1") == 1.0
    make_store(tmp_path, [LittleScan("b1", "pb", truth=(UPPER,))], store=store)
    evaluate_store(store, CONFIG, truths=sources, settings=QUICK)
    assert value(figures(store), "lesion", "sensitivity", rule="iou>=0.1") == 0.5
    assert isinstance(read_compared(store, RECIPE)[1], pa.Table)


def test_subgroups_are_by_any_column_and_a_wrong_name_is_refused(tmp_path: Path) -> None:
    """Numbers and lists are strata as well as texts; a number once ended the evaluation with an IndexError."""
    scans = [
        LittleScan("a1", "pa", truth=(UPPER,), found=((UPPER, 0.9),), columns={"kvp": 120.0, "image_type": ["A", "B"]}),
        LittleScan("b1", "pb", truth=(UPPER,), columns={"kvp": 100.0, "image_type": ["A", "B"]}),
        LittleScan("c1", "pc", truth=(UPPER,), columns={"kvp": None}),
    ]
    store = make_store(tmp_path, scans)
    sources = truths(tmp_path, scans)
    by = Evaluation(bootstraps=100, subgroups=["kvp", "image_type"])
    evaluate_store(store, CONFIG, truths=sources, settings=by)
    found = {
        (r["subgroup"], r["stratum"]): (r["numerator"], r["denominator"])
        for r in figures(store)
        if r["metric"] == "sensitivity" and r["unit"] == "lesion" and r["subgroup"] in ("kvp", "image_type")
    }
    assert found == {("kvp", "120.0"): (1, 1), ("kvp", "100.0"): (0, 1), ("image_type", "[A, B]"): (1, 2)}
    with pytest.raises(ConfigError, match=r"'kpv' is no column of the view `series`; did you mean kvp"):
        evaluate_store(store, CONFIG, truths=sources, settings=Evaluation(subgroups=["kpv"]))


def test_a_reader_of_points_is_not_held_against_one_of_masks(tmp_path: Path) -> None:
    """Their lesions have no voxels in common to match by: that was once an agreement of 0."""
    place = (-20 + 10.5, -30 + 10.5, 100 + 10 * 3.0, 4.0)
    by_points = [LittleScan("a1", "pa", points=(place,)), LittleScan("b1", "pb", truth=(LOWER,))]
    by_masks = [LittleScan("a1", "pa", truth=(UPPER,)), LittleScan("b1", "pb", truth=(LOWER,))]
    store = make_store(tmp_path, by_masks)
    sources = truths(tmp_path, by_points) + truths(tmp_path, by_masks, reader="2")
    summary = evaluate_store(store, CONFIG, truths=sources, settings=QUICK)
    found = {f["metric"]: f for f in summary["readers"]}
    assert found["reader_detection_agreement"]["value"] == 1.0
    assert found["reader_detection_agreement"]["denominator"] == 2
    nobody = evaluate_store(store, CONFIG, truths=[sources[0], sources[2]], settings=QUICK)
    assert nobody["readers"] == []


def test_rules_have_the_interval_of_the_main_figure(evaluated: tuple[Store, dict[str, Any], Any]) -> None:
    kinds = {
        r["interval"]
        for r in figures(evaluated[0])
        if (r["subgroup"], r["metric"], r["rule"]) == ("rule", "sensitivity", "iou>=0.25")
    }
    assert "wilson" in kinds
