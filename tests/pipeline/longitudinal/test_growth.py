from __future__ import annotations

import pytest

from pipeline.longitudinal.growth import growth, stable_range


@pytest.mark.parametrize(
    ("long_axis_mm", "change", "state"),
    [
        (5, 0.70, "stable"),
        (5, 0.75, "growing"),
        (5, -0.60, "stable"),
        (5, -0.70, "shrinking"),
        (20, 0.38, "stable"),
        (20, 0.40, "growing"),
        (20, -0.27, "stable"),
        (20, -0.30, "shrinking"),
        (40, 0.30, "growing"),
        (60, 0.25, "growing"),
        (60, 0.23, "stable"),
        (150, 0.25, "growing"),
    ],
)
def test_bounds(long_axis_mm: float, change: float, state: str) -> None:
    assert growth(1000.0, 1000.0 * (1 + change), long_axis_mm=long_axis_mm, in_2d=False) == state


def test_diameter_and_volume_say_the_same() -> None:
    smallest, largest = stable_range(5.0, in_2d=False)
    assert largest == pytest.approx(1.728)
    assert smallest == pytest.approx(0.343)
    assert stable_range(50.0, in_2d=True) == pytest.approx((0.49, 1.44))
