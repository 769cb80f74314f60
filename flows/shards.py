"""One shard: ingest what is missing and commit; then, recipe by recipe, process what is missing and commit.

What was committed is not done again, also when the rest of the shard is tried a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from distributed import Client

from flows.borrowing import is_older
from flows.counts import Counts
from flows.fan_out import fan_out
from flows.pending import ShardWork
from flows.stages import Stages, ingest_once, process_once
from flows.work import Job, Row
from pipeline.recipe import ResolvedRecipe
from pipeline.scan.request import Earlier, ScanRequest, Workplace
from pipeline.series import SeriesEntry
from pipeline.store import Store, new_attempt
from pipeline.store.results import commit_catalog, commit_results
from schemas.config import CohortConfig
from schemas.reasons import Reason

LevelsOf = Callable[[Row, ResolvedRecipe], str | None]
"""From a series' row and its recipe to the labels whose levels it borrows."""

EarlierOf = Callable[[Row, ResolvedRecipe, str | None], Earlier | None]
"""From a series' row, its recipe and the hash of its masks to a result that need only be measured again."""


@dataclass(frozen=True)
class Setting:
    """What all shards of a run share."""

    client: Client
    """Where scans are done."""
    store: Store
    """Where everything is."""
    config: CohortConfig
    """The cohort file."""
    stages: Stages
    """What is done."""
    recipes: Mapping[str, ResolvedRecipe]
    """By modality: those of this pass."""
    modalities: frozenset[str]
    """Those of all passes."""
    counts: Counts
    """Grows with every row."""
    masks: Mapping[str, dict[str, str | None]]
    """Series key to the masks that the manifest names."""
    given: Mapping[str, str | None]
    """Series key to the hash of those that the recipe uses."""
    catalog: Mapping[str, Sequence[str]]
    """Shard to its files of the catalog when the pass began."""
    levels_of: LevelsOf
    """Finds the levels that a scan borrows."""
    earlier_of: EarlierOf
    """Finds a result of which only the measuring has changed."""


class Shard:
    """A shard on its way; `run` may be called again after it raised."""

    def __init__(self, work: ShardWork, setting: Setting) -> None:
        self.name = work.shard
        self.size = len(work)
        self._entries, self._setting = work.entries, setting
        self._keys, self._rows = work.scans, list[Row]()

    def series_of(self, modalities: Collection[str]) -> tuple[str, ...]:
        """Keys of series of these modalities whose scan is left to do."""
        return tuple(row["series_key"] for row in self._rows if row["modality"] in modalities)

    def run(self) -> None:
        """Do what is left.

        Raises:
            ServiceError: a service went away.
        """
        if self._entries:
            self._ingest()
        self._rows += self._read_rows()
        for recipe in self._setting.recipes.values():
            self._process(recipe)

    def _ingest(self) -> None:
        setting, counts = self._setting, self._setting.counts
        arguments = {"ingest": setting.stages.ingest, "store": setting.store, "shard": self.name}
        rows = fan_out(
            setting.client,
            Job(ingest_once, {**arguments, "config": setting.config}, setting.config.limits.scan_seconds),
            self._entries,
            blame=self._blamed_series,
            on_row=counts.add_series,
        )
        commit_catalog(setting.store, shard=self.name, attempt=new_attempt(), rows=rows)
        self._rows = [row for row in rows if row["status"] == "ok"]
        n_scans = sum(row["modality"] in setting.modalities for row in self._rows)
        counts.expect(n_scans - expected_scans(self._entries, setting.modalities))
        counts.leave(len(self._rows) - n_scans)
        self._entries = ()

    def _process(self, recipe: ResolvedRecipe) -> None:
        setting = self._setting
        rows = [row for row in self._rows if row["modality"] == recipe.modality]
        if not rows:
            return
        workplace = Workplace(
            setting.store, storage_options=setting.config.storage_options, on_gpu_full=setting.config.on_gpu_full
        )
        arguments = {"process": setting.stages.process, "recipe": recipe, "workplace": workplace}
        results = fan_out(
            setting.client,
            Job(process_once, arguments, setting.config.limits.scan_seconds),
            [self._request(row, recipe) for row in rows],
            blame=lambda request, reason, sentence: _blamed_scan(request, recipe, reason, sentence),
            on_row=setting.counts.add_scan,
        )
        results = [row | {"given_id": setting.given.get(row["series_key"])} for row in results]
        commit_results(setting.store, recipe_id=recipe.recipe_id, shard=self.name, attempt=new_attempt(), rows=results)
        self._rows = [row for row in self._rows if row["modality"] != recipe.modality]

    def _request(self, row: Row, recipe: ResolvedRecipe) -> ScanRequest:
        setting, key = self._setting, row["series_key"]
        given = setting.given.get(key)
        lent, earlier = setting.levels_of(row, recipe), setting.earlier_of(row, recipe, given)
        if lent is not None and earlier is not None and is_older(earlier.labels_uri, lent):
            earlier = None  # it holds levels that have changed since
        return ScanRequest(row, masks=setting.masks.get(key, {}), levels_from=lent, earlier=earlier)

    def _read_rows(self) -> list[Row]:
        """The newest `ok` row of the series that were in the store before."""
        best: dict[str, Row] = {}
        for path in self._setting.catalog.get(self.name, ()) if self._keys else ():
            for row in self._setting.store.read_table(path).to_pylist():
                known = best.get(row["series_key"])
                if row["status"] == "ok" and (known is None or known["attempt"] < row["attempt"]):
                    best[row["series_key"]] = row
        rows = [best[key] for key in self._keys if key in best]
        self._keys = ()
        return rows

    def _blamed_series(self, entry: SeriesEntry, reason: Reason, sentence: str) -> Row:
        """The quarantined row of a series, made as any other: from what the index knows, nothing is read."""
        setting = self._setting
        blamed = replace(entry, problem=(reason, sentence))
        return setting.stages.ingest(
            blamed, store=setting.store, shard=self.name, attempt=new_attempt(), config=setting.config
        )


def expected_scans(entries: Sequence[SeriesEntry], modalities: Collection[str]) -> int:
    """How many of these series will be scans to process, if all can be read."""
    return sum(e.modality in modalities and e.excluded_by is None and e.problem is None for e in entries)


def _blamed_scan(request: ScanRequest, recipe: ResolvedRecipe, reason: Reason, sentence: str) -> Row:
    copied = ("series_key", "study_key", "patient_key", "version", "shard", "modality", "site")
    outcome: dict[str, Any] = {
        "recipe_id": recipe.recipe_id,
        "attempt": new_attempt(),
        "status": "failed" if reason is Reason.ERROR else "quarantined",
        "reason_code": reason.value,
        "reason": sentence,
        "finished_at": datetime.now(UTC),
    }
    return {name: request.series.get(name) for name in copied} | outcome
