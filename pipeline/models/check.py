"""Does a model run? It is loaded, run on a small synthetic scan, and what it said is reported; one line if it fails."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pipeline.errors import ModelError, ScanError
from pipeline.grid import Grid, Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.meter import metered
from pipeline.models.device import choose_backend, choose_device, clocked, device_name
from pipeline.models.predictor import LesionSettings
from pipeline.models.registry import find_spec, load, load_characteriser
from schemas.config import ModelUse
from schemas.model import ModelSpec
from schemas.spine import level_name

_LEVELS = range(18, 24)
"""T11 ... L4 in the synthetic scan."""


@dataclass(frozen=True)
class ModelCheck:
    """What was seen of a model."""

    name: str
    """Its own name and version."""
    task: str
    """levels, lesions, both or characterise."""
    modality: str
    """Modality of the synthetic scan."""
    digest: str
    """Of its spec and weights."""
    device: str
    """cpu, or the GPU's name."""
    backend: str
    """torch, openvino, or none without a network."""
    scan: str
    """Size and spacing of the synthetic scan."""
    problem: str | None = None
    """Why it does not run, in one line; None where it does."""
    levels: dict[str, int] | None = None
    """Levels that it marked, and their voxels; None where that is not its task."""
    lesions: int | None = None
    """Lesions that it marked (the scan has one); None where that is not its task."""
    candidates: int | None = None
    """Candidates beside these."""
    score_max: float | None = None
    """Its largest score."""
    classes: dict[str, float] | None = None
    """Class probabilities that it gave to the scan's lesion."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of loading, of running, and of that with the network at work."""
    peak_rss_mb: float | None = None
    """Largest resident memory of the process meanwhile, in MiB."""

    def as_dict(self) -> dict[str, Any]:
        """For printing and JSON."""
        return asdict(self)


def check_model(
    name_or_uri: str,
    *,
    device: str = "auto",
    backend: str = "auto",
    trust: bool = False,
    storage_options: dict[str, Any] | None = None,
) -> ModelCheck:
    """Run a model on a small synthetic scan of its first modality, with one lesion and known vertebrae.

    The scan shows whether the model runs and what it gives, not whether it is any good. Arguments as
    `pipeline.models.registry.load`.

    Raises:
        ModelError: there is no such model, or its model.yaml cannot be read. What fails later is in `problem`.
    """
    spec, digest = find_spec(name_or_uri, storage_options=storage_options)
    volume, truth, lesion = synthetic_scan(spec.modality[0])
    place = choose_device(device)
    has_network = spec.format not in ("precomputed", "threshold", "command")
    facts: dict[str, Any] = {
        "name": f"{spec.name} {spec.version}",
        "task": spec.task,
        "modality": spec.modality[0],
        "digest": digest,
        "device": device_name(place),
        "scan": f"{volume.grid.shape} voxels of {volume.grid.spacing_mm} mm (z, y, x)",
    }
    where: dict[str, Any] = {"device": device, "trust": trust, "storage_options": storage_options}
    with metered() as meter, clocked() as clock:
        try:
            facts["backend"] = choose_backend(backend, place) if has_network else "none"
            if spec.task == "characterise":
                with meter.stage("load"):
                    characteriser = load_characteriser(name_or_uri, **where)
                with meter.stage("run"):
                    found = characteriser.characterise(volume, lesion, modality=spec.modality[0])
                facts["classes"] = (found.model_class or [{}])[0]
            elif spec.format != "precomputed":
                with meter.stage("load"):
                    predictor = load(name_or_uri, backend=backend, **where)
                with meter.stage("run"):
                    facts |= _seen(predictor, spec, volume, truth)
        except (ModelError, ScanError) as failure:
            facts["problem"] = str(failure)
    seconds = meter.seconds | {"network": clock.busy_s}
    return ModelCheck(**{"backend": "none"} | facts, seconds=seconds, peak_rss_mb=meter.peak_rss_mb)


def _seen(predictor: Any, spec: ModelSpec, volume: Volume, truth: LevelMask) -> dict[str, Any]:
    """What a model marks in the synthetic scan."""
    seen: dict[str, Any] = {}
    if spec.task in ("levels", "both"):
        numbers, counts = np.unique(predictor.levels(volume, modality=spec.modality[0]).levels, return_counts=True)
        found = zip(numbers.tolist(), counts.tolist(), strict=True)
        seen["levels"] = {level_name(number): count for number, count in found if number}
    if spec.task in ("lesions", "both"):
        settings = LesionSettings.of(ModelUse(model=spec.name), spec, suv_factor=1.0)
        lesions = predictor.lesions(volume, modality=spec.modality[0], within=truth, settings=settings)
        scores = lesions.score_max
        seen["lesions"] = int(lesions.instances.max(initial=0))
        seen["candidates"] = len(lesions.candidates)
        seen["score_max"] = float(scores.max()) if scores is not None and len(scores) else None
    return seen


def synthetic_scan(modality: str) -> tuple[Volume, LevelMask, LesionMask]:
    """A trunk with a column of vertebrae, one with a lesion, in the modality's usual units; vertebrae; the lesion.

    210 x 150 x 150 mm at 3 x 1.5 x 1.5 mm: large enough for a window of most networks, small enough for seconds.
    """
    grid = Grid((70, 100, 100), (3.0, 1.5, 1.5), (-75.0, -75.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    x, y, z = np.moveaxis(grid.to_lps(np.moveaxis(np.indices(grid.shape), 0, -1)), -1, 0)
    levels = np.zeros(grid.shape, dtype=np.uint16)
    for place, number in enumerate(reversed(_LEVELS)):
        middle = 20 + 34 * place
        levels[(np.abs(z - middle) < 13) & ((x / 22) ** 2 + ((y - 15) / 16) ** 2 < 1)] = number
        levels[(np.abs(z - middle) < 7) & (np.abs(x) < 5) & (y > 30) & (y < 60)] = number
    lesion = ((x - 5) ** 2 + (y - 12) ** 2 + (z - 88) ** 2) < 8**2
    background, soft, bone, hot = _VALUES[modality]
    values = np.where((x / 68) ** 2 + (y / 60) ** 2 < 1, soft, background)
    values = np.where(levels > 0, bone, values)
    values = np.where(lesion, hot, values)
    noise = np.random.default_rng(0).normal(0, 0.02 * (hot - background), grid.shape)
    voxels = (values + noise).astype(np.float32 if modality == "PT" else np.int16)
    return Volume(voxels, grid), LevelMask(levels, anchor="synthetic"), LesionMask(lesion.astype(np.uint16))


_VALUES = {"CT": (-1000, 40, 220, 700), "MR": (0, 300, 450, 120), "PT": (0, 0.8, 1.2, 9), "NM": (0, 20, 60, 400)}
"""Background, soft tissue, bone and lesion: HU for CT, SUV for PT, arbitrary for MR and NM."""
