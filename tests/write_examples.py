"""The worked questions with their answers on the demo, written into the README: `make questions`.

    python -m tests.write_examples demo README.md

The demo's store should hold two recipes, for one question compares them: after `spinetally demo`, run it again with
another threshold (`threshold: 0.8` under `lesions` of the recipe).
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.query import FORMATS, run_query
from pipeline.query.examples import EXAMPLES

BEGIN, END = "<!-- questions: written by `make questions` -->\n", "<!-- end of questions -->\n"
MOST_LINES = 12
"""Of an answer; the rest is cut, and said to be."""


def section(store: str) -> str:
    """The questions, each folded, with its SQL and its answer."""
    return "\n".join(
        f"<details><summary>{example.title}</summary>\n\n```sql\n{example.sql.strip()}\n```\n"
        f"```\n{_answer(store, example.sql)}\n```\n</details>\n"
        for example in EXAMPLES
    )


def _answer(store: str, sql: str) -> str:
    lines = [line.rstrip() for line in FORMATS["table"](run_query(store, sql)).decode().rstrip().splitlines()]
    if len(lines) > MOST_LINES:
        lines = [*lines[: MOST_LINES - 1], f"... {len(lines) - MOST_LINES} more lines"]
    return "\n".join(lines)


def write(store: str, readme: Path) -> None:
    """Put the section in place of the one that is there."""
    text = readme.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    readme.write_text(text[:start] + "\n" + section(store) + "\n" + text[end:])


if __name__ == "__main__":
    write(str(Path(sys.argv[1]) / "store"), Path(sys.argv[2]))
