"""The commands: what they print where, and how they end."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli import main
from flows.cli.console import print_json
from flows.launch import launch
from flows.stages import Stages
from pipeline.store import Store
from tests.flows import fakes
from tests.flows.cohorts import PRECOMPUTED, config_of, write_cohort, write_manifest

HEAVY = ("torch", "prefect", "dask", "distributed", "SimpleITK", "openvino")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Runs commands in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capfd = monkeypatch, capfd

    def __call__(self, *arguments: object) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["spinetally", *map(str, arguments)])
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self._capfd.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Cli]:
    yield Cli(monkeypatch, capfd)
    logger = logging.getLogger("spinetally")  # a thread may log later, to a stream that is closed by then
    logger.handlers.clear()
    logger.propagate = True


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A cohort file over three scans; no store yet."""
    write_cohort(tmp_path, 3)
    return _cohort_file(tmp_path)


def _cohort_file(folder: Path, **more: Any) -> Path:
    values = {"cohort": "boxes", "source": "manifest.csv", "store": "store", "recipe": PRECOMPUTED} | more
    (folder / "cohort.yaml").write_text(yaml.safe_dump(values))
    return folder / "cohort.yaml"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, prefect_server: Any, cluster_address: str) -> Path:
    """A cohort file whose store is finished: two scans with results, one that failed to be read."""
    folder = tmp_path_factory.mktemp("done")
    write_cohort(folder, 3)
    broken = folder / "scans" / "s2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:100])
    launch(config_of(folder, cluster=cluster_address), stages=Stages(process=fakes.process_nothing))
    return _cohort_file(folder, cluster=cluster_address)


def _manifest(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open() as file:
        return list(csv.DictReader(file))


def _refused(ended: Ended, *words: str, code: int = 2) -> None:
    assert ended.code == code
    assert ended.out == ""
    lines = ended.err.strip().splitlines()
    assert len(lines) == 1, "one clear line"
    assert lines[0].startswith("spinetally: ")
    assert "Traceback" not in ended.err
    for word in words:
        assert word in lines[0]


def test_help_and_questions_start_quickly() -> None:
    code = (
        "import sys, flows.cli, pipeline.query, flows.cohort_file; print([m for m in sys.argv[1:] if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code, *HEAVY], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]", "these belong into the commands that need them"


def test_an_interrupted_run_says_what_to_do(cli: Cli, cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.launch.launch", interrupted)
    _refused(cli("run", cohort), "stopped", "run again", code=130)


def test_letters_that_a_terminal_lacks_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, expected in (("ascii", b'{"cohort": "K\\u00f6ln"}'), ("utf-8", '{"cohort": "Köln"}'.encode())):
        shown = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding, write_through=True))
        print_json({"cohort": "Köln"})
        assert shown.getvalue().strip() == expected
    code = "import sys; sys.argv[1:] = ['models', 'list']; import flows.cli; flows.cli.main()"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False).returncode == 0
    )


