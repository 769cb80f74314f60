from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.grid import Grid
from pipeline.phantom.field_of_view import AXIAL, centred_grid
from pipeline.phantom.shapes import Lattice, blend, capsule, coverage, ellipsoid, rotation_xyz

angle = st.floats(-40, 40)


def lattice(step: float, half: float) -> Lattice:
    n = int(2 * half / step) + 1
    return Lattice.of(centred_grid((0.0, 0.0, 0.0), (n, n, n), (step, step, step)))


def test_the_volume_of_an_ellipsoid_is_the_textbooks():
    fine = lattice(0.5, 14)
    inside = ellipsoid(fine.everything.coords(), (1.13, -2.21, 0.37), (9.0, 6.0, 4.0)) <= 0
    assert inside.sum() * 0.5**3 == pytest.approx(4 / 3 * np.pi * 9 * 6 * 4, rel=0.01)


def test_the_volume_of_a_capsule_is_the_textbooks():
    fine = lattice(0.5, 16)
    inside = capsule(fine.everything.coords(), (-4.0, 0.0, 0.0), (4.0, 0.0, 0.0), 5.0) <= 0
    assert inside.sum() * 0.5**3 == pytest.approx(np.pi * 25 * 8 + 4 / 3 * np.pi * 125, rel=0.01)


@given(angle, angle, angle)
def test_a_pose_turns_the_body_and_not_its_size(pitch, roll, yaw):
    grid = centred_grid((0.0, 0.0, 0.0), (25, 25, 25), (1.0, 1.0, 1.0))
    turned = Lattice.of(grid, rotation_xyz(pitch, roll, yaw))
    inside = ellipsoid(turned.everything.coords(), (0.0, 0.0, 0.0), (9.0, 7.0, 6.0)) <= 0
    assert inside.sum() == pytest.approx(4 / 3 * np.pi * 9 * 7 * 6, rel=0.05)


@given(angle, angle, angle, st.tuples(*[st.floats(-12, 12)] * 3))
def test_a_box_holds_every_voxel_of_its_shape(pitch, roll, yaw, centre):
    whole = Lattice.of(centred_grid((0.0, 0.0, 0.0), (16, 20, 24), (2.0, 1.5, 1.0)), rotation_xyz(yaw, pitch, roll))
    own = rotation_xyz(pitch, roll, yaw)
    radii = (7.0, 5.0, 3.0)
    everywhere = ellipsoid(whole.everything.coords(centre, own), (0.0, 0.0, 0.0), radii)
    patch = whole.box([-r for r in radii], radii, centre=centre, rotation=own)
    inside = 0 if patch is None else int((ellipsoid(patch.coords(centre, own), (0.0, 0.0, 0.0), radii) <= 0).sum())
    rounding = 1e-3
    assert (everywhere <= -rounding).sum() <= inside <= (everywhere <= rounding).sum()


def test_a_box_outside_the_lattice_is_none():
    assert lattice(1.0, 5).box((20, 20, 20), (30, 30, 30)) is None


def test_coordinates_are_those_of_the_grid():
    turn = rotation_xyz(20, -10, 35)
    grid = Grid((3, 4, 5), (2.0, 1.0, 0.5), (10.0, -20.0, 30.0), tuple(float(c) for c in turn.ravel()))
    u, v, w = Lattice.of(grid).everything.coords()
    index = np.argwhere(np.ones(grid.shape)).reshape(*grid.shape, 3)
    expected = grid.to_lps(index)
    for axis, found in enumerate((u, v, w)):
        np.testing.assert_allclose(np.broadcast_to(found, grid.shape), expected[..., axis], atol=1e-4)


def test_coverage_is_a_half_on_the_surface_and_linear_over_a_voxel():
    distance = np.array([-3.0, -1.5, -0.75, 0.0, 0.75, 1.5, 3.0], dtype=np.float32)
    np.testing.assert_allclose(coverage(distance, 3.0), [1, 1, 0.75, 0.5, 0.25, 0, 0])


def test_a_blend_is_the_union_with_a_fillet():
    a, b = np.array([4.0, 0.5], dtype=np.float32), np.array([-1.0, 0.5], dtype=np.float32)
    far, near = blend(a, b, 2.0)
    assert far == -1.0
    assert near < 0.5


def test_axial_is_the_identity_in_lps():
    assert np.reshape(AXIAL, (3, 3)).tolist() == np.eye(3).tolist()
