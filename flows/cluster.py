"""Where the work runs: a Dask client for `cluster:` of the cohort file.

local                   worker processes on this machine, sized by its cores and memory
tcp://host:8786         a scheduler that runs already; tls:// takes its certificates from Dask's own configuration
cluster.yaml            {cluster_class: dask_jobqueue.SLURMCluster, cluster_kwargs: {...}, adapt_kwargs: {...}}
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import dask.system
import yaml
from distributed import Client, LocalCluster, Security
from distributed.system import MEMORY_LIMIT

from pipeline.errors import ConfigError, ServiceError
from schemas.config import CohortConfig

log = logging.getLogger("spinetally.cluster")

CONNECT_SECONDS = 30
"""How long a scheduler may take to answer."""

_KEYS = {"cluster_class", "cluster_kwargs", "adapt_kwargs"}

_MEMORY_SHARE = 0.9
"""Of the machine's memory for workers; the rest is for this process, Prefect's server and the page cache."""


@dataclass(frozen=True)
class Capacity:
    """What a local cluster is made of."""

    workers: int
    """Processes."""
    slots: int
    """Scans at a time in each."""
    threads: int
    """Threads of the numerical libraries in each."""
    memory_bytes: int
    """A worker that grows past this is ended."""


def local_capacity(config: CohortConfig, *, slot_bytes: int = 0, worker_bytes: int = 0) -> Capacity:
    """Processes and slots for this machine.

    A process per core reads and decodes faster than threads do (Python's lock), and a crash costs one scan; where
    memory is short there are fewer processes, and the network of each gets more threads.

    Args:
        config: `workers` and `slots` there are taken as they are.
        slot_bytes: memory that one scan may take; 0 if not known.
        worker_bytes: memory of a worker without scans.
    """
    cores, memory = int(dask.system.CPU_COUNT), int(MEMORY_LIMIT * _MEMORY_SHARE)
    slots = config.slots or 1
    need = worker_bytes + slots * slot_bytes
    fitting = memory // need if need else cores
    workers = config.workers or max(1, min(cores // slots or 1, fitting))
    return Capacity(workers, slots, max(1, cores // workers), memory // workers)


@contextmanager
def open_client(config: CohortConfig, capacity: Capacity) -> Iterator[Client]:
    """A client whose workers are there or on their way; what was started for it ends with it.

    Raises:
        ConfigError: the cluster's description is wrong.
        ServiceError: no scheduler answers, or the cluster cannot be started.
    """
    if config.cluster == "local":
        with (
            dask.config.set(_local_settings(capacity)),
            _local_cluster(capacity) as cluster,
            _connect(cluster) as client,
        ):
            yield client
    elif isinstance(config.cluster, str) and "://" in config.cluster:
        with _connect(config.cluster) as client:
            yield client
    else:
        with dask.config.set(_FAIR), _described_cluster(config.cluster) as cluster, _connect(cluster) as client:
            yield client


def check_description(cluster: str | dict[str, Any]) -> None:
    """See whether `cluster` of a cohort file can be meant, before anything is begun; nothing is started.

    Raises:
        ConfigError: it describes no cluster.
    """
    if cluster != "local" and not (isinstance(cluster, str) and "://" in cluster):
        _cluster_class(_description(cluster)["cluster_class"])


def total_slots(client: Client) -> int:
    """Scans that run at the same time now; at least 1, for workers that are still on their way."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return max(1, sum(worker["nthreads"] for worker in workers.values()))


_FAIR: dict[str, Any] = {
    # the first death ends a task, for it runs again in a process of its own (see `alone`)
    "distributed.scheduler.allowed-failures": 0,
    # two scans wait at each slot, so that it need not ask for the next: half the time of those that are nothing. When a
    # worker dies they are done alone like the one that was under way, and an idle worker takes them over
    "distributed.scheduler.worker-saturation": 3.0,
    # nobody looks at profiles of workers, which are made a hundred times a second and kept by the hour
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}


def _local_settings(capacity: Capacity) -> dict[str, Any]:
    threads = str(capacity.threads)
    return _FAIR | {
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 0.95,
        "distributed.nanny.pre-spawn-environ": {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MALLOC_TRIM_THRESHOLD_": "65536",
        },
    }


@contextmanager
def _local_cluster(capacity: Capacity) -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=capacity.workers,
        threads_per_worker=capacity.slots,
        memory_limit=capacity.memory_bytes,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,  # a heartbeat that meets the end of the run is no error; we tell what is
    ) as cluster:
        yield cluster


@contextmanager
def _connect(target: Any) -> Iterator[Client]:
    try:
        client = Client(target, timeout=CONNECT_SECONDS, set_as_default=False)
    except TypeError as error:
        raise ConfigError(
            "cluster: a tls:// address wants certificates: set distributed.comm.tls in Dask's configuration, or "
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__CLIENT__CERT and ...__CLIENT__KEY"
        ) from error
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        raise ServiceError(
            f"no Dask scheduler answers at {target if isinstance(target, str) else 'the new cluster'} "
            f"({type(error).__name__}): start it (`dask scheduler`), or correct `cluster`"
        ) from error
    with client:
        yield client


@contextmanager
def _described_cluster(described: str | dict[str, Any]) -> Iterator[Any]:
    description = _description(described)
    make = _cluster_class(description["cluster_class"])
    arguments = dict(description.get("cluster_kwargs") or {})
    if isinstance(arguments.get("security"), dict):
        arguments["security"] = Security(**arguments["security"])
    try:
        cluster = make(**arguments)
    except TypeError as error:
        raise ConfigError(f"cluster_kwargs do not fit {description['cluster_class']}: {error}") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise ServiceError(f"{description['cluster_class']} could not be started: {error}") from error
    with cluster:
        if description.get("adapt_kwargs"):
            cluster.adapt(**description["adapt_kwargs"])
        yield cluster


def _description(described: str | dict[str, Any]) -> dict[str, Any]:
    content: Any = described
    if isinstance(described, str):
        try:
            content = yaml.safe_load(Path(described).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(
                f"cluster: {Path(described).name} cannot be read ({type(error).__name__}). Allowed are `local`, a "
                "scheduler's address (tcp://host:8786) and a YAML file"
            ) from error
    if not isinstance(content, dict) or "cluster_class" not in content or not set(content) <= _KEYS:
        got = sorted(content) if isinstance(content, dict) else type(content).__name__
        raise ConfigError(f"cluster: wants cluster_class and may have cluster_kwargs and adapt_kwargs, got {got}")
    return content


def _cluster_class(name: str) -> Any:
    module, _, attribute = str(name).rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"cluster_class: {name} cannot be imported ({error}): install its package, such as dask-jobqueue or "
            "dask-kubernetes, or correct the name"
        ) from error
