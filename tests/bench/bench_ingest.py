"""Ingest of a DICOM series into Zarr against SimpleITK's series reader with .nii.gz, and against dcm2niix.

`ours` is a worker that runs already, as all series of a run but the first have it; dcm2niix starts anew each time, in a
few milliseconds, and `-z n` neither compresses nor hashes. `ours_in_a_new_process` starts Python, indexes and ingests.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.uid import generate_uid

from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.store import Store
from pipeline.store.volumes import read_volume
from schemas.config import CohortConfig

SLICES = int(os.environ.get("BENCH_SLICES", "160"))
REPEATS = 5


def long_series(shared_data: Path, folder: Path) -> None:
    """A real CT of 16 slices, repeated upwards."""
    originals = sorted((shared_data / "ct_body_spine_dicom_crlm1004" / "image").iterdir())
    for number in range(SLICES):
        dataset = dcmread(originals[number % len(originals)])
        dataset.ImagePositionPatient[2] = -5.0 * number
        dataset.InstanceNumber = number
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.save_as(folder / f"{number:04}.dcm")


def by_simple_itk(source: Path, target: Path) -> sitk.Image:
    """What a script would do."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(source)))
    image = reader.Execute()
    sitk.WriteImage(image, str(target / "image.nii.gz"), useCompression=True)
    return image


DCM2NIIX = shutil.which("dcm2niix", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
"""From PyPI: `pip install dcm2niix`; compared with where it is installed."""


def by_dcm2niix(source: Path, target: Path, compress: str) -> None:
    """`-z i` is its own compression, `-z n` none."""
    command = [str(DCM2NIIX), "-z", compress, "-b", "n", "-f", f"dcm2niix_{compress}", "-o", str(target), str(source)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.bench
@pytest.mark.timeout(3600)
def test_ingest_against_peers(
    shared_data: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    long_series(shared_data, source)
    store = Store.create(str(tmp_path / "store"), cohort="bench")
    config = CohortConfig(source=str(source), store=store.uri)
    [entry] = index_source(config, identity=Identity.of(store)).series
    rows = []

    def ours() -> None:
        rows.append(ingest_series(entry, store=store, shard="s", attempt=f"a{len(rows)}", config=config))

    ways: dict[str, Callable[[], object]] = {
        "ours": ours,
        "simple_itk_nii_gz": lambda: by_simple_itk(source, target),
    }
    if DCM2NIIX is not None:
        ways["dcm2niix_gz"] = lambda: by_dcm2niix(source, target, "i")
        ways["dcm2niix_plain"] = lambda: by_dcm2niix(source, target, "n")
    ways["ours_in_a_new_process"] = lambda: in_a_new_process(source, tmp_path / f"store{len(taken['ours'])}")
    taken: dict[str, list[float]] = {name: [] for name in ways}
    worked: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):
        for name, way in ways.items():
            start, before = time.perf_counter(), processor_seconds()
            way()
            taken[name].append(time.perf_counter() - start)
            worked[name].append(processor_seconds() - before)
    volume = read_volume(store, rows[-1]["volume_uri"])
    np.testing.assert_array_equal(volume.voxels, sitk.GetArrayFromImage(by_simple_itk(source, target)))
    figures: dict[str, object] = {
        f"{name}_slices_per_second": round(SLICES / statistics.median(s)) for name, s in taken.items()
    }
    figures |= {f"{name}_processor_seconds": round(min(s), 2) for name, s in worked.items()}
    for name in [name for name in ways if not name.startswith("ours")]:
        ratios = [theirs / mine for theirs, mine in zip(taken[name], taken["ours"], strict=True)]
        figures[f"times_as_fast_as_{name}"] = round(statistics.median(ratios), 2)
    figures |= {
        "dcm2niix": "compared" if DCM2NIIX is not None else "not here: pip install dcm2niix",
        "stored_share_of_raw": round(rows[-1]["stored_bytes"] / volume.voxels.nbytes, 3),
        "nii_gz_share_of_raw": round((target / "image.nii.gz").stat().st_size / volume.voxels.nbytes, 3),
    }
    for name, value in figures.items():
        record_property(name, value)
    print(f"\n{figures}")


def processor_seconds() -> float:
    """User and system time of this process and of those that it started."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def in_a_new_process(source: Path, store: Path) -> None:
    """Python's start, index and ingest, as dcm2niix is a new process each time; a run does that once for all series."""
    Store.create(str(store), cohort="bench")
    subprocess.run([sys.executable, "-c", _INGEST, str(source), str(store)], check=True, capture_output=True)


_INGEST = """
import sys
from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.store import Store
from schemas.config import CohortConfig
import psutil, re
from pathlib import Path
store = Store.open(sys.argv[2])
config = CohortConfig(source=sys.argv[1], store=sys.argv[2])
[entry] = index_source(config, identity=Identity.of(store)).series
before = psutil.Process().memory_info().rss
row = ingest_series(entry, store=store, shard="m", attempt="m", config=config)
# not ru_maxrss, which begins with the peak of the process that started this one
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
print(before, peak, row["status"])
"""


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_peak_memory_of_ingest(
    shared_data: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    long_series(shared_data, source)
    Store.create(str(tmp_path / "store"), cohort="bench")
    command = [sys.executable, "-c", _INGEST, str(source), str(tmp_path / "store")]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    before, peak = int(answer[0]), int(answer[1])
    volume = SLICES * 512 * 512 * 2
    assert answer[2] == "ok"
    figures = {
        "volume_mb": volume >> 20,
        "rise_mb": (peak - before) >> 20,
        "rise_in_volumes": round((peak - before) / volume, 2),
        "machine_mb": psutil.virtual_memory().total >> 20,
    }
    for name, value in figures.items():
        record_property(name, value)
    print(f"\n{figures}")
