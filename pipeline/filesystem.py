"""Where files lie: disks and object storages behind one interface, and their faults as one kind of error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from pipeline.errors import ServiceError, StoreError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def from_environment(options: dict[str, Any]) -> dict[str, Any]:
    """Storage options with each value `$NAME` replaced by that variable, so that no file needs to hold a secret.

    Raises:
        StoreError: a variable is not set.
    """
    resolved: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            resolved[key] = from_environment(value)
        elif isinstance(value, str) and value.startswith("$"):
            if value[1:] not in os.environ:
                raise StoreError(f"storage_options.{key} names the environment variable {value[1:]}, which is not set")
            resolved[key] = os.environ[value[1:]]
        else:
            resolved[key] = value
    return resolved


def open_filesystem(uri: str, storage_options: dict[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of an address and the path in it; listings are never cached, for others write too.

    Raises:
        StoreError: no package serves this kind of address.
    """
    options = from_environment(storage_options)
    if "://" in uri:
        options.setdefault("use_listings_cache", False)
    try:
        return fsspec.core.url_to_fs(uri, **options)
    except (ImportError, ValueError) as error:
        raise StoreError(f"cannot open {uri.split('://')[0]}:// addresses: {error}") from error


@contextmanager
def service_errors(what: str) -> Iterator[None]:
    """Turn what a disk or an object storage raises into a ServiceError; a missing file passes as FileNotFoundError."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError):
        raise
    except OSError as error:
        word = "no space left" if error.errno in _FULL else f"{type(error).__name__}: {error.strerror or error}"
        raise ServiceError(f"{what}: {word}") from error
    except Exception as error:
        if type(error).__module__.split(".")[0] in {"botocore", "aiohttp", "aiobotocore", "asyncio", "fsspec"}:
            raise ServiceError(f"{what}: {type(error).__name__}: {error}") from error
        raise
