"""What a network's classes mean, and how its raw scores become labels and probabilities."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from pipeline.errors import ModelError, ScanError
from schemas.label_tables import LABEL_TABLES
from schemas.model import ModelSpec
from schemas.reasons import Reason
from schemas.spine import LEVELS, level_number

LESION = "lesion"
"""Name of a class that is lesion; a name that begins so (`lesion_lytic`) is one too."""

_PROBABLE = 0.01
"""How far beyond 0 and 1 a probability may lie before it is none."""

_USUAL = frozenset(level.name for level in LEVELS) - {"T13", "L6", "SACRUM", "COCCYX"}
"""The levels that every table knows."""

_LIKE_A_LEVEL = re.compile(r"(?:VERTEBRAE?[_ ]*)?(C|TH?|L|S|V)[_ ]?(\d+)|(SACRUM|COCCYX)", re.IGNORECASE)
"""A name that means a level or is meant to."""


@dataclass(frozen=True)
class Classes:
    """The classes of a network and its activation."""

    names: dict[int, str]
    """Class number to name; 0 is background and not named."""
    activation: str
    """softmax, sigmoid, or none where scores are probabilities already."""
    least: int
    """Highest class that must be there."""

    @classmethod
    def of(cls, spec: ModelSpec) -> Classes:
        """From a spec's `labels` or `label_table`.

        Raises:
            ModelError: it has neither, or what it has does not name what its task needs.
        """
        return cls.named(spec.labels, spec.activation, spec)

    @classmethod
    def named(cls, names: Mapping[int, str], activation: str, spec: ModelSpec) -> Classes:
        """From names that are known otherwise, such as those in nnU-Net's dataset.json; a `label_table` goes before.

        Of a table a network need not have the classes beyond C1 to L5: not every one knows a sixth lumbar vertebra.

        Raises:
            ModelError: they do not name what the spec's task needs.
        """
        least = None
        if spec.label_table is not None:
            names = LABEL_TABLES[spec.label_table].levels
            least = max(number for number, name in names.items() if name in _USUAL)
        elif spec.task != "characterise":
            names = {number: name for number, name in names.items() if (number, name.lower()) != (0, "background")}
        if spec.task in ("levels", "both"):
            names = {number: plain_name(name, spec.name) for number, name in names.items()}
        _check_names(names, spec)
        return cls(dict(names), activation, max(names) if least is None else least)

    @property
    def lesions(self) -> list[int]:
        """The classes that are lesions."""
        return [number for number, name in self.names.items() if _is_lesion(name)]

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
        """(channels of `level_scores`,) the level in a mask of each class."""
        values = np.zeros(self._count(channels + len(self.lesions)), dtype=np.uint16)
        for number, level in self.levels.items():
            if number < len(values):
                values[number] = level
        return np.delete(values, self.lesions)

    def level_scores(self, scores: torch.Tensor) -> torch.Tensor:
        """[k, ...] so that the largest is the level: background first, at even odds where it has no channel, and no
        class that is lesion, for a lesion lies in a level and would be a hole in it.
        """
        if not self.has_background(len(scores)):
            even = {"softmax": 0.0, "sigmoid": 0.0, "none": 0.5}[self.activation]
            scores = torch.cat([torch.full_like(scores[:1], even), scores])
        if not self.lesions:
            return scores
        self._count(len(scores))
        return scores[[number for number in range(len(scores)) if number not in self.lesions]]

    def lesion_probability(self, scores: torch.Tensor) -> torch.Tensor:
        """[k, ...] to the probability [1, ...] of being a lesion, of any kind."""
        shift = 0 if self.has_background(len(scores)) else -1
        self._count(len(scores))
        chosen = [number + shift for number in self.lesions]
        if self.activation == "softmax":
            return torch.softmax(scores, dim=0)[chosen].sum(dim=0, keepdim=True)
        if self.activation == "sigmoid":
            return torch.sigmoid(scores[chosen]).amax(dim=0, keepdim=True)
        picked = scores[chosen].amax(dim=0, keepdim=True)
        _check_probable(picked)
        return picked.clamp(0, 1)

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """(n, k) to probabilities (n, k)."""
        if self.activation == "none":
            _check_probable(scores)
            return scores.clamp(0, 1)
        return torch.softmax(scores, dim=1) if self.activation == "softmax" else torch.sigmoid(scores)

    def has_background(self, channels: int) -> bool:
        """Whether the first of so many channels is background's."""
        return self.activation == "softmax" or channels > self.least

    def _count(self, channels: int) -> int:
        """Classes with background.

        Raises:
            ScanError: MODEL_OUTPUT, the network has fewer channels than the spec names classes.
        """
        count = channels + (not self.has_background(channels))
        if count <= self.least:
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the network gives {channels} channels, and its model.yaml names class {self.least}"
                + ("; softmax needs a channel for background too" if self.activation == "softmax" else ""),
            )
        return count


def plain_name(name: str, model: str) -> str:
    """A level's name as `schemas.spine` has it: `vertebrae_L5` and `l5` are L5, `Th3` is T3, S1 to S5 are SACRUM.

    Raises:
        ModelError: it looks like one and is none, such as L7.
    """
    found = _LIKE_A_LEVEL.fullmatch(name.strip())
    if found is None:
        return name
    letters, digits, bone = (str(part or "").upper() for part in found.groups())
    plain = bone or ("SACRUM" if letters == "S" and digits in "12345" else f"{letters[:1]}{int(digits)}")
    try:
        level_number(plain)
    except ValueError as failure:
        raise ModelError(f"model {model!r} names a class {name!r}: {failure}") from None
    return plain


def _check_names(names: Mapping[int, str], spec: ModelSpec) -> None:
    """Whether these name what the task needs.

    Raises:
        ModelError: they do not.
    """
    if spec.task in ("lesions", "both") and not any(_is_lesion(name) for name in names.values()):
        raise ModelError(_missing(spec, f"no class named {LESION!r}", "{1: lesion}"))
    if spec.task in ("levels", "both") and not Classes(dict(names), "none", 0).levels:
        raise ModelError(_missing(spec, "no class named as a level of the spine", "{1: L5, 2: L4}"))
    if not names:
        raise ModelError(_missing(spec, "no named class", "{0: benign, 1: malignant}"))
    if spec.task == "characterise" and len(set(names.values())) < len(names):
        raise ModelError(f"model {spec.name!r} gives two classes one name: their probabilities could not be told apart")
    if min(names) < 0 or (min(names) == 0 and spec.task != "characterise"):
        raise ModelError(
            f"model {spec.name!r} names class {min(names)} {names[min(names)]!r}; 0 is background, and others are "
            "numbered from 1 up"
        )


def _check_probable(scores: torch.Tensor) -> None:
    """Whether scores that are to be probabilities are some.

    Raises:
        ScanError: MODEL_OUTPUT, they are not.
    """
    low, high = (float(one) for one in scores.aminmax()) if scores.numel() else (0.0, 1.0)
    if low < -_PROBABLE or high > 1 + _PROBABLE:
        raise ScanError(
            Reason.MODEL_OUTPUT,
            f"the network gives scores from {low:.3g} to {high:.3g}, and its model.yaml says `activation: none`, for "
            "probabilities: say softmax or sigmoid",
        )


def _is_lesion(name: str) -> bool:
    return name.lower().startswith(LESION)


def _missing(spec: ModelSpec, lack: str, example: str) -> str:
    return (
        f"model {spec.name!r} has {lack}: its task is {spec.task!r}; set `labels` such as {example}, or `label_table`"
    )
