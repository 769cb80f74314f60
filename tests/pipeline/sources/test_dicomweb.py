"""A real DICOMweb server: Orthanc, as Debian packages it."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ServiceError, SourceError
from pipeline.identity import Identity
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.sources.dicomweb import _pages, read_header
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


def _answers(n: int) -> list[dict[str, Any]]:
    return [{"00080018": {"Value": [f"1.{i}"]}} for i in range(n)]


def _uids(search: Callable[..., list[dict[str, Any]]]) -> list[str]:
    return [answer["00080018"]["Value"][0] for answer in _pages(search, "00080018")]


@pytest.mark.parametrize("n", [0, 1, 500, 501, 1300])
def test_all_pages_of_a_server_are_read(n: int) -> None:
    every = _answers(n)
    assert _uids(lambda limit, offset: every[offset : offset + limit]) == [f"1.{i}" for i in range(n)]


def test_a_server_that_knows_no_pages_gives_everything_once() -> None:
    assert len(_uids(lambda limit, offset: _answers(1300))) == 1300


def test_a_server_of_which_only_the_first_page_is_to_be_had_is_refused() -> None:
    with pytest.raises(SourceError, match="offset"):
        _uids(lambda limit, offset: _answers(limit))


def test_answers_without_uids_are_the_servers_fault() -> None:
    with pytest.raises(ServiceError, match="without the UIDs"):
        _uids(lambda limit, offset: [{"00080018": {"vr": "UI"}}])


def test_the_headers_of_a_series_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Client:
        def retrieve_series_metadata(self, study: str, series: str) -> list[dict[str, Any]]:
            asked.append((study, series))
            time.sleep(0.05)
            return [{"00080018": {"vr": "UI", "Value": [f"1.{i}"]}} for i in range(32)]

    monkeypatch.setattr("pipeline.sources.dicomweb._client", lambda _: Client())
    root = "dicomweb+http://127.0.0.1:1/once"
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(read_header, [f"{root}/studies/1/series/2/instances/1.{i}" for i in range(32)]))
    assert [str(header.SOPInstanceUID) for header in found] == [f"1.{i}" for i in range(32)]
    assert asked == [("1", "2")]
