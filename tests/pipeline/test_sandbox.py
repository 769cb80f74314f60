from __future__ import annotations

import pytest

from pipeline.errors import ScanError
from pipeline.sandbox import Sandbox, run_sandboxed
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
