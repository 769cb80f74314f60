"""In the peers' environment: nnU-Net's own way from class scores to a segmentation, once per line on stdin.

python nnunet_export.py MODEL_FOLDER LOGITS.npy SHAPE_Z SHAPE_Y SHAPE_X; prints {"seconds", "peak_mb"} per line, and
writes the segmentation beside the scores.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def main(folder: Path, logits: Path, shape: tuple[int, ...]) -> None:
    """Answer each line with one repetition."""
    os.environ |= {name: str(folder) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
    from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans = PlansManager(str(folder / "plans.json"))
    dataset = json.loads((folder / "dataset.json").read_text())
    configuration = plans.get_configuration("3d_fullres")
    labels = plans.get_label_manager(dataset)
    scores = np.load(logits)
    spacing = [2.0 * have / want for have, want in zip(scores.shape[1:], shape, strict=True)]
    about = {
        "spacing": spacing, "shape_after_cropping_and_before_resampling": shape, "shape_before_cropping": shape,
        "bbox_used_for_cropping": [[0, n] for n in shape],
    }  # fmt: skip
    threads = int(os.environ.get("OMP_NUM_THREADS", "2"))
    for _ in sys.stdin:
        before = _reset_peak()
        start = time.perf_counter()
        segmentation = convert_predicted_logits_to_segmentation_with_correct_shape(
            scores, plans, configuration, labels, about, num_threads_torch=threads
        )
        seconds, peak = time.perf_counter() - start, _peak_mb() - before
        np.save(logits.with_name("peer.npy"), np.asarray(segmentation))
        print(json.dumps({"seconds": seconds, "peak_mb": peak}), flush=True)


def _reset_peak() -> float:
    Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb()


def _peak_mb() -> float:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), tuple(int(word) for word in sys.argv[3:6]))
