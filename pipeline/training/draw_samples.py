"""Draw phantoms into the ring of samples without end: started by the trainer as a process of its own."""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np

from pipeline.models.builtin.ct_levels.network import SPACING_MM
from pipeline.phantom import Style, draw_training_sample
from pipeline.training.samples import Sample, centres_of, save

SHAPE = (100, 76, 92)
"""Voxels of a sample: a training window may lie in it turned and anywhere."""


def draw_one(seed: int) -> Sample:
    """The sample of a seed: two of three look like nothing in particular, one like an adult's scan."""
    style = Style.REALISTIC if seed % 3 == 0 else Style.TRAINING
    phantom = draw_training_sample(seed, SHAPE, (SPACING_MM,) * 3, style=style)
    hu = np.clip(phantom.volume.voxels, -1024, 3071).astype(np.int16)
    return Sample(hu, phantom.parts, phantom.levels, centres_of(phantom.levels, phantom.parts))


def main() -> None:
    """Fill the ring, then go on replacing its oldest sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ring", type=int, default=400, help="samples kept on disk")
    parser.add_argument("--seed", type=int, default=1, help="samples differ between seeds")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between two samples, for the trainer's sake")
    parser.add_argument("--stop-after", type=int, default=None, help="stop after this many samples")
    args = parser.parse_args()
    for number in itertools.islice(itertools.count(), args.stop_after):
        save(draw_one(args.seed * 10_000_000 + number), args.folder, number, args.ring)
        time.sleep(args.pause)


if __name__ == "__main__":
    main()
