"""A real DICOMweb server: Orthanc, as Debian packages it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ServiceError, SourceError
from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.store import Store
from schemas.config import CohortConfig
from tests.servers import free_port, running_orthanc

SOURCES = ("ct_body_spine_dicom_crlm1004/image", "mr_dicom_variants_dicom2nifti/rle")


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running server."""
    pytest.importorskip("dicomweb_client")
    with running_orthanc(tmp_path_factory.mktemp("orthanc")) as address:
        yield address


def upload(address: str, folder: Path) -> None:
    for path in sorted(folder.glob("*.dcm")):
        request = urllib.request.Request(f"{address}/instances", path.read_bytes(), method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200


def test_a_server_gives_what_a_folder_gives(orthanc: str, shared_data: Path, tmp_path: Path) -> None:
    identity = Identity(b"d" * 32)
    store = Store.create(str(tmp_path / "store"), cohort="cohort")
    rows = {}
    for kind in ("folder", "server"):
        for name in SOURCES:
            if kind == "server":
                upload(orthanc, shared_data / name)
        sources = (
            [str(shared_data / name) for name in SOURCES] if kind == "folder" else [f"dicomweb+{orthanc}/dicom-web"]
        )
        for number, source in enumerate(sources):
            config = CohortConfig(source=source, store=store.uri)
            for entry in index_source(config, identity=identity).series:
                row = ingest_series(entry, store=store, shard=f"{kind}{number}", attempt="a", config=config)
                assert row["status"] == "ok", row["reason"]
                rows[kind, entry.series_key] = row
    keys = {key for kind, key in rows if kind == "folder"}
    assert {key for kind, key in rows if kind == "server"} == keys
    assert len(keys) == 2
    for key in keys:
        one, other = rows["folder", key], rows["server", key]
        for column in ("voxels_sha256", "shape", "modality", "kvp", "patient_key", "n_instances", "transfer_syntax"):
            assert one.get(column) == other.get(column), column
        np.testing.assert_allclose(one["spacing_mm"], other["spacing_mm"])


def test_another_path_of_the_server_is_a_wrong_request(orthanc: str, tmp_path: Path) -> None:
    config = CohortConfig(source=f"dicomweb+{orthanc}/elsewhere", store=str(tmp_path / "store"))
    with pytest.raises(SourceError, match="no DICOMweb service"):
        index_source(config, identity=Identity.throwaway())


def test_a_server_that_is_away_is_a_service_error(tmp_path: Path) -> None:
    pytest.importorskip("dicomweb_client")
    config = CohortConfig(source=f"dicomweb+http://127.0.0.1:{free_port()}/dicom-web", store=str(tmp_path))
    with pytest.raises(ServiceError, match="DICOMweb"):
        index_source(config, identity=Identity(b"d" * 32))
