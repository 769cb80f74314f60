"""Behind the network: with what a perfect network would see, every vertebra comes out whole and rightly named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import ModelError
from pipeline.grid import Grid, Volume
from pipeline.models.builtin.ct_levels.chain import find_chain
from pipeline.models.builtin.ct_levels.fields import Fields
from pipeline.models.builtin.ct_levels.network import N_CLASSES, N_OUTPUTS, LevelsNetwork
from pipeline.models.builtin.ct_levels.predictor import decode
from pipeline.models.registry import find_spec, load
from pipeline.phantom import Phantom, Style, draw_phantom
from pipeline.training.figures import level_figures
from schemas.spine import BY_NAME
from tests.pipeline.models.builtin.oracle import perfect_fields


@pytest.fixture(scope="module")
def lumbar() -> Phantom:
    """T11 to the sacrum at 3 mm, the usual count."""
    return draw_phantom(3, style=Style.REALISTIC, levels=("T11", "SACRUM"), in_plane_mm=(140, 150), n_lesions=0)


@pytest.fixture(scope="module")
def fields(lumbar: Phantom) -> Fields:
    return perfect_fields(lumbar)


def test_perfect_sight_gives_every_vertebra_its_name(lumbar: Phantom, fields: Fields) -> None:
    mask = decode(fields, lumbar.volume)
    figures = level_figures(mask, lumbar.levels, voxel_mm3=27.0)
    assert mask.anchor == "sacrum, last ribs"
    assert figures.n_apart == figures.n_true == figures.n_named
    assert figures.n_wrong == figures.n_invented == 0
    assert figures.mean_dice > 0.98
    assert (mask.levels == BY_NAME["SACRUM"].number).sum() > 1000


def test_parts_follow_the_classes(lumbar: Phantom, fields: Fields) -> None:
    mask = decode(fields, lumbar.volume)
    assert mask.parts is not None
    vertebra = np.isin(lumbar.parts, (1, 2)) & (mask.parts > 0)
    assert (mask.parts == lumbar.parts)[vertebra].mean() > 0.97
    assert not mask.parts[mask.levels == BY_NAME["SACRUM"].number].any()


def test_a_field_of_view_without_anchors_stays_unnumbered(lumbar: Phantom) -> None:
    top = draw_phantom(3, style=Style.REALISTIC, levels=("L2", "L4"), in_plane_mm=(120, 100), n_lesions=0)
    mask = decode(perfect_fields(top), top.volume)
    assert mask.anchor is None
    assert {int(n) for n in np.unique(mask.levels) if n} >= {101, 102, 103}
    named = decode(perfect_fields(top), top.volume, {"V2": "L3"})
    assert named.anchor == "user"


def test_doubled_centres_within_a_body_are_not_two_vertebrae(fields: Fields) -> None:
    chain = find_chain(fields)
    smeared = np.maximum(fields.centre, np.roll(fields.centre, 3, axis=0))
    assert len(find_chain(replace(fields, centre=smeared)).points) == len(chain.points)


def test_a_faint_centre_is_filled_in(fields: Fields) -> None:
    points = find_chain(fields).points
    z, y, x = (points[len(points) // 2] / 3).astype(int)
    centre = fields.centre.copy()
    centre[z - 4 : z + 5, y - 6 : y + 7, x - 6 : x + 7] = 0
    assert len(find_chain(replace(fields, centre=centre)).points) == len(points)


def test_a_sliver_below_the_last_vertebra_is_none(lumbar: Phantom, fields: Fields) -> None:
    """Some of the sacrum seen as posterior elements: one vertebra more would part the sacrum from L5, and its name."""
    points = find_chain(fields).points
    z, y, x = ((2 * points[-1] - points[-2]) / 3).astype(int)
    sliver = (slice(z - 2, z + 3), slice(y - 2, y + 3), slice(x - 2, x + 3))
    classes = fields.classes.copy()
    classes[(slice(None), *sliver)] = np.eye(N_CLASSES, dtype=np.float16)[2][:, None, None, None]
    mask = decode(replace(fields, classes=classes), lumbar.volume)
    figures = level_figures(mask, lumbar.levels, voxel_mm3=27.0)
    assert mask.anchor == "sacrum, last ribs"
    assert figures.n_wrong == figures.n_invented == 0
    assert figures.n_apart == figures.n_named == figures.n_true


def test_nothing_seen_is_an_empty_mask(lumbar: Phantom, fields: Fields) -> None:
    nothing = np.zeros_like(fields.classes)
    nothing[0] = 1
    empty = Fields(fields.grid, nothing, np.zeros_like(fields.centre), np.zeros_like(fields.offset))
    mask = decode(empty, lumbar.volume)
    assert not mask.levels.any()
    assert mask.anchor is None


_AXES = [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, -1, 0, 0, 0, 1), (0, 0, -1, 1, 0, 0, 0, -1, 0)]


@pytest.mark.parametrize("direction", _AXES)
def test_masks_lie_on_the_scan_whatever_its_orientation(
    lumbar: Phantom, fields: Fields, direction: tuple[int, ...]
) -> None:
    """The same patient on a finer grid stored along other axes."""
    shape, spacing = (60, 70, 80), (2.0, 2.0, 2.0)
    middle = lumbar.volume.grid.to_lps((np.asarray(lumbar.volume.grid.shape) - 1) / 2)
    corner = Grid(shape, spacing, (0.0, 0.0, 0.0), tuple(map(float, direction)))
    origin = middle - corner.to_lps((np.asarray(shape) - 1) / 2)
    grid = Grid(shape, spacing, (float(origin[0]), float(origin[1]), float(origin[2])), corner.direction)
    mask = decode(fields, Volume(np.zeros(shape, dtype=np.int16), grid))
    index = np.argwhere(mask.levels > 0)[::50]
    there = np.rint(lumbar.volume.grid.to_index(grid.to_lps(index))).astype(int)
    inside = ((there >= 0) & (there < lumbar.levels.shape)).all(axis=1)
    got, real = mask.levels[tuple(index[inside].T)], lumbar.levels[tuple(there[inside].T)]
    assert inside.mean() > 0.95
    assert (got == real).mean() > 0.85


def test_folding_changes_no_score() -> None:
    torch.manual_seed(0)
    network = LevelsNetwork()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.uniform_(-0.5, 0.5)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    network.eval()
    hu = torch.randn(1, 1, 16, 32, 16) * 300
    with torch.inference_mode():
        before = network(hu)
        after = network.folded()(hu)
    assert before.shape == (1, N_OUTPUTS, 16, 32, 16)
    assert torch.allclose(before, after, atol=1e-4)
    assert N_CLASSES == 8


@pytest.mark.filterwarnings("ignore:.torch.jit.trace")  # OpenVINO's converter traces
def test_the_shipped_model_opens_and_refuses_what_is_not_its_task(lumbar: Phantom) -> None:
    spec, digest = find_spec("builtin/ct-levels")
    model = load("builtin/ct-levels", expected_digest=digest)
    assert model.spec == spec
    with pytest.raises(ModelError, match="not MR"):
        model.levels(lumbar.volume, modality="MR")
    with pytest.raises(ModelError, match="finds levels"):
        model.lesions(lumbar.volume, modality="CT", within=None, settings=None)  # type: ignore[arg-type]
