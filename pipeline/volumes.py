"""Volumes and masks as Zarr: one object per array, written by one writer, whole.

Several threads that write inner chunks of one shard spoil it without an error (zarr-python issue 3682), so an array is
written in one call, and its shard is the whole array.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr
from zarr.codecs import BloscCodec

from pipeline.errors import StoreError
from pipeline.grid import Grid, Volume
from pipeline.store import Store, service_errors

CHUNK = (64, 128, 128)
"""Largest inner chunk along z, y, x: about 2 MB of int16, small enough to look at a slice, large enough to stream."""

ATTRIBUTE = "spinetally"
"""Where a group keeps its geometry in patient coordinates."""


@dataclass(frozen=True)
class VolumeRecord:
    """What was written."""

    volume_uri: str
    """The image group, relative to the store; its array is `0`."""
    voxels_sha256: str
    """SHA-256 of the voxels in C order, little endian."""
    stored_bytes: int
    """Size of the array's object."""


def write_volume(store: Store, group_path: str, volume: Volume, *, attributes: dict[str, Any]) -> VolumeRecord:
    """Write a volume as an OME-Zarr 0.5 image group with one array, `0`.

    Args:
        store: where to.
        group_path: folder of the group, relative to the store; nothing may be there yet.
        volume: voxels [z, y, x] and their grid.
        attributes: further entries of the group's attribute `spinetally`.
    """
    voxels = _little_endian(volume.voxels)
    with service_errors("writing a volume"):
        group = zarr.create_group(
            store.zarr(group_path),
            attributes={
                "ome": _ome(volume.grid, name=group_path.split("/")[-2]),
                ATTRIBUTE: geometry(volume.grid) | attributes,
            },
        )
        _write_array(group, "0", voxels)
        stored = store.size_below(f"{group_path}/0/c")
    return VolumeRecord(group_path, hashlib.sha256(voxels.data.cast("B")).hexdigest(), stored)


def read_volume(store: Store, volume_uri: str) -> Volume:
    """The volume behind a `volume_uri` of the catalog."""
    with service_errors("reading a volume"):
        group = zarr.open_group(store.zarr(volume_uri), mode="r")
        voxels = np.asarray(group["0"][...])  # type: ignore[index]
    return Volume(voxels, grid_of(group.attrs[ATTRIBUTE], voxels.shape))


def write_labels(
    store: Store,
    group_path: str,
    *,
    grid: Grid,
    lesions: npt.NDArray[np.uint16] | None,
    levels: npt.NDArray[np.uint16] | None,
    attributes: dict[str, Any] | None = None,
) -> None:
    """Write the masks of a scan, each [z, y, x] on its grid, as the arrays `lesions` and `levels` of one group."""
    with service_errors("writing masks"):
        group = zarr.create_group(store.zarr(group_path), attributes={ATTRIBUTE: geometry(grid) | (attributes or {})})
        for name, mask in (("lesions", lesions), ("levels", levels)):
            if mask is not None:
                _write_array(group, name, _smallest(mask))


def read_labels(store: Store, labels_uri: str) -> tuple[npt.NDArray[np.uint16] | None, npt.NDArray[np.uint16] | None]:
    """The masks (lesions, levels) behind a `labels_uri` of the results, each None where there is none."""
    with service_errors("reading masks"):
        group = zarr.open_group(store.zarr(labels_uri), mode="r")
        found = [
            np.asarray(group[name][...]).astype(np.uint16) if name in group else None  # type: ignore[index]
            for name in ("lesions", "levels")
        ]
    return found[0], found[1]


def geometry(grid: Grid) -> dict[str, Any]:
    """A grid as the attribute `spinetally` holds it."""
    return {
        "spacing_mm": list(grid.spacing_mm),
        "origin_mm": list(grid.origin_mm),
        "direction": list(grid.direction),
        "coordinate_system": "LPS",
    }


def grid_of(attribute: Any, shape: tuple[int, ...]) -> Grid:
    """The grid in an attribute `spinetally`, or in a row of the catalog.

    Raises:
        StoreError: a part of it is missing.
    """
    try:
        return Grid(
            shape=(shape[0], shape[1], shape[2]),
            spacing_mm=tuple(float(x) for x in attribute["spacing_mm"]),  # type: ignore[arg-type]
            origin_mm=tuple(float(x) for x in attribute["origin_mm"]),  # type: ignore[arg-type]
            direction=tuple(float(x) for x in attribute["direction"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise StoreError(f"a stored volume lacks its geometry ({error}): ingest it again with `retry`") from error


def _write_array(group: zarr.Group, name: str, array: npt.NDArray[np.generic]) -> None:
    chunks = tuple(math.ceil(n / math.ceil(n / most)) for n, most in zip(array.shape, CHUNK, strict=True))
    shard = tuple(math.ceil(n / c) * c for n, c in zip(array.shape, chunks, strict=True))
    group.create_array(
        name,
        shape=array.shape,
        dtype=array.dtype,
        chunks=chunks,
        shards=shard,
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=array.dtype.itemsize),
        dimension_names=("z", "y", "x"),
        fill_value=0,
    )[...] = array


def _little_endian(voxels: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    return np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<"))


def _smallest(mask: npt.NDArray[np.uint16]) -> npt.NDArray[np.generic]:
    return mask.astype(np.uint8) if mask.size and int(mask.max()) < 256 else mask


def _ome(grid: Grid, *, name: str) -> dict[str, Any]:
    """OME-NGFF 0.5 `multiscales` with one scale, for viewers: it knows no rotation, so scale and translation only."""
    axes = [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"]
    transformations = [
        {"type": "scale", "scale": list(grid.spacing_mm)},
        {"type": "translation", "translation": list(grid.origin_mm[::-1])},
    ]
    datasets = [{"path": "0", "coordinateTransformations": transformations}]
    return {"version": "0.5", "multiscales": [{"name": name, "axes": axes, "datasets": datasets}]}
