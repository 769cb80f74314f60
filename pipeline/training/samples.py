"""A folder of phantoms on disk, filled by a process of its own, from which the trainer draws with replacement.

Drawing a phantom takes longer than a training step: the oldest sample gives way to the newest, and each is used many
times, every time cut and altered anew.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from schemas.spine import BY_NAME


@dataclass(frozen=True)
class Sample:
    """One phantom on the network's grid."""

    hu: npt.NDArray[np.int16]
    """[z, y, x] HU."""
    parts: npt.NDArray[np.uint8]
    """[z, y, x] classes of the network."""
    levels: npt.NDArray[np.uint8]
    """[z, y, x] level numbers, 0 elsewhere."""
    centres: npt.NDArray[np.float32]
    """(64, 3) middle of each level's body as z, y, x in voxels, by level number; NaN where the level is not there."""


def centres_of(levels: npt.NDArray[np.uint8], parts: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Middles of the bodies (of all of it for C1, which has none), (64, 3) as z, y, x; NaN for absent levels."""
    centres = np.full((64, 3), np.nan, dtype=np.float32)
    last = BY_NAME["SACRUM"].number, BY_NAME["COCCYX"].number
    index = np.argwhere(levels > 0)
    numbers, body = levels[levels > 0], parts[levels > 0] == 1
    for number in np.unique(numbers):
        own = numbers == number
        if number in last:
            continue
        chosen = own & body if (own & body).sum() > 20 else own
        centres[number] = index[chosen].mean(axis=0)
    return centres


def save(sample: Sample, folder: Path, number: int, ring: int) -> None:
    """Write a sample in the place of the oldest of `ring`; readers see it whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number % ring:05d}.npz"
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez(file, hu=sample.hu, parts=sample.parts, levels=sample.levels, centres=sample.centres)
    os.replace(temporary, path)


def read(path: Path) -> Sample:
    """A sample from disk."""
    with np.load(path) as stored:
        return Sample(stored["hu"], stored["parts"], stored["levels"], stored["centres"])


def draw(folder: Path, rng: np.random.Generator) -> Sample:
    """Any sample that is there.

    Raises:
        FileNotFoundError: the folder holds none yet.
    """
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise FileNotFoundError("no sample has been drawn yet: start the process that draws them first")
    return read(paths[int(rng.integers(len(paths)))])
