"""Annotations in DICOM are held against the scan that they are said to be of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
import pytest
import SimpleITK as sitk

from pipeline.evaluate.reference import ReferenceRequest, read_reference
from pipeline.evaluate.sources import TruthSource
from pipeline.grid import Volume
from pipeline.identity import Identity
from pipeline.mask_sources.image_file import grid_of
from pipeline.store import Store
from pipeline.store.volumes import geometry, read_labels, write_volume


@pytest.fixture
def scanned(shared_data: Path, tmp_path: Path) -> tuple[Store, dict[str, Any], Path]:
    """The sarcoma CT in a store, and the row that its ingest would have made."""
    folder = shared_data / "sarcoma_sts001_ct_pet_mr_rtstruct" / "CT"
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "image"))
    image = sitk.ReadImage(names)
    grid = grid_of(image)
    store = Store.create(str(tmp_path / "store"), cohort="one")
    written = write_volume(store, "volumes/s.zarr/k/a", Volume(sitk.GetArrayFromImage(image), grid), attributes={})
    header = pydicom.dcmread(names[0], stop_before_pixels=True)
    identity = Identity.of(store)
    row = geometry(grid) | {
        "version": "v",
        "shape": list(grid.shape),
        "volume_uri": written.volume_uri,
        "series_uid_key": identity.uid_key(header.SeriesInstanceUID),
        "frame_of_reference_key": identity.uid_key(header.FrameOfReferenceUID),
    }
    return store, row, folder / "rtstruct" / "RS.dcm"


def read(store: Store, row: dict[str, Any] | None, uri: Path) -> dict[str, Any]:
    source = TruthSource("k", "s", "p", uri=str(uri))
    return read_reference(ReferenceRequest(source, "id", row), store=store, attempt="t")


def test_outlines_of_the_scan_are_kept_on_its_grid(scanned: tuple[Store, dict[str, Any], Path]) -> None:
    store, row, outlines = scanned
    made = read(store, row, outlines)
    assert (made["status"], made["n_lesions"], made["n_outside"]) == ("ok", 1, 0)
    mask, _ = read_labels(store, made["labels_uri"])
    assert mask is not None
    assert (mask > 0).sum() == 117145
    assert made["volume_mm3"] == pytest.approx(365327, rel=0.005)


def test_outlines_of_another_scan_are_refused(scanned: tuple[Store, dict[str, Any], Path]) -> None:
    store, row, outlines = scanned
    made = read(store, row | {"series_uid_key": "other", "frame_of_reference_key": "another"}, outlines)
    assert (made["status"], made["reason_code"]) == ("failed", "mask_reference")
    assert made.get("n_lesions") is None


def test_a_scan_without_a_volume_has_its_lesions_counted(scanned: tuple[Store, dict[str, Any], Path]) -> None:
    made = read(scanned[0], None, scanned[2])
    assert (made["status"], made["n_lesions"]) == ("unplaced", 1)
    assert made["volume_mm3"] == pytest.approx(365327, rel=0.02)
    assert made.get("labels_uri") is None
