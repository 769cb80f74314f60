"""Readers' decisions: taken whole or not at all, added and never overwritten, shown beside the lesions."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.compact import compact
from pipeline.errors import RequestError
from pipeline.query import run_query
from pipeline.store import Store
from pipeline.verdicts import add_verdicts
from tests.pipeline.query.rows import add_scans, add_series, lesion, scan, series

HEAD = "series_key,lesion_id,decision,reader,decided_at,comment,new_level,new_lesion_type\n"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(str(tmp_path / "store"), cohort="test")
    add_series(store, series("p1-s1-a"), series("p2-s2-a"))
    add_scans(store, scan("p1-s1-a", [lesion(1), lesion(2)]), scan("p2-s2-a", [lesion(1)]))
    add_scans(store, scan("p2-s2-a", [lesion(1)], recipe_id="r2"))
    return store


def add(store: Store, *lines: str, head: str = HEAD) -> tuple[int, int]:
    summary = add_verdicts(store, (head + "\n".join(lines)).encode())
    return summary.n_added, summary.n_known


def test_the_last_decision_stands_beside_the_lesion(store: Store) -> None:
    assert add(store, "p1-s1-a,1,accept,a,2026-01-01T10:00:00Z,,,", "p1-s1-a,,comment,a,,blurred,,") == (2, 0)
    assert add(store, "p1-s1-a,1,edit,b,2026-01-02T10:00:00Z,,T12,blastic") == (1, 0)
    columns = "verdict, verdict_reader, verdict_level, verdict_type, n_verdicts, verdicts_agree"
    question = f"SELECT {columns} FROM lesions WHERE series_key = 'p1-s1-a' ORDER BY lesion_id"  # noqa: S608
    first, second = run_query(store, question).to_pylist()
    assert list(first.values()) == ["edit", "b", "T12", "blastic", 2, False]
    assert list(second.values()) == [None, None, None, None, 0, None]
    assert compact(store).folder is not None
    add(store, "p1-s1-a,1,reject,b,2026-01-03T10:00:00Z,,,", "p1-s1-a,1,reject,a,2026-01-03T11:00:00Z,,,")
    first, _ = run_query(store, question).to_pylist()
    assert list(first.values()) == ["reject", "a", None, None, 4, True], "verdicts may come after a merge"
    assert run_query(store, "SELECT count(*) AS n FROM verdicts").to_pylist() == [{"n": 5}]


def test_a_file_given_twice_counts_once(store: Store) -> None:
    lines = ("p1-s1-a,1,accept,a,2026-01-01T10:00:00Z,,,", "p1-s1-a,2,reject,a,,,,")
    assert add(store, *lines) == (2, 0)
    assert add(store, *lines) == (0, 2)


def test_a_verdict_is_on_the_voxels_that_were_seen(store: Store) -> None:
    add(store, "p1-s1-a,1,accept,a,,,,")
    add_series(store, series("p1-s1-a", version="v2"), number=5, shard="new")
    add_scans(store, scan("p1-s1-a", [lesion(1)], version="v2"), number=5, shard="new")
    rows = run_query(store, "SELECT verdict FROM lesions WHERE series_key = 'p1-s1-a'").to_pylist()
    assert rows == [{"verdict": None}]


def test_a_verdict_is_on_the_lesion_and_not_on_its_number(store: Store) -> None:
    """Masks that the manifest names may change, and numbers with them; recipe and version stay."""
    add(store, "p1-s1-a,1,reject,a,,,,", "p1-s1-a,2,accept,a,,,,")
    others = [lesion(1, bbox=[7, 7, 7, 9, 9, 9]), lesion(2), lesion(3)]
    add_scans(store, scan("p1-s1-a", others, given_id="new masks"), number=6)
    question = "SELECT lesion_id, verdict FROM lesions WHERE series_key = 'p1-s1-a' ORDER BY 1"
    assert [row["verdict"] for row in run_query(store, question).to_pylist()] == [None, "accept", None]
    assert add(store, "p1-s1-a,1,reject,a,,,,") == (1, 0), "it is another lesion"
    assert [row["verdict"] for row in run_query(store, question).to_pylist()] == ["reject", "accept", None]


def test_of_lines_without_a_time_the_last_counts(store: Store) -> None:
    lines = [f"p1-s1-a,1,{decision},{reader},,,," for reader in "ab" for decision in ("accept", "reject", "accept")]
    assert add(store, *lines) == (4, 2)
    question = "SELECT verdict, verdict_reader, verdicts_agree FROM lesions WHERE n_verdicts > 0"
    assert run_query(store, question).to_pylist() == [
        {"verdict": "accept", "verdict_reader": "b", "verdicts_agree": True}
    ]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("p1-s1-a,1,maybe,a,,,,", "accept, reject"),
        ("p1-s1-a,3,accept,a,,,,", "1 to 2"),
        ("p1-s1-a,,accept,a,,,,", "lesion_id"),
        ("p1-s1-a,-1,accept,a,,,,", "lesion_id"),
        ("p1-s1-a,1,accept,Dr John Doe,,,,", "pseudonym"),
        ("p1-s1-a,1,accept,doe@example.org,,,,", "pseudonym"),
        ("p1-s1-a,1,accept,a,yesterday,,,", "ISO 8601"),
        ("p1-s1-a,1,edit,a,,,,", "new_level"),
        ("p1-s1-a,1,accept,a,,,L1,", "new_level"),
        ("p1-s1-a,1,edit,a,,,Q9,", "must be a level"),
        ("p1-s1-a,1,edit,a,,,,bony", "lytic"),
        ("p7-s7-a,1,accept,a,,,,", "series_key"),
        ("p2-s2-a,1,accept,a,,,,", "r1, r2"),
        ("p1-s1-a,1,comment,a,,,,,by the hilum, Dr John Doe", "more values than columns"),
    ],
)
def test_one_wrong_line_and_nothing_is_added(store: Store, line: str, named: str) -> None:
    with pytest.raises(RequestError, match=named) as refused:
        add(store, "p1-s1-a,1,accept,a,,,,", line)
    assert "line 3" in str(refused.value)
    assert "Doe" not in str(refused.value)
    assert store.list("truth") == []


@pytest.mark.parametrize("head", ["series_key,decision\n", "series_key,decision,reader,patient_name\n", ""])
def test_columns_are_named(store: Store, head: str) -> None:
    with pytest.raises(RequestError, match="reader, series_key") as refused:
        add(store, "a,b,c,d", head=head)
    assert "patient_name" not in str(refused.value)
    with pytest.raises(RequestError, match="UTF-8"):
        add_verdicts(store, b"\xff\xfe\x00")


def test_the_recipe_is_needed_where_there_are_several(store: Store) -> None:
    head = "recipe_id,series_key,lesion_id,decision,reader\n"
    assert add(store, "r2,p2-s2-a,1,reject,a", head=head) == (1, 0)
    with pytest.raises(RequestError, match="it has r1"):
        add(store, "r9,p1-s1-a,1,reject,a", head=head)
    rows = run_query(store, "SELECT recipe_id FROM lesions WHERE verdict = 'reject'").to_pylist()
    assert rows == [{"recipe_id": "r2"}]
