"""What runs inside a helper process: read a task, do it, answer, until there is nobody to answer to.

Started by `pipeline.sandbox` as `python -m pipeline.sandboxed MEMORY_MB`.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

from pipeline.errors import ScanError, ServiceError
from pipeline.sandbox import Reply, read_message, write_message
from schemas.reasons import Reason

_GRACE_S = 5
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_OUT_OF_MEMORY = "decoding takes more than limits.decode_memory_mb = {memory_mb}: raise it, or check the file"


TASKS: dict[str, str] = {
    "headers": "pipeline.index.inspection:inspect_task",
    "pixels": "pipeline.dicom.decode:pixels_task",
    "nifti": "pipeline.nifti:nifti_task",
}
"""Task to function; imported when first asked for, since each brings a library of its own."""


@cache
def task_named(name: str) -> Callable[[dict[str, Any], bytes], Reply]:
    """The function of a task."""
    module, function = TASKS[name].split(":")
    return getattr(import_module(module), function)


def main() -> None:
    """Serve requests from standard input until it ends."""
    _limit(int(sys.argv[1]))
    requests = sys.stdin.buffer
    # decoders may print to standard output: only we may write answers there
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            request, payload = read_message(requests)
        except EOFError:
            return
        # where the parent is gone and the decoder hangs, the alarm ends us
        signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _GRACE_S)
        head, data = _serve(request, payload)
        write_message(answers, head, data)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _serve(request: dict[str, Any], payload: bytes) -> Reply:
    try:
        return task_named(request["task"])(request["arguments"], payload)
    except ScanError as error:
        return {"reason": error.reason.value, "sentence": error.sentence.replace("{", "(").replace("}", ")")}, b""
    except ServiceError as error:
        return {"service": str(error)}, b""
    except MemoryError:
        return {"reason": Reason.OUT_OF_MEMORY.value, "sentence": _OUT_OF_MEMORY}, b""
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return {"service": "decoding: no space left for temporary files"}, b""
        return {"reason": Reason.UNREADABLE.value, "sentence": f"the file is damaged ({type(error).__name__})"}, b""


def _limit(memory_mb: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    taken = int(_virtual_bytes())
    limit = taken + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, the helper goes first


def _virtual_bytes() -> int:
    with suppress(OSError), open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
    return 0


if __name__ == "__main__":
    main()
