"""The views: their columns, and which rows they show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from pipeline.query import connect, describe, run_query
from pipeline.store import Store
from schemas.catalog import CATALOG
from schemas.spine import LEVELS
from schemas.views import VIEWS
from tests.pipeline.query.rows import add_scans, add_series, lesion, scan, series, vertebra

Ask = Callable[[Store, str], list[dict[str, Any]]]


def test_every_view_exists_and_is_empty_at_first(store: Store, ask: Ask) -> None:
    for view in set(VIEWS) - {"levels"}:
        assert ask(store, f"SELECT count(*) AS n FROM {view}") == [{"n": 0}]  # noqa: S608


@pytest.mark.parametrize("filled", [False, True])
def test_real_columns_are_the_described_ones(store: Store, filled: bool, ask: Ask) -> None:
    if filled:
        add_series(store, series("p1-s1-a"))
        add_scans(store, scan("p1-s1-a", [lesion(1)], vertebrae=[vertebra("L1")]))
    declared = describe().to_pylist()
    for view in VIEWS:
        real = ask(store, f"DESCRIBE {view}")
        expected = [(row["column"], row["type"]) for row in declared if row["view"] == view]
        assert [(row["column_name"], row["column_type"]) for row in real] == expected
    assert all(row["meaning"].endswith((".", ")")) for row in declared)


def test_the_documented_columns_are_there() -> None:
    documented = {
        "series": "series_key study_key patient_key series_uid_key frame_of_reference_key part part_reason version "
        "ingest_id modality study_day site status reason_code reason excluded_by is_primary shape spacing_mm origin_mm "
        "direction n_instances volume_uri voxels_sha256 source_bytes stored_bytes manufacturer kvp x_ray_tube_current",
        "scans": "recipe_id series_key study_key patient_key modality site study_day status reason_code reason "
        "n_lesions lesion_volume_mm3 n_levels_assessed seconds_read seconds_preprocess seconds_detect seconds_tally "
        "seconds_total peak_rss_mb n_concurrent device backend worker attempt finished_at",
        "lesions": "recipe_id series_key study_key patient_key modality site study_day lesion_id level level_fraction "
        "level2 level2_fraction lesion_type type_rule_id volume_mm3 area_mm2 long_axis_mm short_axis_mm diameter_plane "
        "centroid_mm bbox score_max score_mean intensity_unit hu_mean hu_p10 hu_p50 hu_p90 suv_max suv_mean suv_peak "
        "tlg_g touches_edge",
        "vertebrae": "recipe_id series_key study_key patient_key study_day level assessed n_lesions lesion_load_mm3 "
        "vertebra_volume_mm3 burden",
    }
    for view, names in documented.items():
        assert set(names.split()) <= set(VIEWS[view].names)


def test_rows_of_lesions_keep_their_own_values(cohort: Store, ask: Ask) -> None:
    rows = ask(cohort, "SELECT series_key, lesion_id, level, level2, centroid_mm, bbox FROM lesions ORDER BY ALL")
    assert len(rows) == 5
    assert rows[1] | {"centroid_mm": [1.0, 2.0, 3.0], "bbox": [0, 0, 0, 5, 5, 5]} == rows[1]
    assert [(r["series_key"], r["level"], r["level2"]) for r in rows if r["level"] == "T12"] == [
        ("p1-s2-a", "T12", "L1")
    ]


def test_a_scan_without_lesions_has_none_and_one_not_looked_at_is_null(store: Store, ask: Ask) -> None:
    add_series(store, series("p1-s1-a"), series("p2-s1-a"))
    add_scans(store, scan("p1-s1-a", []), scan("p2-s1-a", None))
    assert ask(store, "SELECT count(*) AS n FROM lesions") == [{"n": 0}]
    assert [r["n_lesions"] for r in ask(store, "SELECT n_lesions FROM studies ORDER BY study_key")] == [0, None]


def test_ok_counts_before_a_newer_failure(store: Store, ask: Ask) -> None:
    add_series(store, series("p1-s1-a"))
    add_scans(store, scan("p1-s1-a", [lesion(1)]), number=1)
    add_scans(store, scan("p1-s1-a", status="failed", reason_code="error", reason="x"), number=2)
    assert ask(store, "SELECT status, n_lesions FROM scans") == [{"status": "ok", "n_lesions": 1}]
    add_scans(store, scan("p1-s1-a", [lesion(1), lesion(2)]), number=3)
    assert ask(store, "SELECT n_lesions FROM scans") == [{"n_lesions": 2}]
    assert ask(store, "SELECT count(*) AS n FROM lesions") == [{"n": 2}]


def test_the_version_ingested_last_counts(store: Store, ask: Ask) -> None:
    add_series(store, series("p1-s1-a"), number=1)
    add_scans(store, scan("p1-s1-a", [lesion(1)]), number=1)
    add_series(store, series("p1-s1-a", version="v0"), number=2, shard="other")
    assert ask(store, "SELECT version FROM series") == [{"version": "v0"}]
    assert ask(store, "SELECT * FROM scans") == []
    add_scans(store, scan("p1-s1-a", [], version="v0"), number=3, shard="other")
    assert ask(store, "SELECT n_lesions FROM scans") == [{"n_lesions": 0}]


def test_a_late_quarantine_does_not_hide_what_was_read(store: Store, ask: Ask) -> None:
    add_series(store, series("p1-s1-a"), number=1)
    add_series(store, series("p1-s1-a", status="quarantined", reason_code="truncated"), number=2)
    assert ask(store, "SELECT status FROM series") == [{"status": "ok"}]
    assert ask(store, "SELECT * FROM failures") == []


def test_a_series_excluded_now_has_no_scan(store: Store, ask: Ask) -> None:
    add_series(store, series("p1-s1-a"), number=1)
    add_scans(store, scan("p1-s1-a", [lesion(1)]), number=1)
    add_series(store, series("p1-s1-a", status="excluded", excluded_by="thin"), number=2)
    assert ask(store, "SELECT status, excluded_by FROM series") == [{"status": "excluded", "excluded_by": "thin"}]
    assert ask(store, "SELECT * FROM scans") == []


def test_study_day_counts_from_the_first_study(store: Store, ask: Ask) -> None:
    add_series(
        store,
        series("p1-s1-a", study_date_shifted=date(2020, 2, 1)),
        series("p1-s2-a", study_date_shifted=date(2020, 3, 1)),
        series("p1-s3-a", study_date_shifted=None),
        series("p2-s4-a", study_date_shifted=date(2021, 1, 1)),
    )
    rows = ask(store, "SELECT study_key, study_day FROM series ORDER BY 1")
    assert [r["study_day"] for r in rows] == [0, 29, None, 0]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"preference": [0.0, 2.0]}, {"preference": [1.0, 0.0], "spacing_mm": [0.5, 1, 1]}),
        ({"preference": [3.0]}, {"preference": None, "spacing_mm": [0.5, 1, 1]}),
        ({"derived": None}, {"derived": "gantry_tilt", "spacing_mm": [0.5, 1, 1]}),
        ({"spacing_mm": [1.0, 1, 1]}, {"spacing_mm": [1.5, 1, 1], "shape": [900, 512, 512]}),
        ({"spacing_mm": [1.0, 1, 1]}, {"spacing_mm": None}),
        ({"shape": [200, 512, 512]}, {"shape": [100, 512, 512], "part": 0}),
        ({"part": 0}, {"part": 1}),
        ({"status": "ok", "spacing_mm": [9.0, 1, 1]}, {"status": "excluded"}),
    ],
)
def test_one_series_stands_for_its_study(store: Store, ask: Ask, better: dict[str, Any], worse: dict[str, Any]) -> None:
    add_series(store, series("p1-s1-b", **better), series("p1-s1-a", **worse), series("p1-s1-m", modality="MR"))
    rows = ask(store, "SELECT series_key FROM series WHERE is_primary ORDER BY 1")
    assert [r["series_key"] for r in rows] == ["p1-s1-b", "p1-s1-m"]


def test_counting_views_count_primary_series_only(cohort: Store, ask: Ask) -> None:
    studies = ask(cohort, "SELECT * FROM studies ORDER BY study_day")
    assert [(r["study_key"], r["series_key"], r["n_series"], r["n_lesions"]) for r in studies] == [
        ("p1-s1", "p1-s1-a", 2, 2),
        ("p1-s2", "p1-s2-a", 1, 2),
    ]
    first = studies[0]
    assert (first["n_lytic"], first["n_blastic"], first["n_mixed"]) == (1, 1, 0)
    assert (first["levels_involved"], first["n_levels_involved"]) == (["L1"], 1)
    assert (first["assessed_volume_mm3"], first["burden"]) == (2000.0, pytest.approx(0.05))
    (patient,) = ask(cohort, "SELECT * FROM patients")
    assert (patient["n_studies"], patient["n_lesions"], patient["last_n_lesions"]) == (2, 4, 2)
    assert (patient["first_study_day"], patient["last_study_day"]) == (0, 60)


def test_the_last_study_of_a_patient_is_the_last_with_a_result(store: Store, ask: Ask) -> None:
    for number, day in enumerate((1, 2, 3)):
        add_series(store, series(f"p1-s{number}-a", study_date_shifted=date(2020, 1, day)), shard=f"sh{number}")
    add_scans(store, scan("p1-s0-a", [lesion(1)]), shard="sh0")
    add_scans(store, scan("p1-s1-a", None), shard="sh1")
    add_scans(store, scan("p1-s2-a", status="failed", reason_code="error"), shard="sh2")
    (patient,) = ask(store, "SELECT * FROM patients")
    assert (patient["n_studies"], patient["n_studies_ok"]) == (3, 2)
    assert patient["last_n_lesions"] is None
    assert patient["n_lesions"] == 1


@pytest.mark.parametrize(
    ("lesions", "lytic", "involved"),
    [
        ([], 0, []),
        ([lesion(1, lesion_type=None)], None, ["L1"]),  # off CT, or without bone to compare with
        ([lesion(1, lesion_type=None), lesion(2)], 1, ["L1"]),
        ([lesion(1, lesion_type="mixed")], 0, ["L1"]),
        (None, None, None),
    ],
)
def test_what_was_not_judged_or_not_looked_for_is_not_counted_as_none(
    store: Store, ask: Ask, lesions: list[dict[str, Any]] | None, lytic: int | None, involved: list[str] | None
) -> None:
    n_lesions = None if lesions is None else len(lesions)
    levels = [vertebra("L1", n_lesions=n_lesions), vertebra("L2", n_lesions=n_lesions and 0)]
    add_series(store, series("p1-s1-a"))
    add_scans(store, scan("p1-s1-a", lesions, vertebrae=levels))
    (study,) = ask(store, "SELECT n_lytic, n_levels_involved, levels_involved FROM studies")
    n_involved = None if involved is None else len(involved)
    assert study == {"n_lytic": lytic, "n_levels_involved": n_involved, "levels_involved": involved}


def test_levels_out_of_view_stay_null_and_give_no_burden(store: Store, ask: Ask) -> None:
    unseen = {"n_lesions": None, "lesion_load_mm3": None, "vertebra_volume_mm3": None}
    levels = [
        vertebra("L1", assessed="absent", **unseen),
        vertebra("none", assessed="unknown", vertebra_volume_mm3=None),
    ]
    add_series(store, series("p1-s1-a"))
    add_scans(store, scan("p1-s1-a", [], vertebrae=levels))
    assert ask(store, "SELECT n_lesions FROM vertebrae WHERE level = 'L1'") == [{"n_lesions": None}]
    (study,) = ask(store, "SELECT burden, assessed_volume_mm3, n_levels_involved FROM studies")
    assert study == {"burden": None, "assessed_volume_mm3": None, "n_levels_involved": 0}


def test_regions_follow_the_level(store: Store, ask: Ask) -> None:
    add_series(store, series("p1-s1-a"))
    names = ["C3", "T13", "L6", "SACRUM", "V2", "none"]
    add_scans(store, scan("p1-s1-a", vertebrae=[vertebra(name) for name in names]))
    rows = ask(store, "SELECT level, region FROM vertebrae")
    assert {r["level"]: r["region"] for r in rows} == dict(
        zip(names, ["cervical", "thoracic", "lumbar", "sacral", None, None], strict=True)
    )


def test_levels_are_in_their_order(store: Store, ask: Ask) -> None:
    rows = ask(store, "FROM levels ORDER BY position")
    assert [r["level"] for r in rows] == [level.name for level in LEVELS]
    assert rows[0] == {"level": "C1", "position": 1, "region": "cervical", "snomed": "14806007"}


def test_failures_say_what_to_do(cohort: Store, ask: Ask) -> None:
    add_scans(
        cohort,
        scan("p1-s2-a", recipe_id="r2", status="failed", reason_code="error", reason="x"),
        scan("p2-s3-a", recipe_id="r2", status="quarantined", reason_code="gap", reason="2 of 80 slices are missing"),
    )
    rows = ask(cohort, "SELECT * FROM failures ORDER BY stage")
    assert [(r["stage"], r["recipe_id"], r["series_key"], r["reason_code"]) for r in rows] == [
        ("ingest", None, "p2-s3-a", "gap"),
        ("scan", "r2", "p1-s2-a", "error"),
    ]
    assert rows[0]["meaning"] == "Slices are missing."
    assert "on_gap" in rows[0]["what_to_do"]


def test_recipes_are_read_from_their_documents(store: Store, ask: Ask) -> None:
    document = {
        "recipe_id": "r1",
        "modality": "CT",
        "use": {"lesions": {"model": "m", "threshold": 0.4, "min_volume_mm3": None}},
        "models": {"lesions": [{"spec": {"name": "m", "version": "2"}, "digest": "d"}]},
    }
    store.create_once("recipes/r1.json", json.dumps(document).encode())
    (row,) = ask(store, "SELECT *, document->>'$.models.lesions[0].digest' AS digest FROM recipes")
    assert (row["recipe_id"], row["modality"], row["lesions_model"], row["levels_model"]) == ("r1", "CT", "m 2", None)
    assert (row["threshold"], row["min_volume_mm3"], row["digest"]) == (0.4, None, "d")


def test_clinical_columns_are_the_cohorts_own_and_the_last_write_counts(cohort: Store, ask: Ask) -> None:
    cohort.write_table("clinical/1.parquet", pa.table({"patient_key": ["p1", "p2"], "tumour": ["lung", "breast"]}))
    cohort.write_table("clinical/2.parquet", pa.table({"tumour": ["kidney"], "age": [61], "patient_key": ["p1"]}))
    assert ask(cohort, "FROM clinical ORDER BY 1") == [
        {"patient_key": "p1", "tumour": "kidney", "age": 61},
        {"patient_key": "p2", "tumour": "breast", "age": None},
    ]
    rows = ask(cohort, "SELECT tumour, sum(n_lesions) AS n FROM patients JOIN clinical USING (patient_key) GROUP BY 1")
    assert rows == [{"tumour": "kidney", "n": 4}]
    cohort.write_table("clinical/3.parquet", pa.table({"patient_key": ["p1"], "age": [62]}))
    assert ask(cohort, "FROM clinical ORDER BY 1") == [
        {"patient_key": "p1", "age": 62},
        {"patient_key": "p2", "age": None},
    ], "a column that was withdrawn"


def test_files_of_an_older_program_lack_columns_which_are_null(store: Store, ask: Ask) -> None:
    row = series("p1-s1-a") | {"shard": "sh", "attempt": "1"}
    older = pa.Table.from_pylist([row], CATALOG).drop_columns(["site", "kvp", "preference"])
    store.write_table("catalog/sh-1.parquet", older)
    add_series(store, series("p2-s1-a", kvp=120.0), number=2)
    rows = ask(store, "SELECT series_key, site, kvp, is_primary FROM series ORDER BY 1")
    assert [(r["site"], r["kvp"], r["is_primary"]) for r in rows] == [(None, None, True), ("north", 120.0, True)]


def test_a_connection_is_a_snapshot_and_stays_usable(cohort: Store) -> None:
    connection = connect(cohort.uri, storage_options=cohort.storage_options)
    before = connection.execute("SELECT count(*) FROM series").fetchone()
    add_series(cohort, series("p9-s9-a"), shard="new")
    assert connection.execute("SELECT count(*) FROM series").fetchone() == before == (4,)
    connection.close()
    assert run_query(cohort, "SELECT count(*) AS n FROM series").to_pylist() == [{"n": 5}]


@pytest.mark.parametrize("question", ["SELECT level FROM lesions", "SELECT manufacturer FROM series"])
def test_a_join_keeps_the_keys_in_memory_and_not_the_lists(store: Store, question: str) -> None:
    """DuckDB builds the hash table of what it believes to be smaller, and that must not be the files."""
    add_series(store, *[series(f"p{number}-s1-a") for number in range(50)])
    add_scans(store, *[scan(f"p{number}-s1-a", [lesion(1)]) for number in range(50)])
    plan = connect(store).execute(f"EXPLAIN (FORMAT JSON) {question}").fetchall()[0][1]
    (join,) = (node for node in _nodes(json.loads(plan)[0]) if node["name"] == "HASH_JOIN")
    assert "READ_PARQUET" in {node["name"] for node in _nodes(join["children"][0])}
    assert "best" in join["children"][1]["extra_info"]["Table"]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan["children"]:
        yield from _nodes(child)
