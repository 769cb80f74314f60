"""All shards of a run, in two passes: scans that borrow another modality's levels wait until all others are through."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict

from distributed import Client

from flows.borrowing import borrows, levels_of_others, no_levels, outdated
from flows.cluster import total_slots
from flows.counts import Counts
from flows.earlier import earlier_results
from flows.pending import ShardWork
from flows.prepare import Outlook
from flows.shards import LevelsOf, Setting, Shard
from flows.tasks import run_shards
from pipeline.series import MaskUris
from pipeline.store import Store


def do_shards(outlook: Outlook, client: Client, counts: Counts) -> None:
    """Do all work of an outlook on a cluster; `counts` grows on the way.

    Raises:
        ServiceError: a service went away; what was not committed stays pending.
    """
    left = _one_pass(outlook, client, counts, outlook.work, borrowing=False, levels_of=no_levels)
    left = _with_outdated(outlook, left, counts)
    if left:
        levels_of = levels_of_others(outlook.opened_store)
        _one_pass(outlook, client, counts, left, borrowing=True, levels_of=levels_of)


def _with_outdated(outlook: Outlook, left: list[ShardWork], counts: Counts) -> list[ShardWork]:
    """What is left, and the scans whose levels come from one that this run has done again."""
    waiting = {key for each in left for key in each.scans}
    known = outlook.known.outdated | waiting
    added = defaultdict(list)
    for key, shard in outdated(outlook.opened_store, outlook.recipes.values()).items():
        if key not in known:
            added[shard].append(key)
    counts.do_again(sum(map(len, added.values())))
    scans = {each.shard: each.scans for each in left}
    return [
        ShardWork(shard, (), (*scans.get(shard, ()), *sorted(added.get(shard, ()))))
        for shard in dict.fromkeys([*scans, *added])
    ]


def _one_pass(
    outlook: Outlook, client: Client, counts: Counts, work: Sequence[ShardWork], *, borrowing: bool, levels_of: LevelsOf
) -> list[ShardWork]:
    """Do one pass; what is left for the next."""
    later = {recipe.modality for recipe in outlook.recipes.values() if borrows(recipe)}
    setting = Setting(
        client=client,
        store=outlook.opened_store,
        config=outlook.config,
        stages=outlook.stages,
        recipes={m: recipe for m, recipe in outlook.recipes.items() if (m in later) == borrowing},
        modalities=frozenset(outlook.recipes),
        counts=counts,
        masks={e.series_key: asdict(e.masks) for e in outlook.index.series if e.masks != MaskUris()},
        given={e.series_key: e.given_id for e in outlook.index.series if e.given_id is not None},
        catalog=_files_by_shard(outlook.opened_store),
        levels_of=levels_of,
        earlier_of=earlier_results(outlook.opened_store, outlook.recipes.values()),
    )
    done = run_shards(
        (Shard(each, setting) for each in work),
        slots=lambda: total_slots(client),
        is_alive=lambda: client.status == "running",
    )
    left = [ShardWork(shard.name, (), shard.series_of(later)) for shard in done]
    return [each for each in left if each.scans]


def _files_by_shard(store: Store) -> dict[str, list[str]]:
    files = defaultdict(list)
    for path in store.list("catalog"):
        files[path.removeprefix("catalog/").split("-")[0]].append(path)
    return files
