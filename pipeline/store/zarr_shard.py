"""An array of one shard, to and from its bytes without detours (zarr 3, codec `sharding_indexed`).

zarr-python hands every chunk through its event loop and two threads; on small machines that took longer than to
decompress, and a third of the time of compressing. What is not coded as `pipeline.store.volumes` codes it is left to
zarr-python.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import blosc

_CHECKSUM_BYTES = 4
_INDEX_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
_DTYPES = {"int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"}


CODEC: Final = "zstd"
"""Of blosc, with bytes shuffled."""
LEVEL: Final = 1
"""Of the codec."""


def encode_shard(array: npt.NDArray[Any], chunk: tuple[int, ...], kind: np.dtype[Any] | None = None) -> bytes:
    """The only shard of an array, its chunks compressed on all cores.

    Args:
        array: little endian.
        chunk: shape of the inner chunks; those at the end are filled up with zeros.
        kind: type that is stored, where that is not its own; one chunk after the other is made one.
    """
    stored = array.dtype if kind is None else kind
    places = itertools.product(*(range(math.ceil(n / size)) for n, size in zip(array.shape, chunk, strict=True)))
    chunks = list(_cores().map(lambda place: _coded(array, chunk, stored, place), places))
    sizes = np.array([len(each) for each in chunks], dtype="<u8")
    index = np.stack([np.cumsum(sizes) - sizes, sizes], axis=1).astype("<u8").tobytes()
    return b"".join([*chunks, index, _checksum(index)])


def _coded(array: npt.NDArray[Any], chunk: tuple[int, ...], kind: np.dtype[Any], place: tuple[int, ...]) -> bytes:
    part = array[tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, chunk, strict=True))]
    if part.shape != chunk:
        part = np.pad(part, [(0, size - n) for n, size in zip(part.shape, chunk, strict=True)])
    data = blosc.compress(np.ascontiguousarray(part, dtype=kind), CODEC.encode(), LEVEL, blosc.SHUFFLE)
    return bytes(data) + _checksum(data)


@cache
def _cores() -> ThreadPoolExecutor:
    """For all scans of the process: blosc lets go of Python's lock while it compresses."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="encode")


def decode_shard(metadata: bytes, data: bytes) -> npt.NDArray[Any] | None:
    """The voxels of an array whose only shard is `data`; None where it is coded otherwise than ours.

    Args:
        metadata: its `zarr.json`.
        data: its `c/0/0/0`.

    Raises:
        ValueError: a checksum or a size is wrong.
        RuntimeError: a chunk cannot be decompressed.
    """
    described = json.loads(metadata)
    inner = _inner_chunk(described)
    if inner is None:
        return None
    shape = tuple(described["shape"])
    places = list(itertools.product(*(range(math.ceil(n / size)) for n, size in zip(shape, inner, strict=True))))
    index = _checked(data[-(16 * len(places) + _CHECKSUM_BYTES) :])
    if len(index) != 16 * len(places):
        raise ValueError("a shard is shorter than its index")
    voxels = np.empty(shape, np.dtype(described["data_type"]).newbyteorder("<"))
    for place, (start, size) in zip(places, np.frombuffer(index, "<u8").reshape(-1, 2).tolist(), strict=True):
        if start + size > len(data):
            return None  # a chunk that was not written, or one that is elsewhere
        chunk = np.frombuffer(blosc.decompress(_checked(data[start : start + size])), voxels.dtype).reshape(inner)
        target = voxels[tuple(slice(at * n, (at + 1) * n) for at, n in zip(place, inner, strict=True))]
        target[...] = chunk[tuple(slice(n) for n in target.shape)]
    return voxels


def _inner_chunk(described: dict[str, Any]) -> tuple[int, ...] | None:
    """Shape of a chunk where all is coded as ours: one shard, little endian, blosc, checksums, the index at the end."""
    codecs = described.get("codecs", [])
    if [codec["name"] for codec in codecs] != ["sharding_indexed"] or described["data_type"] not in _DTYPES:
        return None
    sharding = codecs[0]["configuration"]
    names = [codec["name"] for codec in sharding["codecs"]]
    is_ours = names == ["bytes", "blosc", "crc32c"] and sharding["index_codecs"] == _INDEX_CODECS
    inner = tuple(sharding["chunk_shape"])
    whole = [math.ceil(n / size) * size for n, size in zip(described["shape"], inner, strict=True)]
    is_one = described["chunk_grid"]["configuration"]["chunk_shape"] == whole
    is_little = sharding["codecs"][0].get("configuration", {"endian": "little"})["endian"] == "little"
    return inner if is_ours and is_one and is_little and sharding["index_location"] == "end" else None


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CHECKSUM_BYTES, "little")


def _checked(data: bytes) -> bytes:
    """The bytes before their CRC32C."""
    content, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if google_crc32c.value(content) != int.from_bytes(checksum, "little"):
        raise ValueError("a checksum does not fit")
    return content
