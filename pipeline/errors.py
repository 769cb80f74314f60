"""Every error that spinetally raises on purpose, and what each means for the run.

    SpinetallyError
    ├── RequestError        the request was wrong: exit code 2, one line, nothing written   (also a ValueError)
    │   ├── ConfigError     the cohort file or a recipe
    │   ├── SourceError     no such source, or nothing in it
    │   ├── ModelError      no such model, its weights differ, it does not fit
    │   ├── StoreError      the store is not ours, newer than this program, or in use for another cohort
    │   │   └── DamagedError    something in it is damaged, or not all there
    │   └── QueryError      bad SQL, or SQL that would write or leave the store
    ├── ServiceError        a service was not there: exit code 3, the scans stay pending     (also a ConnectionError)
    └── ScanError           something is wrong with one scan: a row with its reason, the rest goes on
        └── GpuMemoryError  it does not fit the memory of the GPU; the CPU may have room for it

A message says what was wrong, what was allowed, what it got and what to do. It never holds a patient's name or ID, a
text from a scan's header, or the path of a scan: paths carry names.
"""

from __future__ import annotations

from schemas.reasons import Reason


class SpinetallyError(Exception):
    """Base of all errors raised on purpose."""


class RequestError(SpinetallyError, ValueError):
    """The request was wrong; nothing has been written."""


class ConfigError(RequestError):
    """The cohort file or a recipe is wrong."""


class SourceError(RequestError):
    """The source is not there, or holds no image."""


class ModelError(RequestError):
    """A model is unknown, damaged, or does not fit what it is asked to do."""


class StoreError(RequestError):
    """The store is not a store, or was written by a newer layout."""


class DamagedError(StoreError):
    """Something that should lie in the store is damaged there, or gone."""


class QueryError(RequestError):
    """SQL that is wrong, writes, or reaches outside the views."""


class ServiceError(SpinetallyError, ConnectionError):
    """A service (object storage, scheduler, server, disk space) was not there; the work stays pending."""


class ScanError(SpinetallyError):
    """Something is wrong with one scan: it becomes a row with `reason` and this sentence."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence

    def __reduce__(self) -> tuple[type[ScanError], tuple[Reason, str]]:
        return type(self), (self.reason, self.sentence)


class GpuMemoryError(ScanError):
    """One window of the scan alone is more than the GPU's memory holds."""


def first_line(failure: BaseException) -> str:
    """The first line of what a library says, at most 200 characters."""
    return str(failure).strip().splitlines()[0][:200] if str(failure).strip() else type(failure).__name__
