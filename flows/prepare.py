"""From a cohort file to what is to do: index, plan, and what the store lacks.

`look` writes nothing, so a wrong request leaves no trace; `begin` makes the store and adds the plan, the recipes and
the index of the source to it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq

from flows.borrowing import outdated
from flows.counts import Counts, Summary
from flows.pending import Known, Retry, ShardWork, count_statuses, find_work, first_scans, read_known
from flows.shards import expected_scans
from flows.stages import Stages
from pipeline.identity import SECRET, Identity
from pipeline.index.source_index import SourceIndex
from pipeline.plan import make_plan, plan_id
from pipeline.recipe import ResolvedRecipe, save
from pipeline.store import MARK, Store, new_attempt
from schemas.catalog import PLAN
from schemas.config import CohortConfig

IndexProgress = Callable[[int, int], None]
"""Called with files done and files to open."""

log = logging.getLogger("spinetally")

_NAMED = 3
"""Series that a warning names."""

_INDEX, _CROSSWALK, _CLINICAL = "private/index", "private/crosswalk", "clinical"


@dataclass(frozen=True)
class Outlook:
    """What a run would do."""

    config: CohortConfig
    """The cohort file."""
    stages: Stages
    """With what."""
    recipes: dict[str, ResolvedRecipe]
    """By modality."""
    store: Store | None
    """The store; None where it has yet to be made."""
    identity: Identity = field(repr=False)
    """Of the store, or the one it will have."""
    index: SourceIndex = field(repr=False)
    """What the source holds."""
    known: Known = field(repr=False)
    """What the store says."""
    new_plan: pa.Table = field(repr=False)
    """Rows of the plan that are yet to be written."""
    work: tuple[ShardWork, ...] = ()
    """What is to do, shard by shard."""
    started: float = field(default_factory=time.monotonic)
    """When the look began."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do: no scan, and no scans of one patient that an ended run left uncompared."""
        return not self.work and self.known.is_compared

    @property
    def recipe_ids(self) -> dict[str, str]:
        """Modality to recipe_id."""
        return {modality: recipe.recipe_id for modality, recipe in self.recipes.items()}

    @property
    def opened_store(self) -> Store:
        """The store, after `begin`."""
        if self.store is None:
            raise ValueError("the store has yet to be made: call `begin` first")
        return self.store

    def new_counts(self) -> Counts:
        """Counts for a run of this."""
        steps = sum(len(each) + expected_scans(each.entries, self.recipes.keys()) for each in self.work)
        return Counts(total=steps, no_model=self._untouched["no_model"], started=self.started)

    def summary(self, counts: Counts) -> Summary:
        """The summary of a run of this; it tells of vanished series where there are any."""
        summary = counts.summary(
            series=len(self.index.series),
            excluded=sum(entry.excluded_by is not None for entry in self.index.series),
            done_before=self._untouched["done"],
            recipes=self.recipe_ids,
        )
        return summary | ({"vanished": len(self.vanished)} if self.vanished else {})

    @property
    def vanished(self) -> tuple[str, ...]:
        """Keys of series that the store has and the source no longer holds; their rows stay."""
        present = {entry.series_key for entry in self.index.series if not entry.is_absent}
        absent = {entry.series_key for entry in self.index.series if entry.is_absent}
        return tuple(
            key
            for key, row in sorted(self.known.series.items())
            if key not in present and (row.status == "ok" or key not in absent)
        )

    @property
    def _untouched(self) -> Counter[str]:
        """Of the series that this run leaves alone: `done`, `no_model`, ..."""
        touched = {key for each in self.work for key in (*each.scans, *(e.series_key for e in each.entries))}
        left_alone = {key: row for key, row in self.known.series.items() if key not in touched}
        return count_statuses(Known(left_alone, self.known.scans), self.recipe_ids)


