from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline.query.columns import sql_type
from schemas.edges import CHANGE_VIEW, EDGE_VIEW
from schemas.responses import LABEL, RULE_SCHEMAS
from tests.pipeline.longitudinal.histories import History

NAMES = {
    "response_recist": "RECIST 1.1",
    "response_md_anderson": "MD Anderson",
    "response_pcwg3": "PCWG3",
    "sins": "SINS",
}


@pytest.mark.parametrize(
    ("view", "schema"),
    [("edges", EDGE_VIEW), ("changes", CHANGE_VIEW), *RULE_SCHEMAS.items()],
    ids=lambda x: str(x)[:20],
)
def test_columns_are_those_declared(view: str, schema: pa.Schema) -> None:
    with History([0]).connect() as connection:
        found = connection.execute(f"DESCRIBE {view}").fetchall()
    assert [(row[0], row[1]) for row in found] == [(field.name, sql_type(field.type)) for field in schema]


@pytest.mark.parametrize("view", sorted(RULE_SCHEMAS))
def test_rules_say_what_they_are(view: str) -> None:
    history = History([0, 60]).lesion(0, 1).lesion(1, 1).edge(1, "stable", 1, 1).vertebra(1, "T12")
    rows = history.ask(view)
    assert rows
    assert {row["rule"] for row in rows} == {LABEL.format(rule=NAMES[view])}


def test_edges_of_rows_that_no_longer_count_are_not_seen() -> None:
    history = History([0, 30, 60]).edge(1, "stable", 1, 1).edge(2, "new", None, 1)
    assert [row["study_day_1"] for row in history.ask("edges")] == [30, 60]
    history.scans[1]["attempt"] = "a9"  # done again: both pairs have to be matched anew
    assert history.ask("edges") == []


def test_a_study_that_came_between_parts_a_pair() -> None:
    history = History([0, 30, 60])
    history.edge(1, "stable", 1, 1)
    history.edges[0] |= {"series_key_1": "s2", "study_key_1": "y2", "attempt_1": "a2"}
    assert history.ask("edges") == []
    history.scans[1]["study_day"] = 90
    assert [(row["study_day_0"], row["study_day_1"]) for row in history.ask("edges")] == [(0, 60)]


def test_the_same_pair_in_two_files_counts_once() -> None:
    history = History([0, 30]).edge(1, "new", None, 1)
    history.edges.append(dict(history.edges[0]))
    assert len(history.ask("edges")) == 1


def test_a_newer_matching_of_the_same_pair_stands_alone() -> None:
    history = History([0, 30, 60]).edge(1, "resolved", 1, None).edge(2, "stable", 1, 1)  # of a program without versions
    history.edge(1, "not_assessable", 1, None, pair_id="again", matching=3)
    assert [(row["study_day_1"], row["state"]) for row in history.ask("edges")] == [
        (30, "not_assessable"),
        (60, "stable"),
    ]


def test_scans_without_a_date_or_of_another_series_are_left_out() -> None:
    history = History([0, None, 30]).edge(1, "new", None, 1)
    history.edges[0] |= {"series_key_1": "s2", "study_key_1": "y2", "attempt_1": "a2"}
    assert len(history.ask("edges")) == 1
    history.scans[0]["is_primary"] = False
    assert history.ask("edges") == []


def test_two_studies_on_one_day_follow_by_their_key() -> None:
    history = History([5, 5]).edge(1, "stable", 1, 1)
    (row,) = history.ask("changes")
    assert (row["days_between"], row["state"]) == (0, "stable")


def test_a_patient_with_one_study_has_no_change() -> None:
    history = History([0]).lesion(0, 1)
    assert history.ask("changes") == []
    (row,) = history.ask("response_recist")
    assert (row["response"], row["reason"], row["sum_mm"]) == (None, "baseline", 20.0)


def test_an_event_is_one_change() -> None:
    history = History([0, 30])
    volumes = {"event_volume_0_mm3": 900.0, "event_volume_1_mm3": 500.0, "volume_0_mm3": 900.0, "event": 1}
    history.edge(1, "split", 7, 1, volume_1_mm3=300.0, lesion_type_1="lytic", **volumes)
    history.edge(1, "split", 7, 2, volume_1_mm3=200.0, lesion_type_1="mixed", **volumes)
    (row,) = history.ask("changes")
    assert (row["lesion_ids_0"], row["lesion_ids_1"]) == ([7], [1, 2])
    assert (row["volume_0_mm3"], row["volume_1_mm3"]) == (900.0, 500.0)
    assert row["lesion_type_1"] == "lytic"
