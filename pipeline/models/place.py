"""Where and how a model is opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from pipeline.models.predictor import Predictor
from schemas.model import ModelSpec


@dataclass(frozen=True)
class Place:
    """Where and how a model is opened."""

    folder: Path
    """Holds model.yaml and what it names."""
    device: torch.device
    """Where the network runs."""
    backend: str
    """auto, torch or openvino."""
    trust: bool
    """Whether the person who runs this allows code in the weights to run."""
    identity: str | None = None
    """Says all that makes the model what it is; what is kept of it for later processes is found by it."""
    remote: bool = False
    """Whether it was fetched from object storage, so that nobody has looked into its model.yaml here."""


Opener = Callable[[ModelSpec, Place], Predictor]
"""`open_model` of a format's module or of a built-in model's package."""
