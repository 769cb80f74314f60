from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, NuclearMedicineImageStorage, generate_uid

from pipeline.store.volumes import read_volume


def camera(
    kind: str, frames: int, *, detectors: int = 1, step: float = 4.0, pixels: np.ndarray | None = None
) -> Dataset:
    """A multi-frame object of a gamma camera."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = NuclearMedicineImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PatientID, dataset.StudyInstanceUID = "NM", "1", generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, "EMISSION"]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 6, 5, frames
    dataset.PixelSpacing = ["4.5", "4.5"]
    dataset.CountsAccumulated = 1000
    items = []
    for number in range(detectors):
        item, view = Dataset(), Dataset()
        view.CodeMeaning = ("Anterior", "Posterior")[number]
        item.ViewCodeSequence = Sequence([view])
        item.CollimatorType = "PARA"
        if "TOMO" in kind:
            item.ImagePositionPatient, item.ImageOrientationPatient = [10, 20, 30], [1, 0, 0, 0, 1, 0]
        items.append(item)
    dataset.DetectorInformationSequence = Sequence(items)
    dataset.EnergyWindowVector = [1] * frames
    dataset.DetectorVector = [1 + n % detectors for n in range(frames)]
    if kind == "RECON TOMO":
        dataset.SliceVector = list(range(1, frames + 1))
        dataset.SpacingBetweenSlices = step
    values = np.random.default_rng(1).integers(0, 900, (frames, 6, 5)) if pixels is None else pixels
    dataset.PixelData = values.astype(np.uint16).tobytes()
    return dataset


@pytest.mark.parametrize("step", [4.0, -4.0])
def test_reconstructed_slices_are_a_volume(maker: Any, step: float) -> None:
    values = np.arange(7 * 30).reshape(7, 6, 5)
    maker.save(camera("RECON TOMO", 7, step=step, pixels=values))
    [row] = maker.ingest()
    assert (row["status"], row["shape"], row["intensity_unit"]) == ("ok", [7, 6, 5], "counts")
    assert row["spacing_mm"] == pytest.approx([4.0, 4.5, 4.5])
    voxels = read_volume(maker.store, row["volume_uri"]).voxels
    np.testing.assert_array_equal(voxels, values if step > 0 else values[::-1])
    assert row["origin_mm"] == pytest.approx([10, 20, 30 if step > 0 else 30 - 24])
    assert (row["collimator_type"], row["counts_accumulated"]) == ("PARA", 1000.0)


def test_views_of_a_bone_scan_are_pictures_of_one_study(maker: Any) -> None:
    maker.save(camera("WHOLE BODY", 2, detectors=2))
    rows = maker.ingest()
    assert [(r["status"], r["shape"], r["part_reason"]) for r in rows] == [("ok", [1, 6, 5], "view")] * 2
    assert [r["view_code_meaning"] for r in rows] == ["Anterior", "Posterior"]
    assert len({r["study_key"] for r in rows}) == 1
    assert len({r["voxels_sha256"] for r in rows}) == 2


@pytest.mark.parametrize("kind", ["TOMO", "DYNAMIC", "GATED"])
def test_projections_and_pictures_over_time_are_no_volume(maker: Any, kind: str) -> None:
    maker.save(camera(kind, 8))
    [row] = maker.ingest()
    assert (row["status"], row["reason_code"]) == ("quarantined", "not_a_volume")
    assert kind in row["reason"]


def test_energy_windows_of_a_reconstruction_are_parts(maker: Any) -> None:
    dataset = camera("RECON TOMO", 6)
    dataset.EnergyWindowVector, dataset.SliceVector = [1, 1, 1, 2, 2, 2], [1, 2, 3, 1, 2, 3]
    maker.save(dataset)
    assert [(r["status"], r["part_reason"]) for r in maker.ingest()] == [("ok", "energy_window")] * 2
