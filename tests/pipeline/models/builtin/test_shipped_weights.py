"""The shipped weights on fresh phantoms of both sites: vertebrae told apart, and no wrong name."""

from __future__ import annotations

import pytest

from pipeline.models.registry import load
from pipeline.phantom.protocols import SITES
from pipeline.training.evaluate_builtin import draw_scan
from pipeline.training.figures import level_figures


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit.trace")  # OpenVINO's converter traces
@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_vertebrae_are_told_apart_and_none_is_named_wrongly(site: object) -> None:
    phantom = draw_scan(810_001, site)  # type: ignore[arg-type]
    levels = load("builtin/ct-levels").levels(phantom.volume, modality="CT")
    figures = level_figures(levels, phantom.levels, voxel_mm3=phantom.volume.grid.voxel_mm3)
    assert figures.dice > 0.7
    assert figures.n_apart >= 0.8 * figures.n_true
    assert figures.n_wrong == 0
