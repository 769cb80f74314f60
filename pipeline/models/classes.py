"""What a network's classes mean, and how its raw scores become labels and probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import ModelError, ScanError
from schemas.label_tables import LABEL_TABLES
from schemas.model import ModelSpec
from schemas.reasons import Reason
from schemas.spine import level_number

LESION = "lesion"
"""Name of a class that is lesion; a name that begins so (`lesion_lytic`) is one too."""


@dataclass(frozen=True)
class Classes:
    """The classes of a network and its activation."""

    names: dict[int, str]
    """Class number to name; 0 is background and not named."""
    activation: str
    """softmax, sigmoid, or none where scores are probabilities already."""

    @classmethod
    def of(cls, spec: ModelSpec) -> Classes:
        """From a spec's `labels` or `label_table`.

        Raises:
            ModelError: it has neither, or what it has does not name what its task needs.
        """
        names = LABEL_TABLES[spec.label_table].levels if spec.label_table else spec.labels
        return cls.named(names, spec.activation, spec)

    @classmethod
    def named(cls, names: Mapping[int, str], activation: str, spec: ModelSpec) -> Classes:
        """From names that are known otherwise, such as those in nnU-Net's own dataset.json.

        Raises:
            ModelError: they do not name what the spec's task needs.
        """
        classes = cls(dict(names), activation)
        if spec.task in ("lesions", "both") and not classes.lesions:
            raise ModelError(_missing(spec, f"no class named {LESION!r}", "{1: lesion}"))
        if spec.task in ("levels", "both") and not classes.levels:
            raise ModelError(_missing(spec, "no class named as a level of the spine", "{1: L5, 2: L4}"))
        if not names or min(names) < (0 if spec.task == "characterise" else 1):
            raise ModelError(_missing(spec, "no class from 1 up (0 is background)", "{1: lesion}"))
        return classes

    @property
    def lesions(self) -> list[int]:
        """The classes that are lesions."""
        return [number for number, name in self.names.items() if name.lower().startswith(LESION)]

    @property
    def levels(self) -> dict[int, int]:
        """Class to the number of its level in a mask."""
        found = {}
        for number, name in self.names.items():
            try:
                found[number] = level_number(name)
            except ValueError:
                continue
        return found

    def level_values(self, channels: int) -> npt.NDArray[np.uint16]:
        """(channels with background,) the level in a mask of each class."""
        values = np.zeros(self._count(channels), dtype=np.uint16)
        for number, level in self.levels.items():
            values[number] = level
        return values

    def with_background(self, scores: torch.Tensor) -> torch.Tensor:
        """[k, ...] so that the largest is the class: where background has no channel, one at even odds is put first."""
        if self._has_background(len(scores)):
            return scores
        even = {"softmax": 0.0, "sigmoid": 0.0, "none": 0.5}[self.activation]
        return torch.cat([torch.full_like(scores[:1], even), scores])

    def lesion_probability(self, scores: torch.Tensor) -> torch.Tensor:
        """[k, ...] to the probability [1, ...] of being a lesion, of any kind."""
        shift = 0 if self._has_background(len(scores)) else -1
        self._count(len(scores))
        chosen = [number + shift for number in self.lesions]
        if self.activation == "softmax":
            return torch.softmax(scores, dim=0)[chosen].sum(dim=0, keepdim=True)
        picked = torch.sigmoid(scores[chosen]) if self.activation == "sigmoid" else scores[chosen].clamp(0, 1)
        return picked.amax(dim=0, keepdim=True)

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """(n, k) to probabilities (n, k)."""
        if self.activation == "none":
            return scores
        return torch.softmax(scores, dim=1) if self.activation == "softmax" else torch.sigmoid(scores)

    def _has_background(self, channels: int) -> bool:
        return self.activation == "softmax" or channels > max(self.names)

    def _count(self, channels: int) -> int:
        """Classes with background.

        Raises:
            ScanError: MODEL_OUTPUT, the network has fewer channels than the spec names classes.
        """
        count = channels + (not self._has_background(channels))
        if count <= max(self.names):
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the network gives {channels} channels, and its model.yaml names class {max(self.names)}"
                + ("; softmax needs a channel for background too" if self.activation == "softmax" else ""),
            )
        return count


def _missing(spec: ModelSpec, lack: str, example: str) -> str:
    return (
        f"model {spec.name!r} has {lack}: its task is {spec.task!r}; set `labels` such as {example}, or `label_table`"
    )
