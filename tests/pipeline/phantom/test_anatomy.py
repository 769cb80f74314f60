from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import label

from pipeline.grid import Volume
from pipeline.phantom import Fov, Part, Phantom, Style, draw_patient, draw_phantom, render
from pipeline.phantom.field_of_view import centred_grid
from pipeline.phantom.lesions import LesionPlan
from pipeline.phantom.scanner import Scanner
from pipeline.phantom.shapes import rotation_xyz
from schemas.spine import level_number

CLEAN = Scanner(blur_mm=0.0, slice_mm=0.0, sharpen=0.0, noise_hu=0.0, noise_mm=0.0, streak_hu=0.0)


def around(level: str, *, spacing_mm: float, sides_mm: float = 84.0, plans: tuple[LesionPlan, ...] = ()) -> Phantom:
    """A box about one vertebra of one patient, without noise."""
    patient = replace(draw_patient(4, Style.REALISTIC), table=False)
    vertebra = next(v for v in (*patient.spine.vertebrae, patient.spine.sacrum) if v.name == level)
    n = int(sides_mm / spacing_mm)
    x, y, z = (float(c) for c in vertebra.centre)
    grid = centred_grid((x, y + 15, z - 4), (n, n, n), (spacing_mm,) * 3)
    return render(patient, grid, plans, CLEAN, seed=0)


def test_same_seed_same_voxels(lumbar):
    again = draw_phantom(11, style=Style.REALISTIC, fov=Fov.LUMBAR, n_lesions=5)
    other = draw_phantom(12, style=Style.REALISTIC, fov=Fov.LUMBAR, n_lesions=5)
    np.testing.assert_array_equal(again.volume.voxels, lumbar.volume.voxels)
    np.testing.assert_array_equal(again.lesions, lumbar.lesions)
    assert again.lesion_table == lumbar.lesion_table
    assert again.volume.grid == lumbar.volume.grid
    assert other.lesion_table != lumbar.lesion_table


def test_arrays_have_the_promised_types_and_one_shape(lumbar):
    assert isinstance(lumbar.volume, Volume)
    arrays = (lumbar.volume.voxels, lumbar.levels, lumbar.parts, lumbar.lesions)
    assert [str(a.dtype) for a in arrays] == ["float32", "uint8", "uint8", "uint16"]
    assert {a.shape for a in arrays} == {lumbar.volume.grid.shape}
    assert np.isfinite(lumbar.volume.voxels).all()


def test_levels_and_parts_agree(whole_spine):
    vertebra = np.isin(whole_spine.parts, (Part.BODY, Part.ARCH, Part.SACRUM))
    np.testing.assert_array_equal(whole_spine.levels > 0, vertebra)
    np.testing.assert_array_equal(whole_spine.levels == level_number("SACRUM"), whole_spine.parts == Part.SACRUM)
    c1 = whole_spine.levels == level_number("C1")
    assert set(np.unique(whole_spine.parts[c1])) == {Part.ARCH}


def test_all_parts_of_a_spine_are_there(whole_spine):
    assert set(np.unique(whole_spine.parts)) == set(Part)


def test_levels_follow_one_another_from_head_to_foot(whole_spine):
    numbers = [n for n in np.unique(whole_spine.levels) if n]
    body = whole_spine.parts != Part.ARCH
    heights = [np.argwhere((whole_spine.levels == n) & body)[:, 0].mean() for n in numbers if n > 1]
    assert len(numbers) >= 24
    assert all(upper > lower for upper, lower in pairwise(heights))


@pytest.mark.parametrize(
    ("level", "width", "height"), [("C5", (14, 24), (10, 17)), ("T6", (24, 36), (15, 24)), ("L3", (39, 58), (20, 33))]
)
def test_bodies_have_the_sizes_of_an_adult(level, width, height):
    phantom = around(level, spacing_mm=1.0, sides_mm=70)
    body = np.argwhere((phantom.levels == level_number(level)) & (phantom.parts == Part.BODY))
    z, _, x = np.ptp(body, axis=0) + 1
    assert width[0] <= x <= width[1]
    assert height[0] <= z <= height[1]


def test_finer_grids_converge_to_the_same_vertebra():
    volumes = {}
    for spacing in (3.0, 1.5, 1.0):
        phantom = around("L2", spacing_mm=spacing, sides_mm=126)
        volumes[spacing] = np.count_nonzero(phantom.levels == level_number("L2")) * spacing**3
    assert volumes[1.5] == pytest.approx(volumes[1.0], rel=0.01)
    assert volumes[3.0] == pytest.approx(volumes[1.0], rel=0.04)


