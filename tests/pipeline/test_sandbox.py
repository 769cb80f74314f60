from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pipeline import sandbox as sandboxes
from pipeline.errors import ScanError, ServiceError
from pipeline.sandbox import Sandbox, run_sandboxed
from pipeline.sandboxed import _serve
from schemas.reasons import Reason


def test_a_helper_that_hangs_is_ended() -> None:
    sandbox = Sandbox(memory_mb=1024)
    with pytest.raises(ScanError) as caught:
        sandbox.run("pixels", {}, b"", seconds=0.0)
    assert caught.value.reason is Reason.DECODE_TIMEOUT
    assert not sandbox.is_alive


def test_a_helper_that_ends_is_a_crash_and_the_next_one_works() -> None:
    sandbox = Sandbox(memory_mb=1024)
    with pytest.raises(ScanError) as caught:
        sandbox.run("no such task", {}, b"", seconds=60)
    assert caught.value.reason is Reason.UNREADABLE
    sandbox._process.kill()
    with pytest.raises(ScanError) as caught:
        sandbox.run("pixels", {}, b"", seconds=60)
    assert caught.value.reason is Reason.DECODE_CRASHED
    with pytest.raises(ScanError) as caught:
        run_sandboxed("pixels", {}, b"no image", seconds=60, memory_mb=1024)
    assert caught.value.reason is Reason.UNREADABLE


def test_an_answer_that_nobody_waited_for_is_not_the_next_ones(
    monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    first, second = (
        (shared_data / "codec_zoo_pydicom" / name).read_bytes() for name in ("CT_small.dcm", "MR_small.dcm")
    )
    whole = run_sandboxed("pixels", {}, second, seconds=60, memory_mb=1025)

    def fail(_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(sandboxes, "read_message", fail)
        with pytest.raises(MemoryError):
            run_sandboxed("pixels", {}, first, seconds=60, memory_mb=1025)
    assert run_sandboxed("pixels", {}, second, seconds=60, memory_mb=1025) == whole


def test_a_full_disk_is_no_damaged_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/Doe.nii")

    monkeypatch.setattr("pipeline.sandboxed.task_named", lambda _: full)
    head, _ = _serve({"task": "nifti", "arguments": {}}, b"")
    with pytest.raises(ServiceError, match="no space left") as caught:
        Sandbox.__new__(Sandbox)._answer(head)
    assert "Doe" not in str(caught.value)
