"""The verbs of the pipeline that a run calls, in one place, so that a test or a benchmark can put others in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from flows.work import Row, worker_name
from pipeline.index.source_index import SourceIndex, index_source
from pipeline.ingest import ingest_series
from pipeline.recipe import ResolvedRecipe, resolve_all
from pipeline.scan.process import ScanRequest, Workplace, process_scan
from pipeline.series import SeriesEntry
from pipeline.store import Store, new_attempt
from schemas.config import CohortConfig


@dataclass(frozen=True)
class Stages:
    """What is done, by functions of modules: workers find them by name."""

    resolve: Callable[..., dict[str, ResolvedRecipe]] = resolve_all
    """`pipeline.recipe.resolve_all`."""
    index: Callable[..., SourceIndex] = index_source
    """`pipeline.index.source_index.index_source`."""
    ingest: Callable[..., Row] = ingest_series
    """`pipeline.ingest.ingest_series`."""
    process: Callable[..., Row] = process_scan
    """`pipeline.scan.process.process_scan`."""


def ingest_once(
    entry: SeriesEntry, *, ingest: Callable[..., Row], store: Store, shard: str, config: CohortConfig
) -> Row:
    """Ingest one series under an attempt of its own: Dask may begin it twice, and nothing is written over."""
    return ingest(entry, store=store, shard=shard, attempt=new_attempt(), config=config)


def process_once(
    request: ScanRequest, *, process: Callable[..., Row], recipe: ResolvedRecipe, workplace: Workplace
) -> Row:
    """Do one scan under an attempt of its own; what runs out of memory beside others is tried again by `fan_out`."""
    here = replace(workplace, worker=worker_name())
    return process(request, recipe=recipe, attempt=new_attempt(), workplace=here, alone=True)
