"""What a run has done so far, counted from several threads, and its summary."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from flows.work import Row

Summary = dict[str, Any]
"""What `run --json` prints."""


@dataclass
class Counts:
    """Counts of one run."""

    total: int = 0
    """Series to ingest and scans to process, as far as it is known."""
    series: Counter[str] = field(default_factory=Counter)
    """Series of this run by status: ok, quarantined, excluded."""
    scans: Counter[str] = field(default_factory=Counter)
    """Scans of this run by status: ok, quarantined, failed."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Series and scans of this run by reason code."""
    lesions: int = 0
    """In the scans of this run."""
    no_model: int = 0
    """Series without a recipe for their modality."""
    again: int = 0
    """Scans that were found done and are done again, for what they rest on has changed in this run."""
    started: float = field(default_factory=time.monotonic)
    """When the run began."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def done(self) -> int:
        """Series and scans that are through."""
        return self.series.total() + self.scans.total()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started

    @property
    def scans_per_hour(self) -> float:
        """So far; of series where no scan is through yet."""
        return 3600 * (self.scans.total() or self.done) / max(self.seconds, 1e-6)

    def add_series(self, row: Row) -> None:
        """Count a row of the catalog."""
        with self._lock:
            self.series[row["status"]] += 1
            self._add_reason(row)

    def add_scan(self, row: Row) -> None:
        """Count a row of the results."""
        with self._lock:
            self.scans[row["status"]] += 1
            self.lesions += row.get("n_lesions") or 0
            self._add_reason(row)

    def expect(self, more: int) -> None:
        """There is more to do than was known."""
        with self._lock:
            self.total += more

    def do_again(self, n: int) -> None:
        """Scans that were found done are to be done again after all."""
        with self._lock:
            self.again += n
            self.total += n

    def leave(self, n: int) -> None:
        """Series that have no recipe for their modality."""
        with self._lock:
            self.no_model += n

    def _add_reason(self, row: Row) -> None:
        if row.get("reason_code"):
            self.reasons[str(row["reason_code"])] += 1

    def summary(self, *, series: int, excluded: int, done_before: int, recipes: dict[str, str]) -> Summary:
        """The summary of a run.

        Args:
            series: in the source.
            excluded: of them, by selection.
            done_before: scans that were found done.
            recipes: modality to recipe_id.
        """
        return {
            "series": series,
            "ingested": self.series["ok"],
            "quarantined": self.series["quarantined"],
            "excluded": excluded,
            "processed": self.scans["ok"] + self.scans["quarantined"],
            "failed": self.scans["failed"],
            "done_before": done_before - self.again,
            "no_model": self.no_model,
            "lesions": self.lesions,
            "seconds": round(self.seconds, 1),
            "recipes": recipes,
        }


def as_markdown(summary: Summary, reasons: Counter[str]) -> str:
    """A summary as a page."""
    rows = [f"| {name.replace('_', ' ')} | {value} |" for name, value in summary.items() if name != "recipes"]
    rows += [f"| recipe {modality} | {recipe_id} |" for modality, recipe_id in summary["recipes"].items()]
    rows += [f"| `{reason}` | {n} |" for reason, n in reasons.most_common()]
    return "\n".join(["| | |", "|---|---|", *rows])
