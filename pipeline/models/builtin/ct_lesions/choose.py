"""Of proposals that overlap the one with the highest score, so that each place is one candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.models.builtin.ct_lesions.propose import Box, Mask, Proposal

_SHARED = 0.3
"""Two candidates share no more than that part of either."""
LEAST_SCORE = 0.02
"""What scores lower is not even a candidate."""


@dataclass(frozen=True)
class Candidate:
    """One place with its score."""

    box: Box
    """Where it lies on the working grid."""
    mask: Mask
    """Its voxels in the box."""
    score: float
    """0 to 1."""


def choose(
    places: Sequence[Proposal], scores: npt.NDArray[np.floating], shape: tuple[int, ...], *, least: float = LEAST_SCORE
) -> list[int]:
    """Positions of the places that are kept, highest score first."""
    owner = np.full(shape, -1, dtype=np.int32)
    sizes: list[int] = []
    kept: list[int] = []
    for k in np.argsort(-scores, kind="stable").tolist():
        if scores[k] < least:
            break
        place = places[k]
        there = owner[place.box][place.mask]
        shared = np.bincount(there[there >= 0], minlength=len(kept))
        if shared.sum() > _SHARED * len(there) or (shared > _SHARED * np.array(sizes)).any():
            continue
        block = owner[place.box]
        block[place.mask & (block < 0)] = len(kept)
        kept.append(k)
        sizes.append(len(there))
    return kept
