"""A run from a terminal: look first, and start Prefect only when there is something to do."""

from __future__ import annotations

from flows.counts import Summary
from flows.pending import Retry
from flows.prefect_server import prefect_api
from flows.prepare import IndexProgress, begin, look
from flows.stages import Stages
from schemas.config import CohortConfig


def launch(
    config: CohortConfig,
    *,
    limit: int | None = None,
    retry: Retry | None = None,
    stages: Stages | None = None,
    progress: IndexProgress | None = None,
) -> Summary:
    """Do what a cohort lacks; the summary.

    Raises:
        RequestError: the cohort file asks for what is not there; nothing has been written.
        ServiceError: a service was not there; what was not committed stays pending.
    """
    with prefect_api() as api:
        outlook = look(config, limit=limit, retry=retry, stages=stages, progress=progress)
        if outlook.is_idle:
            return begin(outlook).summary(outlook.new_counts())
        from flows.process_cohort import run_outlook  # Prefect reads its settings when it is imported

        api.wait()
        return run_outlook(outlook)
