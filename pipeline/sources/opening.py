"""Opening a file of any source by its address alone, so that a worker needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.errors import ScanError, ServiceError
from pipeline.store import open_filesystem, service_errors
from schemas.reasons import Reason


def read_file(uri: str, *, storage_options: dict[str, Any]) -> bytes:
    """The bytes of a file.

    Raises:
        ScanError: unreadable where the file is gone or may not be read.
        ServiceError: the service that holds it does not answer.
    """
    try:
        if "://" not in uri:
            return Path(uri).read_bytes()
        with service_errors("reading a file of the source"):
            filesystem, path = open_filesystem(uri, storage_options)
            return bytes(filesystem.cat_file(path))
    except FileNotFoundError:
        raise ScanError(
            Reason.UNREADABLE, "a file that the source listed is not there any more: run again, or restore it"
        ) from None
    except PermissionError:
        raise ScanError(Reason.UNREADABLE, "a file of the source may not be read: grant reading") from None
    except ServiceError:
        raise
    except OSError as error:
        raise ScanError(Reason.UNREADABLE, f"a file of the source cannot be read: {type(error).__name__}") from None
