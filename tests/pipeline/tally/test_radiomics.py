from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.grid import Volume
from pipeline.regions import find_regions
from pipeline.tally import check_features, tally_scan
from pipeline.tally.radiomics import DEFAULT_FEATURES, features_of
from schemas.config import TypeRule
from tests.pipeline.tally.shapes import ellipsoid, grid_of, lesion_mask

N = 0
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [N, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, N, N], [1, 1, 1, 1, 1], [1, 1, N, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, N, N], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)
"""IBSI's digital phantom, voxels of 2 mm; 0 is outside its region of interest."""

needs_mirp = pytest.mark.skipif(
    importlib.util.find_spec("mirp") is None, reason="the extra `radiomics` is not installed"
)


def tally_with(radiomics: object, mask: np.ndarray) -> dict:
    grid = grid_of(mask.shape, (3.0, 0.8, 0.8))
    return tally_scan(
        Volume(np.random.default_rng(0).normal(100, 30, mask.shape).astype(np.float32), grid),
        modality="CT",
        intensity_unit="HU",
        suv_factor=None,
        lesions=lesion_mask(mask),
        levels=None,
        type_rule=TypeRule(),
        threshold=None,
        model=None,
        radiomics=radiomics,
    )


@needs_mirp
def test_reference_values_of_the_digital_phantom() -> None:
    """Reference values of IBSI's manual (arXiv 1612.07003), with the number of digits that it gives."""
    volume = Volume(np.pad(PHANTOM, 1).astype(np.float32), grid_of((6, 6, 7), (2.0, 2.0, 2.0)))
    (region,) = find_regions((volume.voxels > 0).astype(np.uint16))
    expected = {
        "morph_volume": (556, 1),
        "morph_area_mesh": (388, 1),
        "morph_sphericity": (0.843, 0.001),
        "morph_pca_elongation": (0.816, 0.001),
        "stat_mean": (2.15, 0.01),
        "stat_var": (3.05, 0.01),
        "stat_skew": (1.08, 0.01),
        "stat_kurt": (-0.355, 0.001),
        "stat_cov": (0.812, 0.001),
        "stat_energy": (567, 1),
        "ih_entropy": (1.27, 0.01),
        "ih_uniformity": (0.512, 0.001),
    }
    compute = features_of(list(expected), modality="CT", n_bins=6)
    found = compute(volume, region)
    for name, (value, digits) in expected.items():
        assert found[name] == pytest.approx(value, abs=0.6 * digits), name


@needs_mirp
def test_default_set_on_lesions() -> None:
    grid = grid_of((12, 40, 40), (3.0, 0.8, 0.8))
    mask = ellipsoid(grid, (16, 16, 18), (8, 8, 8)).astype(np.uint16)
    mask[0, 0, 0] = 2
    large, single = tally_with("default", mask)["lesions"]
    assert set(large["features"]) == set(DEFAULT_FEATURES)
    assert all(np.isfinite(value) for value in large["features"].values())
    assert 0.7 < large["features"]["morph_sphericity"] < 1
    assert single["features"] is None


@needs_mirp
@pytest.mark.parametrize("pad", [0, 1])
def test_textures_take_the_whole_of_a_lesion_at_the_faces_of_the_volume(pad: int) -> None:
    """A block of one value is one zone: its large zone emphasis is its number of cubes, squared. The eight at its
    corners have less than half their weight inside."""
    block = np.pad(np.ones((2, 3, 4), np.uint16), pad)
    volume = Volume(np.ones(block.shape, np.float32), grid_of(block.shape, (2.0, 2.0, 2.0)))
    (region,) = find_regions(block)
    found = features_of(["szm_lze"], modality="CT")(volume, region)
    assert found["szm_lze"] == (4 * 6 * 8 - 8) ** 2


@needs_mirp
def test_an_unknown_feature_is_refused_with_its_neighbours() -> None:
    with pytest.raises(ConfigError, match="stat_skew"):
        check_features(["stat_skwe"])


def test_no_features_unless_asked_for() -> None:
    assert "features" not in tally_with(None, np.ones((3, 3, 3)))["lesions"][0]


def test_without_the_library_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "mirp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mirp", None)
    with pytest.raises(ConfigError, match=r"spinetally\[radiomics\]"):
        check_features("default")
