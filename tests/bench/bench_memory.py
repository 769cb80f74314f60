"""Peak memory of one scan with the built-in models in a worker of one slot, against what `run --dry-run` plans for it.

SPINETALLY_BENCH_SHAPES chooses sizes along z, y, x: `600x512x512,2000x512x512` are those of the README.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.recipe import resolve_all
from pipeline.store import Store
from schemas.config import CohortConfig
from tests.flows.large_scan import drawn_ct, measure

SHAPES = os.environ.get("SPINETALLY_BENCH_SHAPES", "300x512x512")


@pytest.mark.bench
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shape", SHAPES.split(","))
def test_peak_memory(shape: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    z, y, x = (int(word) for word in shape.split("x"))
    volume = drawn_ct((z, y, x))
    recipe = resolve_all(CohortConfig.model_validate({"source": "s", "store": "t"}).recipe)["CT"]
    done = measure(Store.create(str(tmp_path / "store"), cohort="memory"), volume, recipe)
    assert done.row["n_lesions"] is not None
    record_property(shape, done.peak_mb)
    seconds = {name: done.row[f"seconds_{name}"] for name in ("read", "detect", "tally", "write", "total")}
    print(
        f"\n{shape}: {done.peak_mb:.0f} MiB at its peak, {done.predicted_mb:.0f} planned; "
        f"{done.row['n_lesions']} lesions, {done.row['n_levels_assessed']} whole levels; seconds {seconds}"
    )
