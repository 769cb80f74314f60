"""The checklists: complete, honest about what is missing, and never a verdict."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.evaluate.evaluation import evaluate_store
from pipeline.query import connect
from pipeline.report.checklists.evidence import EVIDENCE, collect
from pipeline.report.checklists.items import PROBAST, QUADAS, TOPICS
from pipeline.report.checklists.sheets import sheets, write_checklists
from pipeline.store import Store
from schemas.config import CohortConfig, Truth
from schemas.evaluation import Evaluation
from tests.pipeline.evaluate.little import LittleScan, make_store, truths

EMPTY = CohortConfig(source="x", store="x")
FROM_DATA = {*range(7, 14), *range(16, 25), *range(28, 31), 32, 33, *range(35, 40), 42, 43}
"""Items of CLAIM 2024 that a batch system can fill at least partly."""


def test_every_item_of_claim_is_there_once() -> None:
    items = [line.item for line in sheets({})["CLAIM 2024"]]
    assert items == [str(number) for number in range(1, 45)]


def test_numbers_of_the_other_lists() -> None:
    made = sheets({})
    assert {int("".join(filter(str.isdigit, line.item))) for line in made["STARD-AI"]} == set(range(1, 41))
    assert {int("".join(filter(str.isdigit, line.item))) for line in made["TRIPOD+AI"]} == set(range(1, 28))
    for name in ("STARD-AI", "TRIPOD+AI"):
        items = [line.item for line in made[name]]
        assert len(items) == len(set(items))
    assert len(QUADAS) == 9


def test_evidence_that_an_item_names_exists() -> None:
    named = {name for topic in (*TOPICS, *QUADAS, *PROBAST) for name in topic.evidence}
    assert named <= set(EVIDENCE) | {"annotation", "one_reader"}


def test_an_empty_store_fills_nothing(tmp_path: Path) -> None:
    store = Store.create(str(tmp_path / "store"), cohort="empty")
    connection = connect(store)
    found = collect(connection, EMPTY)
    connection.close()
    statuses = {line.status for lines in sheets(found).values() for line in lines}
    assert statuses == {"needs author"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("checked")
    box = (9, 8, 8, 12, 14, 14)
    scans = [
        LittleScan(
            f"{i:02}", f"p{i:02}", truth=(box,) if i % 2 else (), found=((box, 0.9),) if i % 4 else (),
            split="internal" if i < 6 else "external", site=f"site {i % 3}", columns={"patient_age": 50.0 + i},
        )
        for i in range(12)
    ]  # fmt: skip
    made = make_store(folder, scans)
    sources = truths(folder, scans) + truths(folder, scans[:4], reader="2")
    evaluate_store(made, EMPTY, truths=sources, settings=Evaluation(bootstraps=100))
    return made


def test_an_evaluated_store_fills_what_data_can(store: Store, tmp_path: Path) -> None:
    config = CohortConfig(source="x", store="x", truth=Truth(annotated_by="two radiologists", readers=2))
    paths = write_checklists(store, config, tmp_path)
    assert {path.name for path in paths} >= {"claim-2024.md", "claim-2024.csv", "quadas-2.md", "probast-ai.csv"}
    rows = list(csv.DictReader((tmp_path / "claim-2024.csv").read_text().splitlines()))
    done = {int(row["item"]) for row in rows if row["status"] in ("filled", "partial")}
    # the little store's recipe names no model, no device and no training
    assert done >= FROM_DATA - {22, 23, 24}
    assert done <= FROM_DATA
    assert all(row["rests_on"] for row in rows if row["status"] in ("filled", "partial"))
    assert "two radiologists" in (tmp_path / "claim-2024.md").read_text()


def test_no_risk_of_bias_is_judged(store: Store) -> None:
    connection = connect(store)
    found = collect(connection, EMPTY)
    connection.close()
    made = sheets(found)
    for name in ("QUADAS-2", "PROBAST+AI"):
        assert {line.status for line in made[name]} == {"needs author"}
        assert any(line.evidence for line in made[name])
    assert "annotation" not in found
    assert "low" not in " ".join(line.evidence.lower() for line in made["QUADAS-2"]).split()


def test_one_reader_is_said_and_is_no_agreement(store: Store) -> None:
    connection = connect(store)
    config = CohortConfig(source="x", store="x", truth=Truth(readers=1))
    found = {name: said for name, said in collect(connection, config).items() if name != "readers"}
    connection.close()
    (line,) = [line for line in sheets(found)["CLAIM 2024"] if line.item == "18"]
    assert (line.status, line.evidence) == ("partial", "one reader, so none between readers was measured")
    assert line.rests_on == "truth of the cohort file"


def test_two_recipes_are_told_apart_and_their_scans_are_counted_once(tmp_path: Path) -> None:
    box, other = (9, 8, 8, 12, 14, 14), (3, 20, 20, 6, 26, 26)
    scans = [
        LittleScan(f"{i}", f"p{i}", truth=(box,) if i < 3 else (), found=((box, 0.9),), split="external", site=None)
        for i in range(4)
    ]
    made = make_store(tmp_path, scans)
    worse = [replace(scan, found=((other, 0.9),) if scan.name == "0" else ()) for scan in scans]
    make_store(tmp_path, worse, recipe_id="b" * 16, store=made)
    sources = truths(tmp_path, scans) + truths(tmp_path, scans[:2], reader="2")
    evaluate_store(made, EMPTY, truths=sources, settings=Evaluation(bootstraps=100))
    connection = connect(made)
    found = collect(connection, EMPTY)
    connection.close()
    assert found["parts"] == "external 4 scans"
    assert found["prevalence"] == "prevalence among patients: external 0.75"
    assert found["errors"].startswith("recipe aaaaaaaa missed 0 of 3 true lesions, recipe bbbbbbbb missed 3 of 3")
    assert "recipe bbbbbbbb external specificity 1.0 (0.207 to 1.0)" in found["accuracy"]
    assert found["readers"].count("reader_dice") == 1
    assert "lesions_per_scan" not in found["subgroups"], "differences between parts are no results by subgroup"


@pytest.mark.parametrize(("day", "said"), [("2001-01-01", "before"), ("2999-01-01", "NOT before")])
@pytest.mark.parametrize("overridden", [None, 0.6])
def test_when_a_threshold_was_set(store: Store, day: str, said: str, overridden: float | None) -> None:
    connection = connect(store)
    overrides = [{"when": {"site": "a"}, "lesions": {"threshold": overridden}}]
    columns = f"'r' AS recipe_id, 0.4 AS threshold, DATE '{day}' AS threshold_set_on"
    columns += f", '{json.dumps({'use': {'overrides': overrides}})}' AS document"
    connection.execute(f"CREATE OR REPLACE TEMP VIEW recipes AS SELECT {columns}")
    (sentence,) = connection.execute(EVIDENCE["threshold"]).fetchone() or ("",)
    connection.close()
    assert f"0.4, set on {day} by its file, {said} the first result of a test scan" in sentence
    assert ("others for some scans by `overrides`" in sentence) == (overridden is not None)
