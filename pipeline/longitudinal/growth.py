"""Larger, smaller, or within what measurement varies.

From 10 mm long axis a volume has changed where it left the bounds that QIBA gives for CT volumetry: 39 % for 10 to
34 mm, 29 % for 35 to 49 mm, 24 % from 50 mm. They were found for lung nodules and are taken over here for bone: to be
confirmed. Smaller lesions, whose voxels are few, have to change as RECIST 1.1 asks of a diameter: + 20 % and - 30 %,
which is + 72.8 % and - 65.7 % of a volume. In 2-D areas take the place of volumes, + 44 % and - 51 %.

Density plays no part: sclerosis of a lytic lesion may be healing, and is stored beside the size.
"""

from __future__ import annotations

QIBA = ((50.0, 0.24), (35.0, 0.29), (10.0, 0.39))
"""Long axis in mm from which a bound holds, and the bound; to be confirmed for bone."""

RECIST_GROWTH, RECIST_FALL = 0.20, 0.30
"""Change of a diameter: progression and partial response of RECIST 1.1."""

_VOLUME, _AREA = 3, 2


def growth(before: float, after: float, *, long_axis_mm: float, in_2d: bool) -> str:
    """growing, shrinking or stable.

    Args:
        before: Volume (mm3), or area (mm2) in 2-D, of the earlier lesion.
        after: The same of the later one.
        long_axis_mm: Long axis of the earlier one.
        in_2d: Whether the two are areas.
    """
    smallest, largest = stable_range(long_axis_mm, in_2d=in_2d)
    ratio = after / before
    if ratio > largest:
        return "growing"
    return "shrinking" if ratio < smallest else "stable"


def stable_range(long_axis_mm: float, *, in_2d: bool) -> tuple[float, float]:
    """After over before, lowest and highest, that is no change."""
    if not in_2d:
        for from_mm, bound in QIBA:
            if long_axis_mm >= from_mm:
                return 1.0 / (1.0 + bound), 1.0 + bound
    power = _AREA if in_2d else _VOLUME
    return (1.0 - RECIST_FALL) ** power, (1.0 + RECIST_GROWTH) ** power