def test_nobody_to_ask_removes_nothing(cli: Cli, done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    ended = cli("forget", done, "--id", "Secretname0")
    assert ended.code == 2
    assert "nothing was removed" in ended.err
    assert cli("status", done, "--json").json["series"]["series"] == 3


def test_index_says_what_is_there_and_writes_nothing(cli: Cli, cohort: Path) -> None:
    facts = cli("index", cohort, "--json").json
    assert (facts["series"], facts["patients"], facts["modalities"]) == (3, 3, {"CT": 3})
    assert cli("index", cohort.parent / "manifest.csv").code == 0
    assert not (cohort.parent / "store").exists()


def test_a_dry_run_writes_nothing(cli: Cli, cohort: Path) -> None:
    facts = cli("run", cohort, "--dry-run", "--json").json
    assert (facts["to_ingest"], facts["to_process"], facts["shards"]) == (3, 3, 1)
    assert cli("run", cohort, "--dry-run", "--limit", "2", "--json").json["to_ingest"] == 2
    assert not (cohort.parent / "store").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"source": "nowhere"}, ("source",)),
        ({"source": "empty"}, ("source",)),
        ({"soruce": "x"}, ("unknown key 'soruce'", "did you mean 'source'")),
        (
            {"recipe": {"CT": {"lesions": {"model": "builtin/ct-lesion"}}}},
            ("no model 'builtin/ct-lesion'", "ct-lesions"),
        ),
        ({"recipe": {"US": {}}}, ("recipe.US", "CT")),
        ({"store": "taken"}, ("no store.json",)),
        ({"store": "newer"}, ("layout 99",)),
        ({"store": "taken/thesis.docx/store"}, ("something else is in its way",)),
        ({"store": "x" * 300}, ("longer than the disk allows",)),
        ({"source": "s3://"}, ("bucket",)),
        ({"cluster": "nowhere"}, ("cluster: nowhere cannot be read",)),
        ({"cluster": {"cluster_class": "no.Such"}}, ("no.Such cannot be imported",)),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(
    cli: Cli, cohort: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    folder = cohort.parent
    (folder / "empty").mkdir()
    (folder / "empty" / "letter.pdf").write_bytes(b"%PDF-1.4")
    (folder / "taken").mkdir()
    (folder / "taken" / "thesis.docx").write_bytes(b"mine")
    (folder / "newer").mkdir()
    (folder / "newer" / "store.json").write_text('{"layout": 99, "cohort": "boxes"}')
    _cohort_file(folder, **change)
    before = sorted(folder.rglob("*"))
    _refused(cli("run", cohort, "--json"), *words)
    assert sorted(folder.rglob("*")) == before


def test_no_such_cohort_file(cli: Cli, tmp_path: Path) -> None:
    _refused(cli("run", tmp_path / "no.yaml"), "no.yaml", "No such file")
    _refused(cli("sql", tmp_path / "no.yaml", "SELECT 1"), "no.yaml")


def test_questions_before_the_first_run(cli: Cli, cohort: Path) -> None:
    _refused(cli("sql", cohort, "SELECT 1"), "there is no store here")
    _refused(cli("status", cohort), "there is no store here")


def test_answers_in_every_form(cli: Cli, done: Path, tmp_path: Path) -> None:
    question = "SELECT status, count(*) AS n FROM series GROUP BY ALL ORDER BY ALL"
    assert cli("sql", done, question, "--json").json == [{"status": "ok", "n": 2}, {"status": "quarantined", "n": 1}]
    assert cli("sql", done, question, "--format", "csv").out == "status,n\nok,2\nquarantined,1\n"
    assert "quarantined  1" in cli("sql", done, question).out
    assert cli("sql", done, question, "--format", "parquet", "-o", tmp_path / "a.parquet").code == 0
    assert cli("sql", done, question, "-o", tmp_path / "a.CSV").code == 0
    assert (tmp_path / "a.CSV").read_text() == "status,n\nok,2\nquarantined,1\n", "a file is what its name says"
    assert cli("sql", done, question, "-o", tmp_path / "a.txt").code == 0
    assert "quarantined  1" in (tmp_path / "a.txt").read_text()
    assert (tmp_path / "a.parquet").read_bytes().startswith(b"PAR1")
    names = {(row["view"], row["column"]) for row in cli("sql", done, "--describe", "--json").json}
    assert ("lesions", "volume_mm3") in names
    assert "…" not in cli("sql", done, "--describe").out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("SELEKT 1",), ("syntax error",)),
        (("SELECT nothing FROM lesions",), ("nothing",)),
        (("DROP VIEW lesions",), ("DROP",)),
        (("COPY lesions TO 'x.csv'",), ("COPY",)),
        (("SELECT * FROM read_csv('/etc/passwd')",), ("read_csv",)),
        (("SELECT 1; SELECT 2",), ("one statement",)),
        (("SELECT 1", "--format", "xml"), ("xml", "table, csv, json, parquet")),
        ((), ("--describe",)),
    ],
)
def test_bad_questions(cli: Cli, done: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    _refused(cli("sql", done, *arguments), *words)


def test_status_counts_from_the_store(cli: Cli, done: Path) -> None:
    facts = cli("status", done, "--json").json
    assert facts["series"] == {
        "series": 3, "ok": 2, "quarantined": 1, "excluded": 0, "pending": 0, "no_model": 0,
            "vanished": 0,
    }  # fmt: skip
    scans = facts["scans"]["CT"]
    assert (scans["done"], scans["pending"], scans["failed"], scans["lesions"]) == (2, 0, 0, 2)
    (reason,) = facts["reasons"]
    assert (reason["n"], bool(reason["what_to_do"])) == (1, True)
    assert "quarantined" in cli("status", done).out


def test_a_run_with_nothing_to_do_says_so_as_json(cli: Cli, done: Path) -> None:
    summary = cli("run", done, "--json").json
    assert set(summary) == {
        "series", "ingested", "quarantined", "excluded", "processed", "failed", "done_before", "no_model", "lesions",
        "seconds", "recipes",
    }  # fmt: skip
    assert (summary["processed"], summary["done_before"]) == (0, 2)


def test_retry_knows_its_reasons(cli: Cli, done: Path) -> None:
    _refused(cli("retry", done, "--reason", "gpa"), "no reason code 'gpa'", "did you mean gap?")
    assert cli("retry", done, "--reason", "gap", "--json").json["quarantined"] == 0
    assert "There was nothing to try again: nothing has the reason gap." in cli("retry", done, "--reason", "gap").out


def test_a_missing_service_is_code_3(cli: Cli, cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.prefect_server._answers", lambda *_, **__: False)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    _refused(cli("run", cohort), "no Prefect server answers", code=3)


def test_models(cli: Cli) -> None:
    assert "precomputed" in {row["model"] for row in cli("models", "list", "--json").json}
    assert cli("models", "show", "builtin/ct-lesions", "--json").json["task"] == "lesions"
    _refused(cli("models", "show", "builtin/nothing"), "no model")


def test_scans_that_fail_are_code_1(
    cli: Cli, cohort: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: Any
) -> None:
    store = cohort.parent / "store"
    monkeypatch.setattr("flows.launch.launch", lambda *_, **__: {"failed": 1, "seconds": 0, "recipes": {}})
    assert cli("run", cohort).code == 1
    assert not Store(str(store)).exists("store.json")


def test_merged_tables_answer_the_same(cli: Cli, done: Path) -> None:
    question = ("SELECT series_key, status, n_lesions FROM scans ORDER BY ALL", "--json")
    before = cli("sql", done, *question).json
    merged = cli("compact", done, "--json").json
    assert (merged["rows"]["scans"], bool(merged["folder"])) == (2, True)
    assert cli("compact", done, "--json").json["folder"] is None, "nothing has come since"
    assert cli("sql", done, *question).json == before


def test_decisions_of_readers(cli: Cli, done: Path, tmp_path: Path) -> None:
    key = cli("sql", done, "SELECT series_key FROM scans LIMIT 1", "--json").json[0]["series_key"]
    file = tmp_path / "decisions.csv"
    file.write_text(f"series_key,lesion_id,decision,reader,comment\n{key},,comment,reader-1,motion\n")
    assert cli("verdict", done, file, "--json").json == {"n_added": 1, "n_known": 0}
    assert cli("verdict", done, file, "--json").json == {"n_added": 0, "n_known": 1}
    file.write_text("series_key,lesion_id,decision,reader\nnobody,1,accept,reader-1\n")
    _refused(cli("verdict", done, file), "line 2")
    _refused(cli("verdict", done, tmp_path / "no.csv"), "no.csv")


def test_an_evaluation_of_masks_against_themselves_is_perfect(
    cli: Cli, tmp_path: Path, prefect_server: Any, cluster_address: str
) -> None:
    write_cohort(tmp_path, 4, truth=True)
    launch(config_of(tmp_path, cluster=cluster_address))
    ended = cli("evaluate", _cohort_file(tmp_path), "--json")
    (recipe,) = ended.json["recipes"].values()
    assert recipe["true_lesions"] == 0 + 1 + 2 + 3
    figures = [
        f for part in recipe["parts"].values() for f in part if (f["unit"], f["metric"]) == ("lesion", "sensitivity")
    ]
    assert figures
    assert {f["value"] for f in figures} == {1.0}
    printed = cli("evaluate", tmp_path / "cohort.yaml").out
    assert "1.00 (0.61 to 1.00), 6 of 6" in printed, "Wilson's interval where patients are too few to be drawn"
    assert "Only 4 patients, 6 true lesions" in printed
    assert "Not stated of the reference standard: annotated by, readers" in printed
    (recipe_id,) = ended.json["recipes"]
    rows = [row | {"split": "internal" if i < 1 else ""} for i, row in enumerate(_manifest(tmp_path))]
    write_manifest(tmp_path, rows)
    printed = cli("evaluate", tmp_path / "cohort.yaml").out
    assert "3 scans with a reference are in no part of the cohort" in printed
    write_manifest(tmp_path, [row | {"split": "validation"} for row in rows])
    _refused(cli("evaluate", tmp_path / "cohort.yaml"), "'validation'", "train, tune, internal, external")
    write_manifest(tmp_path, [{name: value for name, value in row.items() if name != "split"} for row in rows])
    assert cli("evaluate", tmp_path / "cohort.yaml", "--against", recipe_id, "--json").json["comparisons"] == []
    assert cli("evaluate", tmp_path / "cohort.yaml", "--against", recipe_id[:6], "--json").code == 0
    _refused(cli("evaluate", tmp_path / "cohort.yaml", "--against", "g"), "no recipe 'g' has results", recipe_id)


def test_an_evaluation_needs_a_reference(cli: Cli, done: Path) -> None:
    _refused(cli("evaluate", done), "no reference standard", "truth_uri")


def test_results_are_written_out(cli: Cli, done: Path, tmp_path: Path) -> None:
    facts = cli("export", done, tmp_path / "out", "--kind", "tables", "--kind", "nifti", "--json").json
    assert facts["rows"]["scans"] == 2
    assert sorted(path.name for path in (tmp_path / "out" / "tables").glob("series.*")) == [
        "series.csv",
        "series.parquet",
    ]
    printed = cli("export", done, tmp_path / "out", "--kind", "tables", "--kind", "nifti").out
    assert "scans" in printed
    assert "in " + str(tmp_path / "out") in printed
    _refused(cli("export", done, tmp_path / "x", "--recipe", "f" * 16), f"no recipe '{'f' * 16}' has results")
    (tmp_path / "file").write_text("")
    _refused(cli("export", done, tmp_path / "file" / "x"), "cannot write to the destination")


def test_a_report_is_one_file(cli: Cli, done: Path, tmp_path: Path) -> None:
    assert cli("report", done, "-o", tmp_path / "report.html", "--json").code == 0
    page = (tmp_path / "report.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    _refused(cli("report", done, "-o", tmp_path / "no" / "report.html"), "folder is not there")
    sheets = cli("report", done, "-o", tmp_path / "r.html", "--checklists", tmp_path / "sheets", "--json").json
    assert {Path(path).suffix for path in sheets["checklists"]} == {".md", ".csv"}
    assert (tmp_path / "sheets" / "claim-2024.md").exists()
    _refused(cli("report", done, "-o", tmp_path / "r.html", "--checklists", tmp_path / "r.html"), "cannot write")


def test_a_report_says_what_it_lacks(cli: Cli, done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.cli.after.find_spec", lambda name: None if name == "jinja2" else object())
    _refused(cli("report", done, "-o", tmp_path / "report.html"), "jinja2", "spinetally[report]")


def test_it_says_its_version_and_helps_by_the_usual_letter(cli: Cli) -> None:
    assert cli("--version").out.strip() == version("spinetally")
    assert "--verbose" in cli("-h").out
    assert "--limit" in cli("run", "-h").out


def test_removal_needs_somebody_to_say_so(cli: Cli, tmp_path: Path) -> None:
    file = _cohort_file(tmp_path)
    Store.create(str(tmp_path / "store"), cohort="boxes")
    assert cli("gc", file, "--dry-run", "--json").json == {"paths": [], "n_bytes": 0, "dry_run": True}
    _refused(cli("forget", file, "nobody", "--yes"), "no patient with this key")
    _refused(cli("forget", file, "nobody", "--id", "--yes"), "no patient of the store has this PatientID")
    said = cli("forget", file, "nobody")
    assert (said.code, "Remove this patient" in said.err) == (2, False), "it asks only about one that there is"
