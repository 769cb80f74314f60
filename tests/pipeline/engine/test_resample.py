"""From a scan's grid to a model's and back, held against SimpleITK and scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.engine.axis_map import AxisMap, resample_axes
from pipeline.engine.resample import align, model_grid, nearest_labels, oriented_as, resample_image
from pipeline.grid import Grid

ORIENTATIONS = [
    "".join(letters) for order in itertools.permutations(("LR", "PA", "SI")) for letters in itertools.product(*order)
]


def _grid(orientation: str = "LPS", spacing: tuple[float, float, float] = (3.0, 1.0, 1.5)) -> Grid:
    plain = Grid((11, 17, 14), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    turned = model_grid(plain, orientation=orientation)
    return Grid(turned.shape, spacing, (5.0, -30.0, 12.0), turned.direction)


def _tilted(grid: Grid, degrees: float) -> Grid:
    turn = np.deg2rad(degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    direction = rotation @ np.reshape(grid.direction, (3, 3))
    return Grid(grid.shape, grid.spacing_mm, grid.origin_mm, tuple(direction.ravel().tolist()))


def _by_itk(voxels: np.ndarray, source: Grid, target: Grid, interpolator: int) -> np.ndarray:
    image = sitk.GetImageFromArray(voxels.astype(np.float32))
    image.SetSpacing(source.spacing_mm[::-1])
    image.SetOrigin(source.origin_mm)
    image.SetDirection(source.direction)
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize(target.shape[::-1])
    filter_.SetOutputSpacing(target.spacing_mm[::-1])
    filter_.SetOutputOrigin(target.origin_mm)
    filter_.SetOutputDirection(target.direction)
    filter_.SetInterpolator(interpolator)
    filter_.SetUseNearestNeighborExtrapolator(True)
    return sitk.GetArrayFromImage(filter_.Execute(image))


def _voxels(grid: Grid) -> np.ndarray:
    return np.random.default_rng(4).integers(-1000, 1500, grid.shape).astype(np.int16)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_orientation_is_what_was_asked(orientation: str) -> None:
    grid = model_grid(_tilted(_grid("LPS"), 10), spacing_mm=(2.0, 2.0, 2.0), orientation=orientation)
    assert oriented_as(grid) == orientation
    assert grid.spacing_mm == pytest.approx((2, 2, 2))


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "PIR", "ASL"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 3.0, 3.0), (1.5, 0.7, 2.2)])
def test_image_as_itk(orientation: str, spacing: tuple[float, float, float]) -> None:
    source = _tilted(_grid(orientation), 7)
    target = model_grid(source, spacing_mm=spacing)
    voxels = _voxels(source)
    ours = resample_image(voxels, source, target)
    theirs = _by_itk(voxels, source, target, sitk.sitkLinear)
    inside = np.s_[1:-1, 1:-1, 1:-1]  # ITK extrapolates beyond the last centres by its nearest neighbour
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=0.1)


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "RAI"])
def test_there_and_back(orientation: str) -> None:
    source = _grid(orientation)
    target = model_grid(source, spacing_mm=(1.0, 1.0, 1.0))
    z, y, x = np.indices(source.shape)
    linear = (2.0 * z - 3.0 * y + 5.0 * x).astype(np.float32)
    back = resample_image(resample_image(linear, source, target), target, source)
    np.testing.assert_allclose(back[2:-2, 2:-2, 2:-2], linear[2:-2, 2:-2, 2:-2], atol=1e-2)


def test_same_grid_is_the_same() -> None:
    grid = _grid()
    voxels = _voxels(grid)
    np.testing.assert_array_equal(resample_image(voxels, grid, grid), voxels.astype(np.float32))


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    spacing=st.tuples(*[st.floats(0.4, 4)] * 3),
    wanted=st.tuples(*[st.floats(0.4, 4)] * 3),
    orientation=st.sampled_from(ORIENTATIONS),
)
def test_field_of_view_is_kept(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    wanted: tuple[float, float, float],
    orientation: str,
) -> None:
    source = Grid(shape, spacing, (1.0, 2.0, 3.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    target = model_grid(source, spacing_mm=wanted, orientation=orientation)
    alignment = align(source, target)
    for axis in range(3):
        extent = source.shape[alignment.axes[axis]] * source.spacing_mm[alignment.axes[axis]]
        assert abs(target.shape[axis] * target.spacing_mm[axis] - extent) <= max(target.spacing_mm[axis], 0) * 1.001
    assert resample_image(np.ones(shape, np.int16), source, target) == pytest.approx(1.0)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SPL"])
def test_centres_are_laid_as_monai_does(orientation: str) -> None:
    source = _tilted(_grid("LPS"), 7)
    same = model_grid(source, orientation=orientation)
    coarse = model_grid(source, spacing_mm=(2.0, 2.0, 2.0), orientation=orientation, centres=True)
    assert coarse.origin_mm == pytest.approx(same.origin_mm)
    steps = [round((n - 1) * mm / 2) for n, mm in zip(same.shape, same.spacing_mm, strict=True)]
    assert coarse.shape == tuple(n + 1 for n in steps)


def test_smooth_keeps_the_mean() -> None:
    source = _grid()
    voxels = _voxels(source)
    target = model_grid(source, spacing_mm=(6.0, 5.0, 5.0))
    smooth, sharp = (resample_image(voxels, source, target, smooth=flag) for flag in (True, False))
    assert smooth.std() < 0.6 * sharp.std()
    assert smooth.mean() == pytest.approx(voxels.mean(), abs=60)


def test_cubic_is_scipys() -> None:
    voxels = _voxels(_grid()).astype(np.float32)
    maps = [AxisMap.stretch(n, m, "cubic") for n, m in zip(voxels.shape, (7, 23, 14), strict=True)]
    zoom = [m / n for n, m in zip(voxels.shape, (7, 23, 14), strict=True)]
    theirs = ndimage.zoom(voxels, zoom, order=3, mode="nearest", grid_mode=True)
    np.testing.assert_allclose(resample_axes(voxels, maps), theirs, atol=0.05)


def test_slabs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = _grid()
    target = model_grid(source, spacing_mm=(1.0, 2.0, 2.0))
    whole = resample_image(_voxels(source), source, target)
    monkeypatch.setattr("pipeline.engine.axis_map._SLAB_VALUES", 1)
    np.testing.assert_allclose(resample_image(_voxels(source), source, target), whole, atol=1e-3)


@pytest.mark.parametrize("spacing", [(1.0, 2.0, 2.0), (4.0, 1.1, 1.1)], ids=["planes first", "slices first"])
@pytest.mark.parametrize("kind", ["i2", ">i2", "u2", "f4", "read-only"])
def test_any_array_gives_the_same(kind: str, spacing: tuple[float, float, float]) -> None:
    """Types that torch does not know go another way; nothing of the source is changed."""
    source = _grid()
    target = model_grid(source, spacing_mm=spacing, orientation="RAI")
    voxels = np.rint(np.abs(_voxels(source)))
    given = voxels.astype("i2" if kind == "read-only" else kind)
    given.flags.writeable = kind != "read-only"
    expected = resample_image(voxels.astype("f8"), source, target)
    np.testing.assert_allclose(resample_image(given, source, target), expected, atol=1e-3)
    np.testing.assert_array_equal(given, voxels)


@pytest.mark.parametrize("orientation", ["LPS", "PIR"])
def test_labels_take_the_nearest(orientation: str) -> None:
    source = _grid(orientation)
    labels = np.random.default_rng(1).integers(0, 5, source.shape).astype(np.uint16)
    target = model_grid(source, spacing_mm=(1.3, 0.9, 1.1))
    theirs = _by_itk(labels, source, target, sitk.sitkNearestNeighbor)
    assert (nearest_labels(labels, source, target) == theirs).mean() > 0.97  # ties and the outermost half voxel differ


def test_axes_that_cross_are_refused() -> None:
    with pytest.raises(ValueError, match="same lines"):
        align(_grid(), _tilted(_grid(), 20))


@pytest.mark.parametrize("orientation", ["LP", "LRS", "XYZ"])
def test_orientation_is_checked(orientation: str) -> None:
    with pytest.raises(ValueError, match="three axes"):
        model_grid(_grid(), orientation=orientation)
