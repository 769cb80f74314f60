"""What is exported goes back to an archive: a real Orthanc takes it over STOW-RS and gives the same back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.export import export_store
from tests.pipeline.export.cases import store_of
from tests.servers import running_orthanc

SERIES = "ct_body_spine_dicom_crlm1004/image"


@pytest.fixture(scope="module")
def exported(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("archive")
    export_store(store_of(shared_data / SERIES, folder), str(folder / "out"), kinds=["dicom"])
    return sorted((folder / "out").rglob("*.dcm"))


def test_an_archive_takes_them_and_gives_them_back(
    exported: list[Path], shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    client_of = pytest.importorskip("dicomweb_client.api").DICOMwebClient
    made = [pydicom.dcmread(path) for path in exported]
    assert sorted({dataset.Modality for dataset in made}) == ["SEG", "SR"]
    slices = [pydicom.dcmread(path) for path in sorted((shared_data / SERIES).rglob("*.dcm"))]
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as address:
        client = client_of(f"{address}/dicom-web")
        client.store_instances(slices)
        client.store_instances(made)
        study = str(made[0].StudyInstanceUID)
        assert {str(dataset.StudyInstanceUID) for dataset in slices} == {study}, "the archive files them together"
        found = client.search_for_series(study)
        assert {series["00080060"]["Value"][0] for series in found} == {"CT", "SEG", "SR"}
        for dataset in made:
            back = client.retrieve_instance(study, str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID))
            if dataset.Modality == "SEG":
                assert np.array_equal(back.pixel_array, dataset.pixel_array)
                assert len(back.SegmentSequence) == len(dataset.SegmentSequence)
            else:
                assert back.ContentSequence == dataset.ContentSequence
