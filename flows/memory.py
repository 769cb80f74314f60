"""Memory, planned: what a worker will need at its peak, before anything starts; and slots that fit, or a refusal.

A worker's peak is its libraries, and for each scan at a time the voxels as they are stored with their masks, the window
that goes through the network, and the sums of scores that later windows still add to. The constants were measured on
CPU workers with the built-in models.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from distributed import Client

from flows.cluster import Capacity, local_capacity
from flows.prepare import Outlook
from pipeline.errors import ConfigError
from pipeline.models.converted import windows_at_once
from pipeline.recipe import ResolvedRecipe
from schemas.config import CohortConfig
from schemas.label_tables import LABEL_TABLES
from schemas.model import ModelSpec

log = logging.getLogger("spinetally.memory")

MIB = 1 << 20

WORKER_BYTES = 700 * MIB
"""A worker with PyTorch, OpenVINO and SimpleITK, and no scan."""
VOXEL_BYTES = 2.5
"""Per voxel of the scan: int16, and what is cut out of it to measure."""
MASK_BYTES = 2.5
"""Per voxel and model: its mask as uint16, and scores or parts of vertebrae, where it finds something."""
WINDOW_BYTES = 480
"""Per voxel of the network's window: features of all layers."""

_NNUNET_PATCH = (128, 128, 128)
"""Window that nnU-Net plans for an isotropic CT; its plans lie with the weights, not in model.yaml."""
_SUM_BYTES, _NNUNET_SUM_BYTES = 4, 2
"""Per class and voxel of the slab that windows cover: nnU-Net adds up in half precision."""
_LONGEST = 96
"""A window that covers the whole plane is at most that long across it."""
_UNKNOWN_MM = 400.0
"""Extent along an axis where the headers give no spacing."""
_USABLE = 0.95
"""Of a worker's limit: above it Dask ends the worker."""


@dataclass(frozen=True)
class Need:
    """What the most demanding scan takes."""

    series_key: str
    """Which it is."""
    shape: tuple[int, ...]
    """Its voxels along z, y, x."""
    slot_bytes: int
    """Memory beside the libraries."""

    def worker_bytes(self, slots: int) -> int:
        """Peak of a worker that does so many such scans at a time."""
        return WORKER_BYTES + slots * self.slot_bytes


def largest_need(outlook: Outlook) -> Need | None:
    """The most demanding of the scans to do; None where there is none."""
    return max(_needs(outlook), key=lambda need: need.slot_bytes, default=None)


def plan_capacity(config: CohortConfig, need: Need | None) -> Capacity:
    """Sizes of a local cluster that hold the most demanding scan; slots are lowered where they do not fit.

    Raises:
        ConfigError: not even one such scan fits a worker.
    """
    if need is None or config.cluster != "local":  # other workers are there or are described: see `check_workers`
        return local_capacity(config)
    capacity = local_capacity(config, slot_bytes=need.slot_bytes, worker_bytes=WORKER_BYTES)
    fitting = slots_that_fit(need, capacity.memory_bytes)
    if fitting == 0:
        raise ConfigError(refusal(need, capacity.memory_bytes))
    if fitting < capacity.slots:
        log.warning(
            "slots lowered from %d to %d: with %d, a worker is predicted to take %s of the %s that it may (series %s)",
            capacity.slots, fitting, capacity.slots, in_gib(need.worker_bytes(capacity.slots)),
            in_gib(capacity.memory_bytes), need.series_key,
        )  # fmt: skip
        return replace(capacity, slots=fitting)
    return capacity


