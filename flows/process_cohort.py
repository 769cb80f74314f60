"""The flow: look, begin, shards, summary.

with prefect_api() as api:
    api.wait()
    process_cohort(load_cohort(Path("cohort.yaml")))
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.task_runners import ThreadPoolTaskRunner

from flows.changes import add_changes
from flows.cluster import check_description, open_client
from flows.counts import Summary, as_markdown
from flows.memory import check_workers, largest_need, plan_capacity
from flows.passes import do_shards
from flows.pending import Retry
from flows.prepare import Outlook, begin, look
from flows.progress import shown
from pipeline.errors import ServiceError, SpinetallyError
from schemas.config import CohortConfig

log = logging.getLogger("spinetally")

_THREADS: Any = ThreadPoolTaskRunner()


@flow(name="process-cohort", flow_run_name="{cohort.cohort}", task_runner=_THREADS, persist_result=False)
def process_cohort(cohort: CohortConfig, limit: int | None = None, retry: Retry | None = None) -> Summary:
    """Do what a cohort lacks; the summary that `run --json` prints.

    Args:
        cohort: the cohort file.
        limit: series and scans at most.
        retry: try again what failed or was quarantined, and nothing else.

    Raises:
        RequestError: the cohort file asks for what is not there; nothing has been written.
        ServiceError: a service was not there; what was not committed stays pending.
    """
    return do_work(look(cohort, limit=limit, retry=retry))


def run_outlook(outlook: Outlook) -> Summary:
    """The same flow where somebody has looked already; a lost Prefect server spoils no work that was done.

    Raises:
        RequestError: the place of the store is taken.
        ServiceError: a service was not there.
    """
    finished: list[Summary] = []

    @flow(name="process-cohort", flow_run_name="{cohort}", task_runner=_THREADS, persist_result=False)
    def process_outlook(cohort: str, recipes: dict[str, str]) -> Summary:  # noqa: ARG001 - Prefect shows them
        finished.append(do_work(outlook))
        return finished[0]

    try:
        return process_outlook(outlook.config.cohort, outlook.recipe_ids)
    except Exception as error:
        if not _is_from_prefect(error):
            raise
        if not finished:
            raise ServiceError(f"Prefect's server went away ({type(error).__name__}): run again") from error
        log.warning("Prefect's server went away (%s); the store has everything", type(error).__name__)
        return finished[0]


def do_work(outlook: Outlook) -> Summary:
    """Begin, and do all shards; the summary. A cluster that is described wrongly or too small is refused before that.

    Raises:
        RequestError: the cluster cannot do it, or the place of the store is taken; nothing has been written.
        ServiceError: a service was not there; what was not committed stays pending.
    """
    need = largest_need(outlook)
    capacity = plan_capacity(outlook.config, need)
    check_description(outlook.config.cluster)
    outlook = begin(outlook)
    counts = outlook.new_counts()
    with shown(counts, title=outlook.config.cohort, report=_progress_artifact()):
        if not outlook.is_idle:
            with open_client(outlook.config, capacity) as client:
                check_workers(client, need)
                log.info("%s; Dask's page is %s", _said(len(outlook.work)), client.dashboard_link)
                if outlook.work:
                    do_shards(outlook, client, counts)
                add_changes(client, outlook.opened_store, batch_seconds=outlook.config.limits.scan_seconds)
    summary = outlook.summary(counts)
    _for_show(lambda: create_markdown_artifact(as_markdown(summary, counts.reasons), key="summary"))
    return summary


def _said(n_shards: int) -> str:
    if n_shards == 0:
        return "all scans are done, those of each patient are yet to be compared"
    return f"{n_shards} shard{'' if n_shards == 1 else 's'} to do"


def _progress_artifact() -> Callable[[float], None] | None:
    """A function that sets Prefect's progress bar; None where it could not be made."""
    artifact = _for_show(lambda: create_progress_artifact(0.0, key="progress"))
    if artifact is None:
        return None
    update: Any = update_progress_artifact
    return lambda percent: _for_show(lambda: update(artifact, progress=percent, _sync=True))


def _for_show(call: Callable[[], Any]) -> Any:
    """Call Prefect for something that is only shown: what goes wrong there stops no work."""
    try:
        return call()
    except Exception as error:
        log.debug("Prefect could not be told: %s", type(error).__name__)
        return None


def _is_from_prefect(error: Exception) -> bool:
    return not isinstance(error, SpinetallyError) and type(error).__module__.split(".")[0] in ("httpx", "prefect")
