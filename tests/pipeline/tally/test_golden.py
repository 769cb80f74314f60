"""Figures of one made-up scan, held: where one changes, `schemas.versions.TALLY` has to go up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from schemas.versions import TALLY
from tests.pipeline.tally.shapes import bone, ellipsoid, lesion_mask, spine, tally

GOLDEN = Path(__file__).with_name("golden.json")


def figures() -> dict[str, object]:
    grid, levels = spine(("T10", "T11", "T12", "L1"))
    voxels, mask = bone(levels, seed=3), np.zeros(grid.shape, np.uint16)
    for label, (centre, radii, hu) in enumerate(
        [((30, 24, 40), (7, 5, 4), 700), ((20, 30, 26), (4, 4, 6), -60), ((22, 44, 10), (2, 4, 3), 250)], start=1
    ):
        inside = ellipsoid(grid, centre, radii)
        mask[inside], voxels[inside] = label, hu
    return tally(voxels, grid, lesions=lesion_mask(mask), levels=levels)


def rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_figures_stay_as_they_were() -> None:
    """`python -m tests.pipeline.tally.test_golden` writes the file anew."""
    golden = json.loads(GOLDEN.read_text())
    if golden["version"] != TALLY:
        pytest.fail(f"golden.json is of version {golden['version']}, TALLY is {TALLY}: write it anew")
    assert json.loads(json.dumps(rounded(figures()))) == golden["figures"]


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({"version": TALLY, "figures": rounded(figures())}, indent=1) + "\n")