def check_workers(client: Client, need: Need | None) -> None:
    """Refuse workers that are there and cannot hold as many such scans as they have threads.

    Raises:
        ConfigError: with both figures; the slots of workers that somebody else started cannot be lowered from here.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values() if need else ()
    for limit, threads in {(worker["memory_limit"], worker["nthreads"]) for worker in workers}:
        if need and limit and slots_that_fit(need, limit) == 0:
            raise ConfigError(refusal(need, limit))
        if need and limit and (fitting := slots_that_fit(need, limit)) < threads:
            raise ConfigError(
                f"workers of {threads} threads are predicted to take {in_gib(need.worker_bytes(threads))} of the "
                f"{in_gib(limit)} that each may (series {need.series_key}): start them with {fitting} threads"
            )


def slots_that_fit(need: Need, memory_bytes: int) -> int:
    """How many such scans fit a worker at a time."""
    return max(0, int(memory_bytes * _USABLE - WORKER_BYTES) // need.slot_bytes)


def refusal(need: Need, memory_bytes: int) -> str:
    """Why it cannot be done, with both figures and the series."""
    return (
        f"series {need.series_key} ({' x '.join(map(str, need.shape))} voxels) is predicted to take "
        f"{in_gib(need.worker_bytes(1))}, a worker may take {in_gib(int(memory_bytes * _USABLE))}: give fewer "
        "`workers` or more memory, or leave it out by a `select` rule"
    )


def in_gib(n_bytes: int) -> str:
    """`3.2 GiB`."""
    return f"{n_bytes / (1 << 30):.1f} GiB"


def slot_bytes(shape: Sequence[int], spacing_mm: Sequence[float] | None, specs: Iterable[ModelSpec]) -> int:
    """Memory of one scan beside a worker's libraries.

    Args:
        shape: its voxels along z, y, x.
        spacing_mm: along z, y, x; None where the headers do not tell.
        specs: the models that see it.
    """
    models = list(specs)
    through = [_network_bytes(shape, spacing_mm, spec) for spec in models if _sees_windows(spec)]
    per_voxel = VOXEL_BYTES + MASK_BYTES * len(models)
    return int(per_voxel * math.prod(shape) + max(through, default=0)) + MIB


def _sees_windows(spec: ModelSpec) -> bool:
    """Whether voxels go through its network; builtin/ct-lesions has weights, but for a score of a few numbers."""
    return spec.weights is not None and (spec.format != "builtin" or spec.spacing_mm is not None)


def _network_bytes(shape: Sequence[int], spacing_mm: Sequence[float] | None, spec: ModelSpec) -> float:
    """The window's features, and the sums of a slab as high as the window; the constant holds those of whole planes."""
    patch = spec.patch or (_NNUNET_PATCH if spec.format == "nnunet" else None)
    extents = [n * s for n, s in zip(shape, spacing_mm, strict=True)] if spacing_mm else [_UNKNOWN_MM] * len(shape)
    grid = [mm / s for mm, s in zip(extents, spec.spacing_mm, strict=True)] if spec.spacing_mm else list(shape)
    if patch is None:
        return WINDOW_BYTES * min(_LONGEST, grid[0]) * math.prod(grid[1:])
    sums = 0 if spec.task == "characterise" else patch[0] * math.prod(grid[1:]) * _n_classes(spec)
    return WINDOW_BYTES * math.prod(patch) * windows_at_once(patch) + sums * (
        _NNUNET_SUM_BYTES if spec.format == "nnunet" else _SUM_BYTES
    )


def _n_classes(spec: ModelSpec) -> int:
    """With the background."""
    return 1 + max(LABEL_TABLES[spec.label_table].known if spec.label_table else spec.labels, default=1)


def _needs(outlook: Outlook) -> Iterator[Need]:
    specs = {modality: _specs(recipe) for modality, recipe in outlook.recipes.items()}
    for work in outlook.work:
        for entry in work.entries:
            shape, spacing = entry.columns.get("shape"), entry.columns.get("spacing_mm")
            if entry.excluded_by is None and entry.problem is None and entry.n_voxels <= _most(outlook):
                yield _need(entry.series_key, shape or [1, 1, entry.n_voxels], spacing, entry.modality, specs)
        for key in work.scans:
            row = outlook.known.series[key]
            yield _need(key, row.shape, row.spacing_mm, row.modality, specs)


def _need(
    key: str,
    shape: Sequence[int],
    spacing_mm: Sequence[float] | None,
    modality: str | None,
    specs: Mapping[str, Sequence[ModelSpec]],
) -> Need:
    return Need(key, tuple(shape), slot_bytes(shape, spacing_mm, specs.get(modality or "", ())))


def _most(outlook: Outlook) -> int:
    return outlook.config.limits.max_voxels


def _specs(recipe: ResolvedRecipe) -> list[ModelSpec]:
    return [model.spec for models in recipe.models.values() for model in models]
