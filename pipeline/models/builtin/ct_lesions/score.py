"""How likely a proposed place is a lesion: a few small networks of one hidden layer over its description.

They see the numbers that `describe` names and no voxel. `python -m pipeline.training.fit_ct_lesions` makes them again.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from pipeline.errors import ModelError
from pipeline.models.builtin.ct_lesions.describe import NAMES

Numbers = npt.NDArray[np.float64]

_CLIP = 3.0
"""Standard deviations beyond which a number counts no more: nothing is extrapolated."""


@dataclass(frozen=True)
class Scorer:
    """n networks of h hidden units over the f numbers of a description; their mean is turned into a probability."""

    mean: Numbers
    """(f) of each number over the places that it was fitted on."""
    spread: Numbers
    """(f) standard deviations."""
    hidden: Numbers
    """(n, h, f) weights."""
    hidden_bias: Numbers
    """(n, h)."""
    out: Numbers
    """(n, h) weights."""
    out_bias: Numbers
    """(n)."""
    calibration: Numbers
    """(2) factor and offset from the mean of the networks to the logit of the score."""

    def raw(self, described: Numbers) -> Numbers:
        """Mean of the networks' outputs for descriptions (places, f)."""
        standard = np.clip((described - self.mean) / self.spread, -_CLIP, _CLIP)
        hidden = np.tanh(np.einsum("nhf,pf->pnh", self.hidden, standard) + self.hidden_bias)
        out: Numbers = ((hidden * self.out).sum(axis=2) + self.out_bias).mean(axis=1)
        return out

    def __call__(self, described: Numbers) -> Numbers:
        """Scores, 0 to 1, of descriptions (places, f)."""
        logit = self.calibration[0] * self.raw(described) + self.calibration[1]
        score: Numbers = 1 / (1 + np.exp(-np.clip(logit, -50, 50)))
        return score


def read_scorer(path: Path) -> Scorer:
    """A scorer from its safetensors file.

    Raises:
        ModelError: the file holds other numbers than these descriptions have.
    """
    stored = load_file(path)
    names = [field.name for field in fields(Scorer)]
    if set(stored) != set(names) or stored["mean"].shape != (len(NAMES),):
        raise ModelError(f"{path.name} does not fit: it must hold {', '.join(names)} for {len(NAMES)} numbers a place")
    return Scorer(**{name: stored[name].astype(np.float64) for name in names})


def write_scorer(scorer: Scorer, path: Path) -> None:
    """Write it in single precision, as it ships."""
    save_file({f.name: getattr(scorer, f.name).astype(np.float32) for f in fields(Scorer)}, path)
