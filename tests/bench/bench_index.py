"""Index of a folder of DICOM against a plain pydicom loop over the same files: headers per second."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import dcmread

from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from schemas.config import CohortConfig

FILES = int(os.environ.get("BENCH_FILES", "3000"))
REPEATS = 5
ORIGINALS = ("ct_body_spine_dicom_crlm1004/image", "sarcoma_sts001_ct_pet_mr_rtstruct/CT/image")


def many_series(shared_data: Path, folder: Path) -> None:
    """Copies of real CT slices, their UIDs changed at the same length; pixels are cut, no one reads them."""
    originals = [path for name in ORIGINALS for path in sorted((shared_data / name).iterdir())]
    for number in range(FILES):
        copy, path = divmod(number, len(originals))[0], originals[number % len(originals)]
        dataset = dcmread(path, stop_before_pixels=True)
        data = path.read_bytes()[:65536]
        for uid in (dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID):
            old = str(uid).encode()
            data = data.replace(old, old[:-4] + f"{copy % 10000:04}".encode())
        (folder / f"{number:06}").write_bytes(data)


def plain(folder: Path) -> int:
    """What a script would do."""
    return sum(bool(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in sorted(folder.iterdir()))


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_index_against_pydicom(
    shared_data: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    many_series(shared_data, tmp_path)
    config, identity = CohortConfig(source=str(tmp_path), store="unused"), Identity.throwaway()
    first = index_source(config, identity=identity)
    assert first.counts["dicom"] == plain(tmp_path) == FILES
    ours, theirs, nightly = [], [], []
    for _ in range(REPEATS):
        ours.append(seconds(lambda: index_source(config, identity=identity)))
        theirs.append(seconds(lambda: plain(tmp_path)))
        nightly.append(seconds(lambda: index_source(config, identity=identity, previous=first.files)))
    figures = {
        "files": FILES,
        "series": len(first.series),
        "index_per_second": round(FILES / statistics.median(ours)),
        "pydicom_per_second": round(FILES / statistics.median(theirs)),
        "unchanged_per_second": round(FILES / statistics.median(nightly)),
        "times_as_fast": round(statistics.median(t / o for t, o in zip(theirs, ours, strict=True)), 2),
        "worst": round(min(t / o for t, o in zip(theirs, ours, strict=True)), 2),
    }
    for name, value in figures.items():
        record_property(name, value)
    print(f"\n{figures}")
