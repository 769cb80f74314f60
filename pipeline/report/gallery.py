"""Pictures of lesions: three planes through the centre with the outline, cut from the stored arrays."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from PIL import Image
from scipy import ndimage

from pipeline.grid import Grid
from pipeline.store import Store, service_errors
from pipeline.store.volumes import grid_of

SIDE_MM = 72.0
"""What a picture shows along each side."""
PIXELS = 108
"""Side of a picture."""

WINDOWS: dict[str, tuple[float, float]] = {"CT": (-500.0, 1300.0), "PT": (0.0, 10.0)}
"""Lowest and highest value shown; bone for CT. Other modalities by their own 1st and 99th percentile."""

_OUTLINE, _REFERENCE = 254, 255
"""Palette entries of the two outlines; grey ends below."""
_ORANGE, _CYAN = (255, 140, 0), (0, 200, 255)

_PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
"""Plane to the patient axis (0 L, 1 P, 2 S) that it lies across."""


@dataclass(frozen=True)
class Wanted:
    """A place to be pictured."""

    row: dict[str, Any]
    """What is said of it: keys of the scan, level, volume, ..."""
    volume_uri: str
    shape: tuple[int, int, int]
    geometry: dict[str, Any]
    """spacing_mm, origin_mm, direction."""
    centre_mm: tuple[float, float, float]
    modality: str | None
    labels_uri: str | None = None
    """Group with `lesions`."""
    lesion_id: int | None = None
    """Whose outline is drawn; None draws all."""
    truth_uri: str | None = None
    """Group with the reference's `lesions`."""


@dataclass(frozen=True)
class Tile:
    """Three pictures and what is said of them."""

    row: dict[str, Any]
    pictures: dict[str, str]
    """Plane to a data address."""


def picture(wanted: Wanted, store: Store) -> Tile:
    """Cut the three planes of one place; only the chunks around it are read."""
    grid = grid_of(wanted.geometry, wanted.shape)
    box = _box(grid, wanted.centre_mm)
    values = _crop(store, wanted.volume_uri, "0", box).astype(np.float32)
    outlines = [
        _region(store, wanted.labels_uri, wanted.lesion_id, box),
        _region(store, wanted.truth_uri, None, box),
    ]
    centre = np.rint(grid.to_index(wanted.centre_mm)).astype(int)
    centre = np.clip(centre, 0, np.array(grid.shape) - 1) - [s.start for s in box]
    grey = _windowed(values, wanted.modality)
    pictures = {}
    for plane, across in _PLANES.items():
        pixels = _plane(grey, grid, centre, across, order=1)
        for region, colour in zip(outlines, (_OUTLINE, _REFERENCE), strict=True):
            if region is not None:
                mask = _plane(region.astype(np.float32), grid, centre, across, order=0) > 0.5
                pixels = np.where(mask & ~ndimage.binary_erosion(mask), colour, pixels)
        pictures[plane] = _address(pixels)
    return Tile(wanted.row, pictures)


def _box(grid: Grid, centre_mm: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    """The voxels within reach of a place, kept inside the volume and never empty."""
    centre = grid.to_index(centre_mm)
    reach = SIDE_MM / 2 / np.array(grid.spacing_mm) + 1
    low = np.clip(np.floor(centre - reach).astype(int), 0, np.array(grid.shape) - 1)
    high = np.clip(np.ceil(centre + reach).astype(int) + 1, low + 1, grid.shape)
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _crop(store: Store, uri: str, name: str, box: tuple[slice, slice, slice]) -> npt.NDArray[Any]:
    with service_errors("reading a volume for its picture"):
        group = zarr.open_group(store.zarr(uri), mode="r")
        return np.asarray(group[name][box])  # type: ignore[index]


def _region(
    store: Store, uri: str | None, lesion_id: int | None, box: tuple[slice, slice, slice]
) -> npt.NDArray[np.bool_] | None:
    if uri is None:
        return None
    labels = _crop(store, uri, "lesions", box)
    return labels > 0 if lesion_id is None else labels == lesion_id


def _windowed(values: npt.NDArray[np.float32], modality: str | None) -> npt.NDArray[np.float32]:
    """Values as grey, 0 to 253."""
    low, high = WINDOWS.get(modality or "", (float(np.quantile(values, 0.01)), float(np.quantile(values, 0.99))))
    shown = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    return (1 - shown if modality == "PT" else shown) * 253


def _plane(
    values: npt.NDArray[np.float32], grid: Grid, centre: npt.NDArray[np.int64], across: int, *, order: int
) -> npt.NDArray[np.uint8]:
    """The plane across a patient axis, (PIXELS, PIXELS), as radiologists hold it.

    Axial with the front on top and the right side on the left; coronal and sagittal with the head on top, the front of
    a sagittal on the left.
    """
    axis = grid.axis_nearest(across)
    rows, columns = [(1, 0), (2, 0), (2, 1)][{2: 0, 1: 1, 0: 2}[across]]
    flat = np.take(values, int(centre[axis]), axis=axis)
    left = [a for a in range(3) if a != axis]
    row_axis, column_axis = grid.axis_nearest(rows), grid.axis_nearest(columns)
    if {row_axis, column_axis} != set(left):  # so oblique that one axis is nearest to two directions
        row_axis, column_axis = left
    if left.index(row_axis) == 1:
        flat = flat.T
    cosines = np.reshape(grid.direction, (3, 3))
    if (cosines[rows, 2 - row_axis] > 0) == (rows == 2):  # superior grows upwards, posterior downwards
        flat = flat[::-1]
    if cosines[columns, 2 - column_axis] < 0:
        flat = flat[:, ::-1]
    return _on_square(flat, grid.spacing_mm[row_axis], grid.spacing_mm[column_axis], order=order)


def _on_square(flat: npt.NDArray[np.float32], row_mm: float, column_mm: float, *, order: int) -> npt.NDArray[np.uint8]:
    """A plane with square pixels, in the middle of a square."""
    scale = PIXELS / SIDE_MM
    zoomed = ndimage.zoom(flat, (row_mm * scale, column_mm * scale), order=order, mode="nearest", grid_mode=True)
    square = np.zeros((PIXELS, PIXELS), dtype=np.uint8)
    size = np.minimum(zoomed.shape, PIXELS)
    source = [(n - s) // 2 for n, s in zip(zoomed.shape, size, strict=True)]
    target = [(PIXELS - s) // 2 for s in size]
    square[target[0] : target[0] + size[0], target[1] : target[1] + size[1]] = np.clip(
        zoomed[source[0] : source[0] + size[0], source[1] : source[1] + size[1]], 0, 253
    )
    return square


def _address(pixels: npt.NDArray[Any]) -> str:
    image = Image.fromarray(pixels.astype(np.uint8))
    image.putpalette([*(grey for value in range(254) for grey in (value, value, value)), *_ORANGE, *_CYAN])
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