def test_cortex_is_brighter_than_trabecular_bone_and_bone_than_disc():
    phantom = around("L3", spacing_mm=1.0)
    hu = phantom.volume.voxels
    body = (phantom.levels == level_number("L3")) & (phantom.parts == Part.BODY)
    depth = np.argwhere(body)
    middle = depth.mean(axis=0).astype(int)
    core = tuple(slice(m - 4, m + 5) for m in middle)
    rim = hu[body & ~_eroded(body)]
    assert np.median(rim) > np.median(hu[core]) + 50
    assert np.median(hu[core]) > np.median(hu[phantom.parts == Part.DISC])


def _eroded(mask):
    inner = mask.copy()
    for axis in range(3):
        inner &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return inner


@pytest.mark.parametrize(("kind", "contrast"), [("lytic", -130.0), ("blastic", 400.0)])
def test_a_lesion_has_its_planned_volume_and_contrast(kind, contrast):
    plan = LesionPlan(
        level="L3",
        kind=kind,
        centre=(3.0, -2.0, 0.0),
        radii=(8.0, 6.0, 5.0),
        turn=(10.0, 20.0, 30.0),
        contrast_hu=contrast,
    )
    phantom = around("L3", spacing_mm=1.0, plans=(plan,))
    without = around("L3", spacing_mm=1.0)
    (row,) = phantom.lesion_table
    assert (row.kind, row.level, row.instance) == (kind, "L3", 1)
    assert row.volume_mm3 == pytest.approx(4 / 3 * np.pi * 8 * 6 * 5, rel=0.02)
    patient = draw_patient(4, Style.REALISTIC)
    vertebra = next(v for v in patient.spine.vertebrae if v.name == "L3")
    assert row.centre_mm == pytest.approx(tuple(vertebra.place(plan.centre)), abs=0.3)
    core = _eroded(_eroded(phantom.lesions == 1))
    changed = phantom.volume.voxels[core].mean() - without.volume.voxels[core].mean()
    assert changed == pytest.approx(contrast, abs=0.15 * abs(contrast))


def test_lesions_are_single_pieces_inside_their_level_and_as_large_as_asked(lumbar):
    assert len(lumbar.lesion_table) >= 3
    assert sorted(np.unique(lumbar.lesions)) == [0, *(row.instance for row in lumbar.lesion_table)]
    for row in lumbar.lesion_table:
        mask = lumbar.lesions == row.instance
        assert set(np.unique(lumbar.levels[mask])) == {level_number(row.level)}
        assert label(mask, structure=np.ones((3, 3, 3)))[1] == 1
        assert row.volume_mm3 == np.count_nonzero(mask) * lumbar.volume.grid.voxel_mm3
        assert row.volume_mm3 >= 0.9 * 500
        assert abs(row.contrast_hu) >= 120
    assert label(lumbar.lesions > 0, structure=np.ones((3, 3, 3)))[1] == len(lumbar.lesion_table)


def test_a_pose_moves_the_truth_with_the_voxels():
    patient = replace(draw_patient(4, Style.REALISTIC), table=False)
    plan = LesionPlan("L3", "blastic", (0.0, 0.0, 0.0), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0), 400.0)
    centre = next(v for v in patient.spine.vertebrae if v.name == "L3").centre
    pose = rotation_xyz(12, -8, 20)
    x, y, z = (float(c) for c in pose @ centre)
    grid = centred_grid((x, y, z), (30, 30, 30), (2.0, 2.0, 2.0))
    (row,) = render(patient, grid, (plan,), CLEAN, seed=0, pose=pose).lesion_table
    assert row.centre_mm == pytest.approx((x, y, z), abs=0.5)


@pytest.mark.parametrize("fov", list(Fov))
@pytest.mark.parametrize("style", list(Style))
def test_every_field_of_view_can_be_drawn(style, fov):
    phantom = draw_phantom(21, style=style, fov=fov, spacing_mm=(6.0, 5.0, 5.0), n_lesions=1, min_lesion_mm3=1500)
    assert phantom.levels.any()
    assert len(phantom.lesion_table) <= 1


def test_a_field_of_view_of_levels_holds_them_whole():
    phantom = draw_phantom(5, style=Style.REALISTIC, levels=("T12", "L2"), spacing_mm=(3.0, 2.0, 2.0), n_lesions=0)
    for name in ("T12", "L1", "L2"):
        z = np.argwhere(phantom.levels == level_number(name))[:, 0]
        assert z.min() > 0
        assert z.max() < phantom.levels.shape[0] - 1


def test_an_unknown_level_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="no level 'L9'"):
        draw_phantom(5, levels=("T12", "L9"))
