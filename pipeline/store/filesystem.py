"""Filesystems behind addresses, and what their failures mean.

Credentials, endpoint and region come from `storage_options`, or where those say nothing, from where the filesystem's
own package looks: for `s3://` the variables and profiles of AWS (`AWS_ACCESS_KEY_ID`, `AWS_PROFILE`,
`AWS_ENDPOINT_URL`, ...). `gs://` and `abfs://` work where gcsfs and adlfs are installed.
"""

from __future__ import annotations

import errno
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from weakref import WeakSet

import fsspec

from pipeline.errors import ServiceError, StoreError

T = TypeVar("T")

_DEFAULTS: dict[str, dict[str, Any]] = {
    "s3": {
        # one GET per object: no HEAD before it, and unlike a range it comes with a checksum, which botocore compares
        "max_concurrency": 1,
        "config_kwargs": {
            "retries": {"mode": "standard", "total_max_attempts": 4},
            "connect_timeout": 10,
            "read_timeout": 30,
        },
    }
}
"""Options of a protocol's filesystem that a person may override, each by itself."""

_OUTER_ATTEMPTS = 2
"""s3fs calls again on top of its client, which has had its 4 attempts; by default 5 times, so that nobody there took
minutes to notice."""

WAITS_S = (0.3, 1.5, 5.0)
"""Longest waits before something is tried again here, on top of those of the client."""

_PASSING = {errno.EBUSY, errno.EIO, getattr(errno, "EREMOTEIO", errno.EIO)}
"""How s3fs says 503, 409 and 500."""

_connected: WeakSet[fsspec.AbstractFileSystem] = WeakSet()

_OF_BUCKETS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_SERVICES = {"botocore", "aiobotocore", "aiohttp", "asyncio", "fsspec"}
"""Packages whose errors tell of a service."""

_ADDRESS = re.compile(r"""(\w+://)(?:[^/@\s]+@)?([^/\s"']*)(?:/[^"']*(?=["'])|[^\s"']*)""")
"""Scheme, and host or bucket of an address; a password before them and the path after them stay out."""
_CREDENTIALS = (
    "check the credentials (variables or profile of AWS, or storage_options): present, not expired, allowed; "
    "a public bucket takes `storage_options: {anon: true}`"
)


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


def filesystem_options(uri: str, storage_options: dict[str, Any]) -> dict[str, Any]:
    """All options for the filesystem of an address: a person's, ours where there are none, no remembered listings.

    Raises:
        StoreError: an environment variable that they name is not set.
    """
    scheme, separator, _ = uri.partition("://")
    given = from_environment(storage_options)
    if not separator:
        return given
    ours = _DEFAULTS.get(scheme, {})
    inner = {key: value | given.get(key, {}) for key, value in ours.items() if isinstance(value, dict)}
    return {"use_listings_cache": False} | ours | given | inner


def open_filesystem(uri: str, storage_options: dict[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem of an address and the path in it; listings are never cached, for others write too.

    Raises:
        StoreError: no package serves this kind of address, or it does not take these options.
        ServiceError: the service could not be reached.
    """
    options = filesystem_options(uri, storage_options)
    try:
        filesystem, path = _resolved(uri, options)
        if filesystem not in _connected:
            _connect(filesystem)
    except OSError as error:
        raise ServiceError(f"opening {_scheme(uri)}: {_told(error)}") from error
    except Exception as error:
        raise StoreError(
            f"cannot open {_scheme(uri)}: {_told(error)}. Check storage_options and the variables of the service"
        ) from error
    if _scheme_of(uri) in _OF_BUCKETS and not path.strip("/"):
        raise StoreError(
            f"{_scheme(uri)} begin with a bucket, as in {_scheme_of(uri)}://bucket/prefix; this one has none"
        )
    return filesystem, path


def _resolved(uri: str, options: dict[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    scheme, separator, rest = uri.rpartition("://")
    if "::" not in rest:
        return fsspec.core.url_to_fs(uri, **options)
    # to fsspec `::` joins two addresses; in the name of a file it is nothing of the kind
    kind = fsspec.get_filesystem_class(scheme if separator else "file")
    return kind(**(kind._get_kwargs_from_urls(uri) | options)), kind._strip_protocol(uri)


def _connect(filesystem: fsspec.AbstractFileSystem) -> None:
    """Have a wrong option found here: s3fs would find it at the first file only."""
    if getattr(filesystem, "retries", 0) > _OUTER_ATTEMPTS:
        filesystem.retries = _OUTER_ATTEMPTS
    if callable(connect := getattr(filesystem, "connect", None)):
        connect()
    _connected.add(filesystem)


def check_bucket(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    """Refuse a path whose bucket is not there: some servers would make it by the first write.

    Raises:
        StoreError: there is no such bucket.
        ServiceError: the service was not there.
    """
    bucket = path.split("/")[0]
    if not bucket:  # a path from a root has no bucket
        return
    try:
        with service_errors("looking for the bucket"):
            with_patience(lambda: filesystem.info(bucket))
    except FileNotFoundError:
        raise StoreError(f"there is no bucket {bucket!r}: make it, or correct the address") from None
    except ServiceError as error:
        if not isinstance(error.__cause__, PermissionError):  # who may use objects may not see their bucket
            raise


@contextmanager
def service_errors(what: str) -> Iterator[None]:
    """Turn what a disk or an object storage raises into a ServiceError; a missing file passes as FileNotFoundError."""
    try:
        yield
    except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError, ServiceError):
        raise
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise StoreError(f"{what}: a name in the path is longer than the disk allows") from error
        raise ServiceError(f"{what}: {_told(error)}") from error
    except Exception as error:
        if type(error).__name__ == "ParamValidationError":  # botocore, of a bucket's name
            raise StoreError(f"{what}: not an address of this service: {_told(error)}") from error
        if _package(error) in _SERVICES:
            raise ServiceError(f"{what}: {_told(error)}") from error
        raise


def with_patience(call: Callable[[], T]) -> T:
    """The call's answer; made again, a moment later, where what went wrong passes: busy, or an answer cut short."""
    for longest_s in WAITS_S:
        try:
            return call()
        except Exception as error:
            if not _passes(error):
                raise
        wait(longest_s)
    return call()


def wait(longest_s: float) -> None:
    """Sleep at random, that those who collided do not collide again."""
    time.sleep(longest_s * random.uniform(0.3, 1.0))  # noqa: S311


def _passes(error: Exception) -> bool:
    return type(error).__name__ == "ClientPayloadError" or (isinstance(error, OSError) and error.errno in _PASSING)


def _told(error: Exception) -> str:
    """An error in one line, without what could be a password, and without the paths in addresses: they carry names."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return "no space left"
    text = (error.strerror if isinstance(error, OSError) else None) or str(error)
    line = _ADDRESS.sub(r"\1\2", text.splitlines()[0] if text else "")[:300].rstrip(". ")
    hint = f"; {_CREDENTIALS}" if _is_about_credentials(error) else ""
    return f"{type(error).__name__}: {line}{hint}" if line else f"{type(error).__name__}{hint}"


def _is_about_credentials(error: Exception) -> bool:
    remote = isinstance(error, PermissionError) and error.errno is None
    return remote or (_package(error) == "botocore" and "Credential" in type(error).__name__)


def _package(error: Exception) -> str:
    return type(error).__module__.split(".")[0]


def _scheme_of(uri: str) -> str:
    return uri.partition("://")[0] if "://" in uri else ""


def _scheme(uri: str) -> str:
    return f"{_scheme_of(uri)}:// addresses" if "://" in uri else "a folder"
