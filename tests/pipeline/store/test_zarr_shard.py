"""Shards decoded and encoded by hand are what zarr makes of them, and damage is seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from pipeline.store.zarr_shard import decode_shard, encode_shard

OURS = (BloscCodec(cname="zstd", clevel=1, shuffle="shuffle", typesize=2), Crc32cCodec())


def encoded(array: Any, chunk: tuple[int, int, int], compressors: Any = OURS, **more: Any) -> tuple[bytes, bytes]:
    """`zarr.json` and the shard that zarr-python writes."""
    memory: dict[str, Any] = {}
    shards = tuple(-(-n // c) * c for n, c in zip(array.shape, chunk, strict=True))
    options = {"shards": shards, "fill_value": 0, "config": {"write_empty_chunks": True}} | more
    made = zarr.create_array(
        MemoryStore(memory), shape=array.shape, dtype=array.dtype, chunks=chunk, compressors=compressors, **options
    )
    made[...] = array
    return memory["zarr.json"].to_bytes(), memory["c/0/0/0"].to_bytes()


def voxels(shape: tuple[int, int, int], dtype: str = "int16") -> Any:
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@settings(max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 19)] * 3),
    chunk=st.tuples(*[st.integers(1, 8)] * 3),
    dtype=st.sampled_from(["int16", "uint8", "uint16", "float32"]),
)
def test_it_is_what_zarr_wrote(shape: Any, chunk: Any, dtype: str) -> None:
    array = voxels(shape, dtype)
    decoded = decode_shard(*encoded(array, chunk))
    assert decoded is not None
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


@settings(max_examples=25)
@given(
    shape=st.tuples(*[st.integers(1, 19)] * 3),
    chunk=st.tuples(*[st.integers(1, 8)] * 3),
    dtype=st.sampled_from(["int16", "uint8", "uint16", "int32", "float32"]),
)
def test_zarr_reads_what_is_encoded_here(shape: Any, chunk: Any, dtype: str) -> None:
    array = voxels(shape, dtype)
    array[: shape[0] // 2] = 0  # chunks of zeros are written too
    metadata, _ = encoded(array, chunk)
    shard = encode_shard(array, chunk)
    to_buffer = default_buffer_prototype().buffer.from_bytes
    memory = MemoryStore({"zarr.json": to_buffer(metadata), "c/0/0/0": to_buffer(shard)}, read_only=True)
    np.testing.assert_array_equal(np.asarray(zarr.open_array(memory, mode="r")[...]), array)
    decoded = decode_shard(metadata, shard)
    assert decoded is not None
    np.testing.assert_array_equal(decoded, array)


def test_any_order_of_axes_and_a_view_are_encoded_as_they_are() -> None:
    array = voxels((8, 9, 10))
    for view in (array.transpose(2, 0, 1), array[::-1, :, 1:]):
        metadata, _ = encoded(np.ascontiguousarray(view), (4, 4, 4))
        np.testing.assert_array_equal(decode_shard(metadata, encode_shard(view, (4, 4, 4))), view)


@pytest.mark.parametrize("at", [0, 100, -5, -30])
def test_a_flipped_bit_is_seen(at: int) -> None:
    metadata, shard = encoded(voxels((8, 9, 10)), (4, 4, 4))
    spoilt = bytearray(shard)
    spoilt[at] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        decode_shard(metadata, bytes(spoilt))


@pytest.mark.parametrize("length", [0, 3, 100])
def test_half_a_shard_is_seen(length: int) -> None:
    metadata, shard = encoded(voxels((8, 9, 10)), (4, 4, 4))
    with pytest.raises(ValueError, match=r"checksum|shorter"):
        decode_shard(metadata, shard[:length])


@pytest.mark.parametrize(
    "more",
    [
        {"compressors": (ZstdCodec(level=1),)},
        {"compressors": OURS[:1]},
        {"shards": (16, 16, 16)},
        {"shards": None, "chunks": (8, 9, 10)},
        {"config": {"write_empty_chunks": False}},
    ],
)
def test_what_is_coded_otherwise_is_left_to_zarr(more: dict[str, Any]) -> None:
    array = voxels((8, 9, 10))
    array[:4] = 0
    chunk, compressors = more.pop("chunks", (4, 4, 4)), more.pop("compressors", OURS)
    assert decode_shard(*encoded(array, chunk, compressors, **more)) is None
