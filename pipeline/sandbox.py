"""A helper process for what may take any memory, any time, or crash: decoders of files that come from anywhere.

One helper serves many files, one at a time; a process has as many as it has threads that decode. Helpers are started
with `subprocess`, never by fork: workers are daemonic, have threads, and may not have children of multiprocessing.

    frames = run_sandboxed("pixels", {}, data, seconds=60, memory_mb=4096)
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from struct import Struct
from typing import IO, Any

from pipeline.errors import ScanError, ServiceError
from schemas.reasons import Reason

Reply = tuple[dict[str, Any], bytes]
"""What a task answers: facts that JSON can hold, and bytes."""

_HEAD = Struct("<QQ")
_lock = threading.Lock()
_idle: dict[int, list[Sandbox]] = {}


def run_sandboxed(
    task: str, arguments: dict[str, Any], payload: bytes | memoryview = b"", *, seconds: float, memory_mb: int
) -> Reply:
    """Run a task of `pipeline.sandboxed` in a helper process.

    Args:
        task: its name.
        arguments: its arguments, as JSON.
        payload: its data.
        seconds: how long it may take; the helper is ended then.
        memory_mb: how much memory the helper may take.

    Raises:
        ScanError: what the task raises; decode_timeout, decode_crashed, out_of_memory.
        ServiceError: what the task raises.
    """
    with _borrowed(memory_mb) as sandbox:
        return sandbox.run(task, arguments, payload, seconds)


def write_message(stream: IO[bytes], head: dict[str, Any], payload: bytes | memoryview) -> None:
    """Send JSON and bytes, each after its length."""
    text = json.dumps(head).encode()
    stream.write(_HEAD.pack(len(text), len(payload)))
    stream.write(text)
    stream.write(payload)
    stream.flush()


def read_message(stream: IO[bytes]) -> Reply:
    """The inverse of `write_message`.

    Raises:
        EOFError: the other side is gone.
    """
    sizes = _HEAD.unpack(_exactly(stream, _HEAD.size))
    return json.loads(_exactly(stream, sizes[0])), _exactly(stream, sizes[1])


class Sandbox:
    """One helper process; to be used by one thread at a time."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "pipeline.sandboxed", str(memory_mb)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # decoders print what they read
            env=environment | {"OPENBLAS_NUM_THREADS": "1"},
        )

    @property
    def is_alive(self) -> bool:
        """Whether it can take another task."""
        return self._process.poll() is None

    def run(self, task: str, arguments: dict[str, Any], payload: bytes | memoryview, seconds: float) -> Reply:
        """Do one task; see `run_sandboxed`."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            head, data = self._ask({"task": task, "arguments": arguments, "seconds": seconds}, payload)
        except (EOFError, BrokenPipeError, ConnectionError, ValueError):
            self.close()
            if late.is_set():
                raise ScanError(Reason.DECODE_TIMEOUT, f"decoding took longer than {seconds:g} s") from None
            raise ScanError(
                Reason.DECODE_CRASHED, f"the decoder ended by itself (exit code {self._process.returncode})"
            ) from None
        except BaseException:  # else its answer, still on its way, would be taken for that of the next task
            self.close()
            raise
        finally:
            timer.cancel()
            timer.join()
        if late.is_set():  # in time, and ended all the same
            self.close()
        return self._answer(head), data

    def close(self) -> None:
        """End the helper."""
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process.wait()

    def _ask(self, request: dict[str, Any], payload: bytes | memoryview) -> Reply:
        if self._process.stdin is None or self._process.stdout is None:
            raise EOFError
        write_message(self._process.stdin, request, payload)
        return read_message(self._process.stdout)

    def _answer(self, head: dict[str, Any]) -> dict[str, Any]:
        if "service" in head:
            raise ServiceError(head["service"])
        if "reason" in head:
            raise ScanError(Reason(head["reason"]), head["sentence"].format(memory_mb=self._memory_mb))
        return head


@contextmanager
def _borrowed(memory_mb: int) -> Iterator[Sandbox]:
    with _lock:
        idle = _idle.setdefault(memory_mb, [])
        sandbox = idle.pop() if idle else None
    if sandbox is None or not sandbox.is_alive:
        sandbox = Sandbox(memory_mb)
    try:
        yield sandbox
    finally:
        if sandbox.is_alive:
            with _lock:
                _idle[memory_mb].append(sandbox)
        else:
            sandbox.close()


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


@atexit.register
def close_idle() -> None:
    """End all helpers that wait for work."""
    with _lock:
        for waiting in _idle.values():
            while waiting:
                waiting.pop().close()
