"""A DICOMweb server (PS3.18): QIDO-RS to list, WADO-RS to read.

The source is `dicomweb+https://HOST/PATH` of the service's root. Credentials come from `DICOMWEB_TOKEN`, from
`DICOMWEB_USER` and `DICOMWEB_PASSWORD`, or from the user's netrc. Needs the package dicomweb-client.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from threading import Lock
from typing import Any

import pydicom

from pipeline.errors import ScanError, ServiceError, SourceError
from pipeline.sources.files import SourceFile
from schemas.reasons import Reason

SCHEME = "dicomweb+"

_PAGE = 500
_TIMEOUT_S = (10, 300)
_STUDY, _SERIES, _INSTANCE = "0020000D", "0020000E", "00080018"
_ANY_ENCODING = (("application/dicom", "*"),)
_one_at_a_time = Lock()
_IMMUTABLE = "instance"  # an object that changes gets another UID (PS3.3 C.12.1.1.3)


def list_server(uri: str) -> Iterator[SourceFile]:
    """Every instance that the server holds; its size is not known before it is read.

    Raises:
        SourceError: the package is missing, or there is no such service.
        ServiceError: the server does not answer.
    """
    root = uri.rstrip("/")
    client = _client(root)
    with _server_errors():
        for series in _listed(client):
            study, uid = _value(series, _STUDY), _value(series, _SERIES)
            where = {"study_instance_uid": study, "series_instance_uid": uid}
            for instance in _pages(client.search_for_instances, _INSTANCE, **where):
                name = f"studies/{study}/series/{uid}/instances/{_value(instance, _INSTANCE)}"
                yield SourceFile(f"{root}/{name}", name, 0, _IMMUTABLE)


def read_instance(uri: str) -> bytes:
    """An instance as a DICOM file, in the encoding in which the server holds it.

    Raises:
        ScanError: unreadable where the server has it no more.
        ServiceError: the server does not answer.
    """
    root, study, series, instance = _parts(uri)
    with _server_errors():
        dataset = _client(root).retrieve_instance(study, series, instance, media_types=_ANY_ENCODING)
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def read_header(uri: str) -> pydicom.Dataset:
    """The header of an instance; those of a series come in one answer and are kept for its neighbours.

    Raises:
        ScanError: unreadable where the server does not give it.
        ServiceError: the server does not answer.
    """
    root, study, series, instance = _parts(uri)
    with _one_at_a_time:  # the others of the series wait for its answer, and do not ask again
        headers = _headers(root, study, series)
    try:
        return headers[instance]
    except KeyError:
        raise ScanError(Reason.UNREADABLE, "the server lists an instance and does not give its header") from None


@lru_cache(maxsize=8)
def _headers(root: str, study: str, series: str) -> dict[str, pydicom.Dataset]:
    with _server_errors():
        answers = _client(root).retrieve_series_metadata(study, series)
    datasets = [pydicom.Dataset.from_json(answer, lambda *_: None) for answer in answers]
    for dataset in datasets:
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        if "AvailableTransferSyntaxUID" in dataset:
            dataset.file_meta.TransferSyntaxUID = dataset.AvailableTransferSyntaxUID
    return {str(dataset.get("SOPInstanceUID", "")): dataset for dataset in datasets}


@lru_cache(maxsize=4)
def _client(root: str) -> Any:
    try:
        import requests
        from dicomweb_client.api import DICOMwebClient
    except ImportError:
        raise SourceError(
            "reading a DICOMweb server needs the package dicomweb-client: `pip install spinetally[dicomweb]`"
        ) from None
    session = requests.Session()
    headers = {}
    if token := os.environ.get("DICOMWEB_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    elif user := os.environ.get("DICOMWEB_USER"):
        session.auth = (user, os.environ.get("DICOMWEB_PASSWORD", ""))
    return DICOMwebClient(root.removeprefix(SCHEME), session=session, headers=headers or None, timeout=_TIMEOUT_S)


def _listed(client: Any) -> Iterator[dict[str, Any]]:
    """All series of the server.

    Raises:
        SourceError: there is no such service.
    """
    try:
        yield from _pages(client.search_for_series, _SERIES)
    except OSError as error:
        if getattr(getattr(error, "response", None), "status_code", None) != 404:
            raise
        raise SourceError(
            "there is no DICOMweb service at the address that `source` names (status 404): give its root, which often "
            "ends with /dicom-web"
        ) from None


def _pages(search: Any, tag: str, **where: str) -> Iterator[dict[str, Any]]:
    """All answers to a search, page by page, each once; `tag` tells them apart.

    Raises:
        SourceError: the server begins anew with every page, so that no more than the first is to be had.
    """
    seen: set[str] = set()
    while True:
        page = search(limit=_PAGE, offset=len(seen), **where)
        fresh = {_value(answer, tag): answer for answer in page}
        fresh = {value: answer for value, answer in fresh.items() if value not in seen}
        if len(page) == _PAGE and not fresh:
            raise SourceError(
                f"the DICOMweb server gives the same {_PAGE} answers again and again: it does not know `offset`, and "
                "what comes after them cannot be listed; give the scans as files"
            )
        seen.update(fresh)
        yield from fresh.values()
        if len(page) != _PAGE:  # the last page, or a server that gives everything at once
            return


def _value(answer: dict[str, Any], tag: str) -> str:
    """A value of an answer.

    Raises:
        ServiceError: the server left out what it must give (PS3.18, 10.6.3).
    """
    try:
        return str(answer[tag]["Value"][0])
    except (KeyError, IndexError, TypeError):
        raise ServiceError("the DICOMweb server answers a search without the UIDs of what it found") from None


def _parts(uri: str) -> tuple[str, str, str, str]:
    root, _, rest = uri.partition("/studies/")
    study, _, series, _, instance = rest.split("/")
    return root, study, series, instance


@contextmanager
def _server_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # those of requests are OSErrors
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 404:
            raise ScanError(Reason.UNREADABLE, "the DICOMweb server does not have the instance any more") from None
        if status in (401, 403):
            raise ServiceError(
                f"the DICOMweb server refuses (status {status}): give credentials that may read"
            ) from None
        said = f"answers with status {status}" if status else f"does not answer ({type(error).__name__})"
        raise ServiceError(f"the DICOMweb server {said}: check its address, and that it runs") from None
