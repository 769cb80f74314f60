"""Pictures of lesions show what lies where, whatever the orientation of the volume."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from pipeline.grid import Grid, Volume
from pipeline.report.gallery import PIXELS, Wanted, picture
from pipeline.store import Store
from pipeline.store.volumes import geometry, write_labels, write_volume

ORIENTATIONS = ("LPS", "RAI", "PIR", "SLP", "ASL", "RAS")


def scene() -> sitk.Image:
    """A block in the middle, a bright bar to the patient's left, a small one in front, a large one above."""
    values = np.full((40, 60, 60), -200, dtype=np.int16)
    values[16:24, 26:34, 26:34] = 300
    values[18:22, 28:32, 46:58] = 1200  # left: x grows to the left in LPS
    values[18:22, 2:8, 28:32] = 1200  # front: y grows to the back
    values[32:39, 26:34, 26:34] = 1200  # above
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((1.0, 1.0, 1.5))
    image.SetOrigin((-30.0, -30.0, -30.0))
    return image


def pixels(address: str) -> np.ndarray:
    image = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    assert image.mode == "P"
    return np.asarray(image)


def bright(shown: np.ndarray) -> dict[str, bool]:
    """In which half beside the middle something bright lies."""
    marks = (shown > 200) & (shown < 254)
    third = PIXELS // 3
    return {
        "top": bool(marks[:third].any()),
        "bottom": bool(marks[-third:].any()),
        "left": bool(marks[:, :third].any()),
        "right": bool(marks[:, -third:].any()),
    }


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_planes_lie_as_radiologists_hold_them(tmp_path: Path, orientation: str) -> None:
    image = sitk.DICOMOrient(scene(), orientation)
    voxels = sitk.GetArrayFromImage(image)
    grid = Grid(voxels.shape, image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection())
    store = Store.create(str(tmp_path / "store"), cohort="pictures")
    write_volume(store, "volumes/s.zarr/k/a", Volume(voxels, grid), attributes={})
    write_labels(store, "labels/k", grid=grid, lesions=(voxels == 300).astype(np.uint16), levels=None)
    wanted = Wanted(
        {},
        "volumes/s.zarr/k/a",
        grid.shape,
        geometry(grid),
        (-0.5, -0.5, -0.75),
        "CT",
        labels_uri="labels/k",
        lesion_id=1,
    )
    found = {plane: pixels(address) for plane, address in picture(wanted, store).pictures.items()}
    assert bright(found["axial"]) == {"top": True, "bottom": False, "left": False, "right": True}
    assert bright(found["coronal"]) == {"top": True, "bottom": False, "left": False, "right": True}
    assert bright(found["sagittal"]) == {"top": True, "bottom": False, "left": True, "right": False}
    for shown in found.values():
        outline = np.argwhere(shown == 254)
        assert np.abs(outline.mean(axis=0) - PIXELS / 2).max() < 3
        height, width = np.ptp(outline, axis=0) + 1
        assert width == pytest.approx(8 * PIXELS / 72, abs=2)
        assert height == pytest.approx((8 if shown is found["axial"] else 12) * PIXELS / 72, abs=2)


def test_a_place_at_the_edge_and_one_without_a_mask(tmp_path: Path) -> None:
    grid = Grid((5, 6, 7), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    store = Store.create(str(tmp_path / "store"), cohort="pictures")
    voxels = np.arange(210, dtype=np.float32).reshape(grid.shape)
    write_volume(store, "volumes/s.zarr/k/a", Volume(voxels, grid), attributes={})
    tile = picture(Wanted({}, "volumes/s.zarr/k/a", grid.shape, geometry(grid), (900.0, 0.0, 0.0), "MR"), store)
    assert {pixels(address).shape for address in tile.pictures.values()} == {(PIXELS, PIXELS)}
