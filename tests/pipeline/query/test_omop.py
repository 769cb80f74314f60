"""The OMOP tables: rows that join, numbers that stay, and nothing that leads back to a person."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipeline.query import run_query
from pipeline.store import Store
from tests.pipeline.query.rows import add_scans, add_series, lesion, scan, series


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store.create(str(tmp_path_factory.mktemp("omop") / "store"), cohort="test")
    later = series("p1-s1-a")["study_date_shifted"].replace(month=2)
    add_series(
        made, series("p1-s1-a"), series("p1-s2-a", study_date_shifted=later), series("p2-s3-a", status="quarantined")
    )
    second = lesion(2, level="T13", hu_mean=None, short_axis_mm=4.0, model="m 1")
    add_scans(made, scan("p1-s1-a", [lesion(1, hu_mean=250.0), second]), scan("p1-s2-a", [lesion(1, level=None)]))
    outside = lesion(1, level="none", long_axis_mm=None)
    add_scans(made, scan("p1-s1-a", [outside], recipe_id="r2"))
    return made


def ask(store: Store, sql: str) -> list[dict[str, Any]]:
    return run_query(store, sql).to_pylist()


def test_every_feature_has_its_measurement_and_its_image(store: Store) -> None:
    rows = ask(
        store,
        """SELECT image_series_uid, image_feature_source_value AS code, f.anatomic_site_source_value AS site,
            value_as_number AS value, unit_source_value AS unit, measurement_date, alg_system
        FROM omop_image_feature f JOIN omop_measurement m ON m.measurement_id = f.image_feature_event_id
        JOIN omop_image_occurrence o USING (image_occurrence_id)
        WHERE f.person_id = m.person_id AND f.person_id = o.person_id ORDER BY ALL""",
    )
    found = {(r["image_series_uid"], r["code"], r["site"], r["value"], r["unit"]) for r in rows}
    l1, spine = "SCT:66794005", "SCT:421060004"
    assert found == {
        ("p1-s1-a", "SCT:118565006", l1, 100.0, "mm3"),
        ("p1-s1-a", "SCT:103339001", l1, 8.0, "mm"),
        ("p1-s1-a", "DCM:112031", l1, 250.0, "[hnsf'U]"),
        ("p1-s1-a", "SCT:118565006", spine, 100.0, "mm3"),
        ("p1-s1-a", "SCT:103339001", spine, 8.0, "mm"),
        ("p1-s1-a", "SCT:103340004", spine, 4.0, "mm"),
        ("p1-s1-a", "SCT:118565006", None, 100.0, "mm3"),
        ("p1-s2-a", "SCT:118565006", spine, 100.0, "mm3"),
        ("p1-s2-a", "SCT:103339001", spine, 8.0, "mm"),
    }
    assert {r["measurement_date"] for r in rows} == {date(2000, 1, 1), date(2000, 2, 1)}
    assert {r["alg_system"] for r in rows} == {"m 1, recipe r1", "recipe r1", "recipe r2"}


def test_numbers_are_one_to_one(store: Store) -> None:
    for view, key, n in (
        ("omop_image_feature", "image_feature_id", 9),
        ("omop_image_feature", "image_finding_id", 4),
        ("omop_image_occurrence", "image_occurrence_id", 2),
        ("omop_image_occurrence", "person_id", 1),
    ):
        (row,) = ask(store, f"SELECT count(DISTINCT {key}) AS n, min({key}) AS least FROM {view}")  # noqa: S608
        assert row["n"] == n
        assert row["least"] > 0


def test_measures_are_coded_as_in_the_reports() -> None:
    codes = pytest.importorskip("pipeline.export.codes")
    from schemas.omop import MEASURES

    expected = (codes.VOLUME, codes.LONG_AXIS, codes.SHORT_AXIS, codes.ATTENUATION, codes.SUV)
    units = (codes.CUBIC_MILLIMETRE, codes.MILLIMETRE, codes.MILLIMETRE, codes.HOUNSFIELD, codes.SUV_UNIT)
    for (code, unit), concept, of_unit in zip(MEASURES.values(), expected, units, strict=True):
        assert code == f"{concept.scheme_designator}:{concept.value}"
        assert unit == of_unit.value


def test_an_empty_store_has_empty_tables(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"), cohort="test")
    for view in ("omop_image_occurrence", "omop_image_feature", "omop_measurement"):
        assert ask(store, f"FROM {view}") == []
