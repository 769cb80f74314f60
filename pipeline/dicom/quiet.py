"""Silence for decoders: what pydicom warns of quotes header values, which may name people."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_pydicom = logging.getLogger("pydicom")
"""Says every warning a second time, and other programs' handlers would write it down."""

_lock = threading.Lock()
_inside: list[warnings.catch_warnings[None]] = []
_depth = 0


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings while inside; safe in threads, where `warnings.catch_warnings` alone is not."""
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1:
            catcher = warnings.catch_warnings()
            catcher.__enter__()
            warnings.simplefilter("ignore")
            _inside.append(catcher)
            _pydicom.disabled = True
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _pydicom.disabled = False
                _inside.pop().__exit__(None, None, None)
