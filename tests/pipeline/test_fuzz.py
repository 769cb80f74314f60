"""Damaged files of every kind: each costs itself only, and is accounted for."""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from pipeline.dicom.quiet import quiet
from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.store import Store
from schemas.catalog import CATALOG
from schemas.columns import table
from schemas.config import CohortConfig
from schemas.reasons import Reason

SEEDS = (
    "codec_zoo_pydicom/CT_small.dcm",
    "codec_zoo_pydicom/MR_small.dcm",
    "codec_zoo_pydicom/MR_small_implicit.dcm",
    "codec_zoo_pydicom/MR_small_bigendian.dcm",
    "codec_zoo_pydicom/MR_small_RLE.dcm",
    "codec_zoo_pydicom/MR_small_jp2klossless.dcm",
    "codec_zoo_pydicom/MR_small_jpeg_ls_lossless.dcm",
    "seg_liver_spine_dcmqi/tiny_24x38x3/mf.dcm",
    "seg_liver_spine_dcmqi/tiny_24x38x3/singleframe/IMG0001.dcm",
    "enhanced_siemens_xa10/6_1.dcm",
    "sarcoma_sts001_ct_pet_mr_rtstruct/PET/image/000022.dcm",
    "spine_mr_cord_sct/t2/t2_seg-manual.nii.gz",
)
EXPLICIT = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split()


def flip_bytes(data: bytes, random: Random) -> bytes:
    damaged = bytearray(data)
    reach = random.choice([600, 4000, len(data)])
    for _ in range(random.choice([1, 3, 20])):
        damaged[random.randrange(min(reach, len(data)))] = random.randrange(256)
    return bytes(damaged)


def cut(data: bytes, random: Random) -> bytes:
    return data[: random.randrange(len(data))]


def remove_stretch(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data))
    return data[:start] + data[start + random.choice([1, 2, 7, 100]) :]


def repeat_stretch(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data))
    return data[:start] + data[start : start + random.choice([2, 8, 500])] * 3 + data[start:]


def change_vr(data: bytes, random: Random) -> bytes:
    places = [i for vr in EXPLICIT for i in find_all(data[:8000], vr)]
    return replaced(data, random.choice(places), random.choice([*EXPLICIT, b"ZZ", b"\0\0"])) if places else data


def change_length(data: bytes, random: Random) -> bytes:
    places = [i + 2 for vr in EXPLICIT for i in find_all(data[:8000], vr)]
    length = random.choice([b"\xff\xff", b"\0\0", b"\xff\xff\xff\xff", b"\x01\0", b"\xfe\xff"])
    return replaced(data, random.choice(places), length) if places else data


def change_header(data: bytes, random: Random) -> bytes:
    """Values that no scanner writes, in a file that is whole."""
    if data[128:132] != b"DICM":
        return flip_bytes(data, random)
    file = BytesIO()
    with quiet():
        try:
            dataset = dcmread(BytesIO(data))
            random.choice(CHANGES)(dataset)
            dataset.save_as(file)
        except Exception:  # what was damaged before, or cannot be written at all
            return flip_bytes(data, random)
    return file.getvalue()


def nest(data: bytes, random: Random) -> bytes:
    """Sequences within sequences within sequences, all of undefined length."""
    if data[128:132] != b"DICM":
        return data
    start = 144 + struct.unpack("<L", data[140:144])[0]  # behind the meta information, as its length says
    depth = random.choice([5, 50, 900, 20000])
    open_, close = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0"
    return data[:start] + open_ * depth + (close + b"\xfe\xff\xdd\xe0\0\0\0\0") * depth + data[start:]


def set_to(keyword: str, value: Any) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        setattr(dataset, keyword, value)

    return change


