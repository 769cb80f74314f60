"""A folder of CTs through one of our models, as a worker of two slots does it: reading overlaps with the network.

python -m tests.bench.peers.ours MODEL_FOLDER INPUT OUTPUT; prints {"network_share"}.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from pipeline.grid import Grid, Volume
from pipeline.models.device import clocked
from pipeline.models.registry import load


def main(model: Path, source: Path, target: Path) -> None:
    """Write a mask of levels for each CT."""
    predictor = load(str(model), device="cpu", trust=True)
    started = time.perf_counter()

    def one(path: Path) -> float:
        with clocked() as clock:
            image = sitk.ReadImage(path)
            mask = predictor.levels(_volume(image), modality="CT")
            written = sitk.GetImageFromArray(mask.levels)
            written.CopyInformation(image)
            sitk.WriteImage(written, target / path.name, useCompression=True)
            return clock.busy_s

    with ThreadPoolExecutor(2) as pool:
        busy = sum(pool.map(one, sorted(source.glob("*.nii.gz"))))
    print(json.dumps({"network_share": busy / (time.perf_counter() - started)}))


def _volume(image: sitk.Image) -> Volume:
    voxels = sitk.GetArrayFromImage(image)
    z, y, x = voxels.shape
    grid = Grid((z, y, x), image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection())
    return Volume(np.ascontiguousarray(voxels), grid)


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:4]))
