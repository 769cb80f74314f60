"""The sheets: each item with its status and what it rests on, as tables, Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.query import connect
from pipeline.report.checklists.evidence import EVIDENCE, collect
from pipeline.report.checklists.items import PROBAST, QUADAS, TOPICS, Question, Topic
from pipeline.report.tables import Table
from pipeline.store import Store
from schemas.config import CohortConfig

SOURCES = {
    "CLAIM 2024": "10.1148/ryai.240300",
    "STARD-AI": "10.1038/s41591-025-03953-8",
    "TRIPOD+AI": "10.1136/bmj-2023-078378",
    "QUADAS-2": "10.7326/0003-4819-155-8-201110180-00009",
    "PROBAST+AI": "10.1136/bmj-2024-082505",
}
"""List to its DOI."""

FILLED, PARTIAL, AUTHOR, NOT_APPLICABLE = "filled", "partial", "needs author", "not applicable"


@dataclass(frozen=True)
class Line:
    """One item of a list."""

    item: str
    asks: str
    status: str
    """filled, partial, needs author or not applicable; of a question about bias always needs author."""
    evidence: str
    """What the store says."""
    rests_on: str
    """The question in SQL, or where it was said."""


def sheets(evidence: Mapping[str, str]) -> dict[str, list[Line]]:
    """Every list, its items in order."""
    return {
        "CLAIM 2024": _of_topics(evidence, "claim"),
        "STARD-AI": _of_topics(evidence, "stard"),
        "TRIPOD+AI": _of_topics(evidence, "tripod"),
        "QUADAS-2": _of_questions(evidence, QUADAS),
        "PROBAST+AI": _of_questions(evidence, PROBAST),
    }


def checklist_tables(evidence: Mapping[str, str]) -> list[Table]:
    """The lists as tables of the page."""
    return [
        Table(
            name,
            ("item", "asks", "status", "evidence"),
            [(line.item, line.asks, line.status, line.evidence) for line in lines],
            f"doi {SOURCES[name]}. {summary(lines)}",
        )
        for name, lines in sheets(evidence).items()
    ]


def write_checklists(store: Store, config: CohortConfig, folder: Path | str) -> list[Path]:
    """Write each list as Markdown and as CSV; the files.

    Raises:
        StoreError: there is no store.
        ServiceError: it cannot be read.
    """
    connection = connect(store)
    try:
        evidence = collect(connection, config)
    finally:
        connection.close()
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for name, lines in sheets(evidence).items():
        stem = name.lower().replace(" ", "-").replace("+", "-")
        for suffix, text in ((".md", markdown(name, lines)), (".csv", as_csv(lines))):
            path = target / f"{stem}{suffix}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return written


def markdown(name: str, lines: Sequence[Line]) -> str:
    """A list as Markdown."""
    head = (
        f"# {name}\n\nItems in our words; the original is doi:{SOURCES[name]}. {summary(lines)}\n\n"
        "| item | asks | status | evidence |\n|---|---|---|---|\n"
    )
    rows = (f"| {x.item} | {_cell(x.asks)} | {x.status} | {_cell(x.evidence)} |" for x in lines)
    return head + "\n".join(rows) + "\n"


def as_csv(lines: Sequence[Line]) -> str:
    """A list as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["item", "asks", "status", "evidence", "rests_on"])
    writer.writerows([x.item, x.asks, x.status, x.evidence, x.rests_on] for x in lines)
    return buffer.getvalue()


def summary(lines: Sequence[Line]) -> str:
    """How many items are at which status."""
    counts = {status: sum(x.status == status for x in lines) for status in (FILLED, PARTIAL, AUTHOR, NOT_APPLICABLE)}
    return (
        ", ".join(f"{status} {n}" for status, n in counts.items() if n) + f"; of {len(lines)} items and parts of items."
    )


def _of_topics(evidence: Mapping[str, str], which: str) -> list[Line]:
    lines = [
        Line(item.strip(), topic.asks, _status(topic, evidence), *_evidence(topic.evidence, evidence))
        for topic in TOPICS
        for item in getattr(topic, which).split(",")
        if item.strip()
    ]
    return sorted(lines, key=lambda line: _order(line.item))


def _status(topic: Topic, evidence: Mapping[str, str]) -> str:
    if topic.evidence == ("ensemble",) and "models" in evidence and "ensemble" not in evidence:
        return NOT_APPLICABLE
    if topic.kind == "author" or not any(name in evidence for name in topic.evidence):
        return AUTHOR
    complete = topic.kind == "automatic" and all(name in evidence for name in topic.evidence)
    return FILLED if complete else PARTIAL


def _of_questions(evidence: Mapping[str, str], questions: Sequence[Question]) -> list[Line]:
    return [Line(q.number, q.asks, AUTHOR, *_evidence(q.evidence, evidence)) for q in questions]


def _evidence(names: Sequence[str], evidence: Mapping[str, str]) -> tuple[str, str]:
    known = [name for name in names if name in evidence]
    rests = [" ".join(EVIDENCE[name].split()) if name in EVIDENCE else "truth of the cohort file" for name in known]
    return "; ".join(evidence[name] for name in known), " ; ".join(rests)


def _order(item: str) -> tuple[int, str]:
    digits = "".join(character for character in item if character.isdigit())
    return int(digits), item


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