CHANGES: tuple[Callable[[Dataset], None], ...] = (
    set_to("Rows", 65535),
    set_to("Columns", 0),
    set_to("NumberOfFrames", "2147483647"),
    set_to("NumberOfFrames", "-3"),
    set_to("BitsAllocated", 64),
    set_to("BitsAllocated", 0),
    set_to("BitsStored", 17),
    set_to("HighBit", 200),
    set_to("SamplesPerPixel", 0),
    set_to("SOPInstanceUID", "../../../../tmp/out"),
    set_to("SeriesInstanceUID", "../../up"),
    set_to("StudyInstanceUID", "/etc/passwd"),
    set_to("PatientID", "../../x" * 9),
    set_to("StudyDate", "99999999"),
    set_to("StudyDate", "00010101"),
    set_to("RescaleSlope", "0"),
    set_to("RescaleIntercept", "1e308"),
    set_to("PixelSpacing", ["0", "-1"]),
    set_to("ImagePositionPatient", ["1e300", "0", "0"]),
    set_to("ImageOrientationPatient", ["1", "0", "0", "1", "0", "0"]),
    set_to("ImageType", []),
    set_to("Modality", "../CT"),
    set_to("PatientAge", "XXXY"),
    set_to("SpecificCharacterSet", ["ISO 2022 IR 87", "nonsense"]),
)
MUTATIONS = (flip_bytes, flip_bytes, cut, remove_stretch, repeat_stretch, change_vr, change_length, change_header, nest)


def find_all(data: bytes, what: bytes) -> list[int]:
    return [i for i in range(len(data)) if data[i : i + 2] == what]


def replaced(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def mutated(seed: int, originals: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """One damaged file, always the same for a seed."""
    random = Random(seed)
    name, data = random.choice(originals)
    for _ in range(random.choice([1, 1, 1, 2])):
        data = random.choice(MUTATIONS)(data, random) or b"\0"
    suffix = ".nii.gz" if name.endswith(".nii.gz") else ".dcm"
    return f"{seed:06}{suffix}", data


def survive(seeds: list[int], shared_data: Path, folder: Path) -> dict[str, int]:
    """Index and ingest damaged files; how many series ended how."""
    originals = [(name, (shared_data / name).read_bytes()) for name in SEEDS]
    source = folder / "source"
    source.mkdir()
    for seed in seeds:
        name, data = mutated(seed, originals)
        (source / name).write_bytes(data)
    store = Store.create(str(folder / "store"), cohort="cohort")
    limits = {"decode_seconds": 30, "decode_memory_mb": 1500, "max_voxels": 50_000_000}
    config = CohortConfig(source=str(source), store=store.uri, limits=limits)  # type: ignore[arg-type]
    before = {path for path in folder.rglob("*") if not path.is_relative_to(folder / "store")}
    index = index_source(config, identity=Identity.of(store))

    kinds = {kind: count for kind, count in index.counts.items() if kind not in ("files", "opened")}
    assert sum(kinds.values()) == index.counts["files"] == len(seeds)
    named = {file.uri for entry in index.series for file in entry.files}
    assert len(named) == sum(kinds.get(kind, 0) for kind in ("dicom", "nifti", "unreadable"))

    rows = [ingest_series(e, store=store, shard="s", attempt="a", config=config) for e in index.series]
    table(rows, CATALOG)
    errors = [(row["reason"], [Path(f.uri).name for f in entry.files][:3])
              for row, entry in zip(rows, index.series, strict=True)
              if row.get("reason_code") == Reason.ERROR]  # fmt: skip
    assert not errors
    assert {path for path in folder.rglob("*") if not path.is_relative_to(folder / "store")} == before
    outcomes: dict[str, int] = {}
    for row in rows:
        outcome = str(row.get("reason_code") or row["status"])
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return outcomes


FOUND: list[int] = []
"""Seeds that found a fault once."""


def test_damaged_files_are_accounted_for(shared_data: Path, tmp_path: Path) -> None:
    outcomes = survive([*range(60), *FOUND], shared_data, tmp_path)
    assert len(outcomes) > 3


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_damaged_files_are_accounted_for(shared_data: Path, tmp_path: Path) -> None:
    outcomes = survive(list(range(1000, 3400)), shared_data, tmp_path)
    assert outcomes.get("ok", 0) < sum(outcomes.values())
