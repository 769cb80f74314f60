"""Does a model run? It is loaded, run on a small drawn scan, and what it said is reported; one line if it fails."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pipeline.errors import ModelError, ScanError, ServiceError, first_line
from pipeline.masks import LevelMask
from pipeline.meter import metered
from pipeline.models.check_scan import CheckScan, check_scan
from pipeline.models.device import choose_backend, choose_device, clocked, device_name
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.registry import find_spec, load, load_characteriser
from schemas.config import ModelUse
from schemas.model import ModelSpec
from schemas.spine import level_name


@dataclass(frozen=True)
class SeenLevel:
    """What a model made of one vertebra of the scan."""

    drawn: str
    """Its name."""
    seen_as: str | None
    """The level that covers most of it; None where nothing does."""
    dice: float
    """Of the two."""


@dataclass(frozen=True)
class ModelCheck:
    """What was seen of a model."""

    name: str
    """Its own name and version."""
    task: str
    """levels, lesions, both or characterise."""
    modality: str
    """Modality of the drawn scan."""
    digest: str
    """Of its spec and weights."""
    device: str
    """cpu, or the GPU's name."""
    backend: str
    """torch, openvino, or none without a network."""
    scan: str
    """Size and spacing of the drawn scan."""
    problem: str | None = None
    """Why it does not run, in one line; None where it does."""
    levels: dict[str, int] | None = None
    """Levels that it marked, and their voxels; None where that is not its task."""
    vertebrae: list[SeenLevel] | None = None
    """The scan's own vertebrae, and what it made of them."""
    naming_anchor: str | None = None
    """What its names rest on."""
    lesions: int | None = None
    """Lesions that it marked (the scan has one); None where that is not its task."""
    lesion_found: bool | None = None
    """Whether one of them touches the scan's."""
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
    """Run a model on a small drawn scan of its first modality, with one lesion and known vertebrae.

    The scan shows whether the model runs and what it gives, not whether it is any good. Arguments as
    `pipeline.models.registry.load`.

    Raises:
        ModelError: there is no such model, or its model.yaml cannot be read. What fails later is in `problem`.
    """
    spec, digest = find_spec(name_or_uri, storage_options=storage_options)
    scan = check_scan(spec.modality[0])
    volume, _, lesion = scan
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
                    facts |= _seen(predictor, spec, scan)
        except (ModelError, ScanError) as failure:
            facts["problem"] = str(failure)
        except ServiceError:
            raise
        except Exception as failure:  # in a run it would be a row with the reason `error` or `out_of_memory`
            facts["problem"] = f"{type(failure).__name__}: {first_line(failure)}"
    seconds = meter.seconds | {"network": clock.busy_s}
    return ModelCheck(**{"backend": "none"} | facts, seconds=seconds, peak_rss_mb=meter.peak_rss_mb)


def _seen(predictor: Predictor, spec: ModelSpec, scan: CheckScan) -> dict[str, Any]:
    """What a model marks in the drawn scan."""
    volume, truth, lesion = scan
    seen: dict[str, Any] = {}
    if spec.task in ("levels", "both"):
        mask = predictor.levels(volume, modality=spec.modality[0])
        numbers, counts = np.unique(mask.levels, return_counts=True)
        found = zip(numbers.tolist(), counts.tolist(), strict=True)
        seen["levels"] = {level_name(number): count for number, count in found if number}
        seen["vertebrae"] = _vertebrae(truth, mask)
        seen["naming_anchor"] = mask.anchor
    if spec.task in ("lesions", "both"):
        settings = LesionSettings.of(ModelUse(model=spec.name), spec, suv_factor=1.0)
        lesions = predictor.lesions(volume, modality=spec.modality[0], within=truth, settings=settings)
        scores = lesions.score_max
        seen["lesions"] = int(lesions.instances.max(initial=0))
        seen["lesion_found"] = bool((lesions.instances[lesion.instances > 0] > 0).any())
        seen["candidates"] = len(lesions.candidates)
        seen["score_max"] = float(scores.max()) if scores is not None and len(scores) else None
    return seen


def _vertebrae(truth: LevelMask, mask: LevelMask) -> list[SeenLevel]:
    """What covers each vertebra of the scan, from the head down."""
    rows = []
    for number in sorted(int(n) for n in np.unique(truth.levels) if n):
        own = truth.levels == number
        counts = np.bincount(mask.levels[own])
        counts[0] = 0
        best = int(counts.argmax())
        if counts[best] == 0:
            rows.append(SeenLevel(level_name(number), None, 0.0))
            continue
        dice = 2 * counts[best] / (np.count_nonzero(own) + np.count_nonzero(mask.levels == best))
        rows.append(SeenLevel(level_name(number), level_name(best), round(float(dice), 3)))
    return rows