def look(
    config: CohortConfig,
    *,
    stages: Stages | None = None,
    limit: int | None = None,
    retry: Retry | None = None,
    progress: IndexProgress | None = None,
) -> Outlook:
    """Find out what there is to do; nothing is written.

    Raises:
        RequestError: a model, the source or the store is not what the cohort file says.
        ServiceError: one of them does not answer.
    """
    stages, started = stages or Stages(), time.monotonic()
    recipes = stages.resolve(config.recipe, storage_options=config.storage_options)
    store = _existing(config)
    identity = Identity.of(store) if store else Identity.throwaway()
    outlook = Outlook(
        config, stages, recipes, store, identity,
        index=stages.index(config, identity=identity, previous=last_index(store) if store else None, progress=progress),
        known=_known(store, recipes),
        new_plan=PLAN.empty_table(),
        started=started,
    )  # fmt: skip
    return _planned(outlook, limit, retry)


def begin(outlook: Outlook, *, limit: int | None = None, retry: Retry | None = None) -> Outlook:
    """Make the store where there is none, and add to it what the run stands on.

    Raises:
        StoreError: the place of the store holds something else.
        ServiceError: it does not answer.
    """
    config = outlook.config
    if outlook.store is None:
        store = Store.create(config.store, cohort=config.cohort, storage_options=config.storage_options)
        store.create_once(SECRET, outlook.identity.secret.hex().encode())
        if Identity.of(store) != outlook.identity:  # another run made it at the same moment: its keys are the ones
            return begin(look(config, stages=outlook.stages, limit=limit, retry=retry))
        outlook = replace(outlook, store=store)
    store = outlook.opened_store
    if outlook.vanished:
        log.warning(
            "%d series of the store are no longer in the source, their rows stay: %s",
            len(outlook.vanished), ", ".join(outlook.vanished[:_NAMED]) + (", ..." * (len(outlook.vanished) > _NAMED)),
        )  # fmt: skip
    for recipe in outlook.recipes.values():
        save(store, recipe)
    _write_private(store, outlook.index)
    if outlook.new_plan.num_rows:
        store.write_table(f"plan/{plan_id(outlook.new_plan)}.parquet", outlook.new_plan)
    return outlook


def _planned(outlook: Outlook, limit: int | None, retry: Retry | None) -> Outlook:
    known_plan = _read_plan(outlook.store)
    added = make_plan(outlook.index.series, known_plan)
    plan = pa.concat_tables([known_plan, added])
    work = find_work(outlook.known, outlook.index.series, plan, recipes=outlook.recipe_ids, retry=retry)
    return replace(outlook, new_plan=added, work=tuple(first_scans(work, limit)))


def _known(store: Store | None, recipes: Mapping[str, ResolvedRecipe]) -> Known:
    if store is None:
        return Known()
    return replace(read_known(store), outdated=frozenset(outdated(store, recipes.values())))


def _existing(config: CohortConfig) -> Store | None:
    """The store where there is one.

    Raises:
        StoreError: it is of a newer layout, or of another cohort.
    """
    if not Store.at(config.store, config.storage_options).exists(MARK):
        return None
    return Store.create(config.store, cohort=config.cohort, storage_options=config.storage_options)


def _read_plan(store: Store | None) -> pa.Table:
    paths = store.list("plan") if store else []
    return pa.concat_tables([PLAN.empty_table(), *(store.read_table(path) for path in paths if store)])


def last_index(store: Store) -> pa.Table | None:
    """The newest index of the source in a store; names sort by time."""
    paths = store.list(_INDEX)
    return store.read_table(paths[-1]) if paths else None


def last_crosswalk(store: Store) -> pa.Table | None:
    """What the source held when it was indexed last, by keys."""
    paths = store.list(_CROSSWALK)
    return store.read_table(paths[-1], ["series_key"]) if paths else None


def _write_private(store: Store, index: SourceIndex) -> None:
    """The index of the source and what came with it, where it is not what was written last."""
    for folder, table in ((_INDEX, index.files), (_CROSSWALK, index.crosswalk), (_CLINICAL, index.clinical)):
        ending = f"-{_digest(table)}.parquet"
        written = store.list(folder)
        if (table.num_rows or written) and not (written and written[-1].endswith(ending)):
            store.write_table(f"{folder}/{new_attempt()}{ending}", table)


def _digest(table: pa.Table) -> str:
    """Hash of a table's content."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="none")
    return hashlib.sha256(buffer.getvalue()).hexdigest()[:16]
