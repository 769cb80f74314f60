"""What a worker is told: which scan to do, and where."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline.store import Store
from schemas.config import OnGpuFull


@dataclass(frozen=True)
class Earlier:
    """A result of the same models with the same settings, of which only the measuring has changed since."""

    labels_uri: str
    """Its masks."""
    naming_anchor: str | None = None
    """What its names of levels rest on."""
    lesions: tuple[dict[str, Any], ...] = ()
    """Of each lesion, in the order of its number, what no mask tells: scores, class, change in volume."""
    candidates: tuple[dict[str, Any], ...] | None = None
    """Its candidates; None where lesions were not looked for."""


@dataclass(frozen=True)
class ScanRequest:
    """One scan to do; small, and can be sent to a worker."""

    series: dict[str, Any]
    """Its row of the catalog."""
    masks: dict[str, str | None] = field(default_factory=dict, repr=False)
    """`lesions_uri`, `levels_uri` and `level_anchor` of the manifest."""
    levels_from: str | None = None
    """`labels_uri` of the scan of another modality whose levels are taken."""
    earlier: Earlier | None = None
    """What is measured again, where nothing is to be found again."""


@dataclass(frozen=True)
class Workplace:
    """Where scans are done."""

    store: Store
    """Volumes come from it, masks go to it."""
    storage_options: dict[str, Any] = field(default_factory=dict, repr=False)
    """For models and masks that lie elsewhere."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1."""
    on_gpu_full: OnGpuFull = "quarantine"
    """What becomes of a scan that does not fit the GPU's memory; see `schemas.config.CohortConfig`."""
    worker: str = "local"
    """Name for the rows."""
