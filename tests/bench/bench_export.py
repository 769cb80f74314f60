"""SEG and SR of a whole-spine CT of 600 slices with 50 lesions, read back."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import generate_uid

from pipeline.export.destination import Destination
from pipeline.export.dicom_objects import export_dicom
from pipeline.export.scans import ExportScan, Masks
from pipeline.grid import Grid

SHAPE = (600, 512, 512)
GRID = Grid(SHAPE, (1.0, 0.8, 0.8), (-200.0, -200.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
N_LESIONS = 50


def sources() -> list[Dataset]:
    """The headers of 600 slices."""
    same = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT", "Rows": 512, "Columns": 512}
    same |= {name: generate_uid() for name in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")}
    same |= {"PixelSpacing": [0.8, 0.8], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PatientID": "1"}
    headers = []
    for number in range(SHAPE[0]):
        header = Dataset()
        own = {"SOPInstanceUID": generate_uid(), "ImagePositionPatient": [-200, -200, float(number)]}
        for keyword, value in (same | own).items():
            setattr(header, keyword, value)
        headers.append(header)
    return headers


@pytest.mark.bench
def test_export_of_fifty_lesions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros(SHAPE, np.uint16)
    for number in range(1, N_LESIONS + 1):
        z, y, x = rng.integers((20, 100, 100), (580, 400, 400))
        labels[z - 8 : z + 8, y - 10 : y + 10, x - 10 : x + 10] = number
    names = ("volume_mm3", "long_axis_mm", "short_axis_mm", "hu_mean", "hu_max", "suv_mean", "suv_max")
    lesions = [
        {"lesion_id": int(n), "level": "L1", "lesion_type": "lytic"} | dict.fromkeys(names, 1.0)
        for n in np.unique(labels)[1:]
    ]
    scan = ExportScan("0" * 16, "s", "t", "p", "CT", "v", "a", "l", datetime.now(UTC), None, 0, "m 1", "m 1")
    start = time.perf_counter()
    written = export_dicom(scan, Masks(labels, None, GRID), lesions, sources(), Destination(str(tmp_path)))
    seconds = time.perf_counter() - start
    made = highdicom.seg.segread(tmp_path / written[0])
    volume = made.get_volume(combine_segments=True)
    index = np.argwhere(volume.array)
    places = np.round(GRID.to_index(index @ volume.affine[:3, :3].T + volume.affine[:3, 3])).astype(int)
    assert np.array_equal(np.argwhere(labels), places[np.lexsort(places.T[::-1])])
    size = sum((tmp_path / path).stat().st_size for path in written) / 1e6
    print(f"\nSEG and SR of {len(lesions)} lesions in {SHAPE}: {seconds:.1f} s, {size:.1f} MB; read back identical")
