"""What models give and tally takes: masks on the grid of the scan."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

LABEL_TYPE = np.uint16
"""Type of every stored mask."""

BODY = 1
"""In `LevelMask.parts`: vertebral body."""
POSTERIOR = 2
"""In `LevelMask.parts`: pedicles, lamina and processes."""


@dataclass(frozen=True)
class LevelMask:
    """Which voxel belongs to which level of the spine."""

    levels: npt.NDArray[np.uint16]
    """[z, y, x], numbers of `schemas.spine`, 0 elsewhere."""
    parts: npt.NDArray[np.uint8] | None = None
    """[z, y, x], `BODY` or `POSTERIOR` inside vertebrae; None where the model does not tell them apart."""
    anchor: str | None = None
    """What the names rest on (sacrum, ribs, C2, mask); None where vertebrae are unnumbered."""


@dataclass(frozen=True)
class LesionMask:
    """Lesions as instances, and what was seen but is none."""

    instances: npt.NDArray[np.uint16]
    """[z, y, x], 1 ... n without a hole in the numbering, 0 elsewhere."""
    score_max: npt.NDArray[np.float64] | None = None
    """(n,) largest score of each; None for masks without scores."""
    score_mean: npt.NDArray[np.float64] | None = None
    """(n,) mean score of each."""
    candidates: list[dict[str, object]] = field(default_factory=list)
    """Rows of `schemas.results.CANDIDATE`, without `level`."""
    volume_change: npt.NDArray[np.float64] | None = None
    """(n,) volume after resampling over that before, less 1; None where nothing was resampled."""
    model_class: list[dict[str, float]] | None = None
    """Class probabilities of each, where a characterising model ran."""
