"""Volumes through the store against the plainest code, on disk and on S3; and codecs on real CTs.

Reading: against a plain GET of the same object and a bare decode of its bytes.
Writing: against a bare encode and a PUT.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numcodecs
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import dcmread

from pipeline.grid import Grid, Volume
from pipeline.store import Store
from pipeline.store.volumes import CHUNK, read_volume, write_volume
from tests.servers import ObjectStorage

REPEATS = int(os.environ.get("BENCH_REPEATS", "7"))
CODEC = numcodecs.Blosc(cname="zstd", clevel=1, shuffle=numcodecs.Blosc.SHUFFLE)
MB = 1e6


SLICES = int(os.environ.get("BENCH_SLICES", "160"))


def real_cts(shared_data: Path) -> dict[str, npt.NDArray[np.int16]]:
    """Voxels [z, y, x] of two CTs: abdominal slices of 512 x 512, and a whole torso."""
    slices = [dcmread(path) for path in (shared_data / "ct_body_spine_dicom_crlm1004" / "image").iterdir()]
    slices.sort(key=lambda dataset: float(dataset.ImagePositionPatient[2]))
    torso = nib.load(shared_data / "torso_ct_totalsegmentator" / "example_ct.nii.gz")
    return {
        "abdomen": np.stack([d.pixel_array * int(d.RescaleSlope) + int(d.RescaleIntercept) for d in slices]).astype(
            "<i2"
        ),
        "torso": np.ascontiguousarray(np.asarray(torso.dataobj).T.astype("<i2")),
    }


def long_ct(shared_data: Path) -> Volume:
    """The abdomen repeated upwards."""
    voxels = real_cts(shared_data)["abdomen"]
    voxels = np.ascontiguousarray(np.tile(voxels, (-(-SLICES // len(voxels)), 1, 1))[:SLICES])
    return Volume(voxels, Grid(voxels.shape, (1.5, 0.8, 0.8), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1, 0, 0, 0, 1)))


def chunks_of(shape: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """The inner chunks as the store cuts them."""
    sizes = [-(-n // -(-n // most)) for n, most in zip(shape, CHUNK, strict=True)]
    counts = [-(-n // size) for n, size in zip(shape, sizes, strict=True)]
    return [tuple(slice(i * s, (i + 1) * s) for i, s in zip(at, sizes, strict=True)) for at in np.ndindex(*counts)]


def bare_encode(voxels: npt.NDArray[np.int16]) -> bytes:
    """The chunks one after the other."""
    return b"".join(CODEC.encode(np.ascontiguousarray(voxels[part])) for part in chunks_of(voxels.shape))


def bare_decode(data: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.int16]:
    """A shard by zarr's specification: chunks with a checksum of 4 bytes each, then where each of them lies."""
    parts = chunks_of(shape)
    index = np.frombuffer(data, "<u8", 2 * len(parts), len(data) - 4 - 16 * len(parts)).reshape(-1, 2)
    size = [part.stop - part.start for part in parts[0]]
    voxels = np.empty(shape, np.int16)
    for part, (start, n_bytes) in zip(parts, index.tolist(), strict=True):
        chunk = np.frombuffer(CODEC.decode(data[start : start + n_bytes - 4]), np.int16).reshape(size)
        target = voxels[part]
        target[...] = chunk[tuple(slice(n) for n in target.shape)]
    return voxels


def compare(ours: Callable[[], object], plain: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of ours, and median of plain's over ours: 1 is as fast, 0.8 a fifth slower."""
    ours(), plain()
    pairs = [(_seconds(ours), _seconds(plain)) for _ in range(REPEATS)]
    return statistics.median(a for a, _ in pairs), statistics.median(b / a for a, b in pairs)


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


@pytest.mark.bench
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("place", ["disk", "s3"])
def test_throughput(
    place: str, shared_data: Path, object_storage: ObjectStorage, tmp_path: Path, record_property: Callable[..., None]
) -> None:
    volume = long_ct(shared_data)
    uri = str(tmp_path / "store") if place == "disk" else f"s3://{object_storage.new_bucket()}/store"
    options = {} if place == "disk" else object_storage.storage_options
    store, n = Store.create(uri, cohort="bench", storage_options=options), iter(range(1000))
    record = write_volume(store, "volumes/s.zarr/k/a", volume, attributes={})
    path, fs = store.path("volumes/s.zarr/k/a/0/c/0/0/0"), store.fs
    np.testing.assert_array_equal(bare_decode(fs.cat_file(path), volume.voxels.shape), volume.voxels)

    def plain_write() -> None:
        fs.pipe_file(store.path(f"volumes/plain-{next(n)}"), bare_encode(volume.voxels))

    reading = compare(
        lambda: read_volume(store, record.volume_uri), lambda: bare_decode(fs.cat_file(path), volume.voxels.shape)
    )
    writing = compare(lambda: write_volume(store, f"volumes/s.zarr/k/{next(n)}", volume, attributes={}), plain_write)
    for name, (seconds, share) in {"read": reading, "write": writing}.items():
        figure = f"{place} {name}: {volume.voxels.nbytes / seconds / MB:.0f} MB/s, {share:.2f} of the plainest code"
        record_property(f"{place}_{name}", figure)
        print(f"\n{figure}")


CODECS = {
    f"{name} {level} {['plain', 'bytes', 'bits'][shuffle]}": numcodecs.Blosc(cname=name, clevel=level, shuffle=shuffle)
    for name, level, shuffle in [
        ("zstd", 1, 1), ("zstd", 1, 2), ("zstd", 1, 0), ("zstd", 3, 1), ("zstd", 3, 2), ("zstd", 5, 1), ("zlib", 1, 1),
        ("lz4", 5, 1), ("lz4", 5, 2), ("lz4hc", 5, 1), ("blosclz", 5, 1),
    ]
}  # fmt: skip


@pytest.mark.bench
@pytest.mark.timeout(1200)
def test_codecs(shared_data: Path, record_property: Callable[..., None]) -> None:
    numcodecs.blosc.set_nthreads(1)
    for ct, voxels in real_cts(shared_data).items():
        parts = [np.ascontiguousarray(voxels[part]) for part in chunks_of(voxels.shape)]
        for name, codec in CODECS.items():
            encoded = [codec.encode(part) for part in parts]
            writing = statistics.median(_seconds(lambda c=codec, p=parts: [c.encode(x) for x in p]) for _ in range(3))
            reading = statistics.median(_seconds(lambda c=codec, e=encoded: [c.decode(x) for x in e]) for _ in range(5))
            share, n_bytes = sum(map(len, encoded)) / voxels.nbytes, voxels.nbytes / MB
            figure = f"{share:.3f} of raw, {n_bytes / writing:.0f} / {n_bytes / reading:.0f} MB/s"
            record_property(f"{ct} {name}", figure)
            print(f"\n{ct:8} {name:14} {figure}", end="")
