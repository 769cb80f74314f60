"""Small DICOM series, made to order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.store import Store
from schemas.catalog import CATALOG
from schemas.columns import table
from schemas.config import CohortConfig

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
Change = Callable[[Dataset, int], None]


def image(
    number: int, *, pixels: np.ndarray, position: Any, orientation: Any = AXIAL, series: str, study: str
) -> Dataset:
    """One CT slice."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality, dataset.PatientID, dataset.PatientName = "CT", "P1", "Doe^Jane"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.StudyDate = study, series, "20200102"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = [f"{x:.6f}" for x in position]
    dataset.ImageOrientationPatient = [f"{x:.8f}" for x in orientation]
    dataset.PixelSpacing = ["0.8", "0.7"]
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = "1", "-1024"
    dataset.PixelData = pixels.tobytes()
    return dataset


class SeriesMaker:
    """Writes a series into a folder, and reads it through index and ingest."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "source"
        self.folder.mkdir()
        self.store = Store.create(str(folder / "store"), cohort="cohort")
        self.study = generate_uid()

    def write(
        self,
        count: int = 5,
        *,
        step: tuple[float, float, float] = (0.0, 0.0, 2.0),
        orientation: Any = AXIAL,
        origin: tuple[float, float, float] = (-10.0, 20.0, -30.0),
        change: Change | None = None,
        series: str | None = None,
        seed: int = 0,
    ) -> str:
        """Write slices; `change` may alter each before it is saved. Gives the SeriesInstanceUID."""
        random = np.random.default_rng(seed)
        series = series or generate_uid()
        for number in range(count):
            pixels = random.integers(0, 2000, (6, 8)).astype(np.int16)
            position = np.array(origin) + number * np.array(step)
            dataset = image(
                number, pixels=pixels, position=position, orientation=orientation, series=series, study=self.study
            )
            if change is not None:
                change(dataset, number)
            self.save(dataset)
        return series

    def save(self, dataset: Dataset) -> Path:
        """Write one object, under a name that says nothing."""
        path = self.folder / f"{len(list(self.folder.iterdir())):05}"
        dataset.save_as(path, enforce_file_format=True)
        return path

    def ingest(self, **options: Any) -> list[dict[str, Any]]:
        """Index and ingest the folder: the rows of the catalog, by part."""
        config = CohortConfig(source=str(self.folder), store=self.store.uri, **options)
        index = index_source(config, identity=Identity.of(self.store))
        rows = [
            ingest_series(e, store=self.store, shard="s", attempt=f"a{len(self.store.list('volumes'))}", config=config)
            for e in sorted(index.series, key=lambda e: (e.series_uid_key, e.part))
        ]
        table(rows, CATALOG)
        return rows


@pytest.fixture
def maker(tmp_path: Path) -> SeriesMaker:
    """A place for made series."""
    return SeriesMaker(tmp_path)
