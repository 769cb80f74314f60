"""From a mask's values to lesions 1 ... n."""

from __future__ import annotations

from typing import Literal

import cc3d
import numpy as np
import numpy.typing as npt

from pipeline.errors import ScanError
from pipeline.mask_sources.source import Labels
from schemas.reasons import Reason

LabelKind = Literal["auto", "binary", "instances"]
"""What the values of a mask mean: see `lesion_instances`."""

_LARGEST = np.iinfo(np.uint16).max


def counts(labels: Labels) -> npt.NDArray[np.int64]:
    """Voxels of each value, slice by slice, so that no wider copy of the mask is made."""
    total = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int64)
    for plane in labels:
        total += np.bincount(plane.ravel(), minlength=total.size)
    return total


def present(labels: Labels) -> list[int]:
    """The values that occur, 0 left out, in order."""
    return [int(value) for value in np.flatnonzero(counts(labels)) if value]


def lesion_instances(labels: Labels, *, kind: LabelKind = "auto") -> Labels:
    """Lesions 1 ... n, [z, y, x].

    `binary` takes everything above 0 and splits it into components that touch by a face, an edge or a corner (26);
    `instances` takes each value as one lesion, neither split nor merged; `auto` is binary for one value and instances
    for several.

    Raises:
        ScanError: MASK_VALUES, there are more than 65535 of them.
    """
    values = present(labels)
    if kind == "binary" or (kind == "auto" and len(values) == 1):
        return _components(labels != 0)
    return relabel(labels, {value: position for position, value in enumerate(values, 1)})


def relabel(labels: Labels, numbers: dict[int, int]) -> Labels:
    """Each value replaced by its number; a value that has none becomes 0."""
    table = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.uint16)
    for value, number in numbers.items():
        if value < table.size:
            table[value] = number
    return table[labels]


def _components(mask: npt.NDArray[np.bool_]) -> Labels:
    found, n = cc3d.connected_components(mask, connectivity=26, return_N=True)
    if n > _LARGEST:
        raise ScanError(
            Reason.MASK_VALUES, f"the mask falls into {n} components, {_LARGEST} are allowed: is it a mask of lesions?"
        )
    return found.astype(np.uint16)
