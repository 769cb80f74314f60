"""Peak memory of one scan in a worker of one slot, against what `run --dry-run` plans for it.

SPINETALLY_BENCH_SHAPES chooses sizes along z, y, x for the built-in models: `600x512x512,2000x512x512` are those of the
README. The network of nnU-Net is laid out as TotalSegmentator's (26 classes, 1.5 mm, windows of 128, six stages), with
weights drawn at random and SPINETALLY_BENCH_FEATURES (8) features where that has 32, which takes ten times as long.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.grid import Volume
from pipeline.models.formats.nnunet.networks import unet
from pipeline.recipe import resolve_all
from pipeline.store import Store
from schemas.config import CohortConfig
from tests.bench.engine_cases import LEVELS, write_spec
from tests.bench.peers.nnunet_model import small_plans
from tests.flows.large_scan import drawn_ct, measure

Record = Callable[[str, object], None]
SHAPES = os.environ.get("SPINETALLY_BENCH_SHAPES", "300x512x512")
FEATURES = int(os.environ.get("SPINETALLY_BENCH_FEATURES", "8"))

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("shape", SHAPES.split(","))
def test_built_in_models(shape: str, tmp_path: Path, record_property: Record) -> None:
    z, y, x = (int(word) for word in shape.split("x"))
    row = _show(shape, drawn_ct((z, y, x)), {}, tmp_path, record_property)
    assert row["n_lesions"] is not None


def test_as_totalsegmentator(tmp_path: Path, record_property: Record) -> None:
    _write_results(tmp_path / "model" / "results", names=[*LEVELS, "SACRUM"])
    model = write_spec(tmp_path / "model", format="nnunet", weights="results")
    recipe = {"CT": {"levels": {"model": str(model)}}}
    volume = drawn_ct((1000, 512, 512))
    _show(f"1000x512x512, 26 classes at 1.5 mm, {FEATURES} features", volume, recipe, tmp_path, record_property)


def _show(name: str, volume: Volume, recipe: dict[str, Any], tmp_path: Path, record_property: Record) -> dict[str, Any]:
    config = {"source": "s", "store": "t"} | ({"recipe": recipe} if recipe else {})
    resolved = resolve_all(CohortConfig.model_validate(config).recipe)["CT"]
    done = measure(Store.create(str(tmp_path / "store"), cohort="memory"), volume, resolved)
    record_property(name, done.peak_mb)
    seconds = {part: round(done.row[f"seconds_{part}"], 1) for part in ("read", "detect", "tally", "write", "total")}
    print(
        f"\n{name}: {done.peak_mb:.0f} MiB at its peak, {done.predicted_mb:.0f} planned; "
        f"{done.row['n_lesions']} lesions, {done.row['n_levels_assessed']} whole levels; seconds {seconds}"
    )
    return done.row


def _write_results(folder: Path, names: list[str]) -> None:
    """A results folder of nnU-Net with weights drawn at random."""
    plans = small_plans(FEATURES, 128, mm=1.5, stages=6)
    settings = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    labels = {"background": 0} | {f"vertebrae_{name}": number for number, name in enumerate(names, 1)}
    torch.manual_seed(0)
    network = unet("PlainConvUNet", settings, channels=1, classes=len(labels))
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    checkpoint = {"network_weights": network.state_dict(), "init_args": {"configuration": "3d_fullres"}}
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
