"""On a worker: one item in a process of its own, after the worker that did it died, hung or lacked memory.

Whatever ends that process, a crash in a decoder, the clock or memory, was this item's doing and no other's. It is
watched from outside: its time, and its memory against what the worker may take. It is the first that the kernel ends
when memory runs out, and it ends with its worker.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from flows.work import WORKER_VARIABLE, Job, Outcome, attempt, worker_name
from schemas.reasons import Reason

_POLL_SECONDS = 0.05
_MEMORY_SHARE = 0.95
"""Of the worker's limit, as Dask ends workers."""


@dataclass(frozen=True)
class Alone:
    """What became of an item that was tried alone: its outcome, or the blame."""

    outcome: Outcome | None = None
    """It ended by itself."""
    reason: Reason | None = None
    """timeout, out_of_memory or worker_died."""
    sentence: str | None = None
    """The same with its figures."""


def attempt_alone(item: Any, job: Job) -> Alone:
    """Do one item in a new process and say what became of it."""
    payload = pickle.dumps((item, job))
    with subprocess.Popen(
        [sys.executable, "-m", "flows.alone"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), WORKER_VARIABLE: worker_name()},
    ) as process:
        return _watched(process, payload, job.seconds, _memory_limit())


def _watched(process: subprocess.Popen[bytes], payload: bytes, seconds: float, limit_bytes: int) -> Alone:
    answer: list[bytes] = []
    ended_by_kernel = _kernel_kills()
    reader = threading.Thread(target=lambda: answer.append(_exchange(process, payload)), daemon=True)
    reader.start()
    deadline, peak = time.monotonic() + seconds, 0
    try:
        while reader.is_alive():
            reader.join(_POLL_SECONDS)
            peak = max(peak, _rss(process.pid))
            if peak > limit_bytes:
                return _memory(peak, limit_bytes)
            if time.monotonic() > deadline:
                return Alone(reason=Reason.TIMEOUT, sentence=f"it took longer than {seconds:g} s, also alone")
    finally:
        if reader.is_alive():
            process.kill()
            reader.join()
        code = process.wait()
    if code == 0 and answer and answer[0]:
        return Alone(outcome=pickle.loads(answer[0]))  # noqa: S301 - our own child wrote it
    if code == -signal.SIGKILL and _kernel_kills() > ended_by_kernel:
        return _memory(peak, limit_bytes)
    return Alone(reason=Reason.WORKER_DIED, sentence=f"its process ended by {_ending(code)}, also alone")


def _exchange(process: subprocess.Popen[bytes], payload: bytes) -> bytes:
    if process.stdin is None or process.stdout is None:
        return b""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(len(payload).to_bytes(8, "big") + payload)
        process.stdin.flush()  # and stays open: its end tells the child that we are gone
    return process.stdout.read()


def _memory(peak: int, limit: int) -> Alone:
    return Alone(
        reason=Reason.OUT_OF_MEMORY,
        sentence=f"it took {peak >> 20} MiB of the {limit >> 20} MiB that a worker may, also alone: "
        "give the workers more memory",
    )


def _ending(code: int) -> str:
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"


def _kernel_kills() -> int:
    """How many processes the kernel has ended for want of memory since it started; 0 where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _rss(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _memory_limit() -> int:
    from distributed import get_worker

    try:
        limit = get_worker().memory_manager.memory_limit
    except ValueError:  # not on a worker
        limit = None
    return int((limit or psutil.virtual_memory().total) * _MEMORY_SHARE)


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the other end is closed, by whatever end the parent came to
    os.kill(os.getpid(), signal.SIGKILL)


def _main() -> None:
    with open(0, "rb", buffering=0, closefd=False) as pipe:
        size = int.from_bytes(pipe.read(8), "big")
        payload = bytearray()
        while len(payload) < size:
            payload += pipe.read(size - len(payload))
    item, job = pickle.loads(payload)  # noqa: S301 - our own parent wrote it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what decoders print is no answer
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with answer:
        pickle.dump(attempt(item, job), answer)


if __name__ == "__main__":
    _main()
