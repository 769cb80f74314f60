"""What readers decided about lesions: rows that are added and never overwritten."""

from __future__ import annotations

from typing import Literal, get_args

import pyarrow as pa

from schemas.columns import INTEGERS, TIME, column

FOLDER = "truth/verdicts"
"""Folder in a store; a file holds the rows of one CSV."""

Decision = Literal["accept", "reject", "edit", "comment"]

DECISIONS: dict[str, str] = {
    "accept": "The reader sees a lesion there.",
    "reject": "The reader sees none.",
    "edit": "A lesion, but not as stated: see `new_level`, `new_lesion_type`.",
    "comment": "A remark that decides nothing; without a lesion_id it is on the scan.",
}
"""Decision to its meaning."""

if set(DECISIONS) != set(get_args(Decision)):
    raise TypeError("DECISIONS and Decision name different words")

VERDICT = pa.schema(
    [
        column("recipe_id", pa.string(), "Recipe of the lesion.", required=True),
        column("series_key", pa.string(), "Scan of the lesion.", required=True),
        column("version", pa.string(), "Version of the series that the reader saw.", required=True),
        column("lesion_id", pa.int32(), "The lesion; NULL for a comment on the scan."),
        column("bbox", INTEGERS, "Its box as the reader saw it: if masks change, its number may be another's."),
        column("decision", pa.string(), f"One of {', '.join(DECISIONS)}.", required=True),
        column("new_level", pa.string(), "Level that the reader gives it (edit)."),
        column("new_lesion_type", pa.string(), "lytic, blastic, mixed or indeterminate, as the reader sees it (edit)."),
        column("comment", pa.string(), "The reader's remark; it must not hold a name."),
        column("reader", pa.string(), "Pseudonym of the reader.", required=True),
        column(
            "decided_at", TIME, "When the reader decided; when it was added, where that was not told.", required=True
        ),
        column("attempt", pa.string(), "When it was added; sorts by time.", required=True),
    ]
)
"""One row per decision."""

OF_LESION: list[pa.Field] = [
    column("verdict", pa.string(), "Last decision of a reader (accept, reject, edit); NULL where none was made."),
    column("verdict_reader", pa.string(), "Pseudonym of that reader."),
    column("verdict_at", TIME, "When that was decided."),
    column("verdict_level", pa.string(), "Level that an edit gives."),
    column("verdict_type", pa.string(), "Type that an edit gives."),
    column("n_verdicts", pa.int32(), "Decisions on this lesion, comments not counted; 0 where none was made."),
    column("verdicts_agree", pa.bool_(), "Whether all readers' last decisions are one; NULL where none was made."),
]
"""What the view `lesions` shows of them."""
