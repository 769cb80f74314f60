"""What a run says of itself on the way and at its end."""

from __future__ import annotations

import pytest

from flows.counts import Counts
from flows.progress import shown


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        (("ok", "quarantined", "failed"), "2 of 3 scans have no result: `spinetally status` says why"),
        (("ok",), ""),
        ((), ""),
    ],
)
def test_scans_without_a_result_are_told(
    statuses: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    counts = Counts()
    with shown(counts, title="cohort"):
        for status in statuses:
            counts.add_scan({"status": status})
    out, err = capfd.readouterr()
    assert out == ""
    assert err.strip() == said
