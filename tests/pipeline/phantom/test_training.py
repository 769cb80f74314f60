from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.phantom import Part, draw_training_sample
from pipeline.phantom.field_of_view import AXIAL
from schemas.spine import BY_NUMBER, level_name

SHAPE = (24, 20, 28)


def test_same_seed_same_patch():
    first, again, other = (draw_training_sample(seed, SHAPE, (4.0, 4.0, 4.0)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.volume.voxels, again.volume.voxels)
    np.testing.assert_array_equal(first.levels, again.levels)
    assert not np.array_equal(first.volume.voxels, other.volume.voxels)


@given(st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_any_patch_is_finite_and_its_labels_agree(seed):
    patch = draw_training_sample(seed, SHAPE, (4.0, 4.0, 4.0), lesions_per_patch=3)
    assert patch.volume.voxels.shape == SHAPE
    assert patch.volume.grid.direction == AXIAL
    assert np.isfinite(patch.volume.voxels).all()
    assert set(np.unique(patch.levels)) <= {0, *BY_NUMBER}
    bone = np.isin(patch.parts, (Part.BODY, Part.ARCH, Part.SACRUM))
    np.testing.assert_array_equal(patch.levels > 0, bone)
    for row in patch.lesion_table:
        levels = np.unique(patch.levels[patch.lesions == row.instance])
        assert [level_name(int(n)) for n in levels] == [row.level]


def test_the_spine_stands_upright_with_its_processes_behind():
    """Axis z runs to the head and axis y to the back: L1 above L4, arches behind bodies."""
    higher = behind = 0
    for seed in range(12):
        patch = draw_training_sample(seed, (48, 40, 32), (5.0, 5.0, 5.0), away=0.0, lesions_per_patch=0)
        body, arch = patch.parts == Part.BODY, patch.parts == Part.ARCH
        numbers = [n for n in np.unique(patch.levels[body]) if n <= 24]
        if len(numbers) < 4:
            continue
        first, last = (np.argwhere(body & (patch.levels == n)).mean(axis=0) for n in (numbers[0], numbers[-1]))
        higher += 1 if first[0] > last[0] else -100
        behind += 1 if np.argwhere(arch)[:, 1].mean() > np.argwhere(body)[:, 1].mean() else -100
    assert higher >= 6
    assert behind == higher
