"""Names for the vertebrae of a chain: only where what lies beside them agrees.

An anchor is a place where the count is known: the last vertebra upon the sacrum is L5, the last with ribs T12, the
first with ribs T1, the one without a body C1. Each has variants (six or four lumbar vertebrae, a rib too many or too
few, a sacralised L5), so one of them alone names nothing, but for C1, whose count below it hardly ever varies. Where
two disagree the vertebrae stay unnumbered.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.errors import ModelError, ScanError
from pipeline.models.builtin.ct_levels.assign import Labels
from pipeline.models.builtin.ct_levels.chain import Chain
from pipeline.models.builtin.ct_levels.fields import Fields
from pipeline.models.builtin.ct_levels.network import SPACING_MM
from schemas.reasons import Reason
from schemas.spine import MAX_UNNUMBERED, UNNUMBERED_BASE, level_number

_STANDARD = tuple(range(1, 25))
"""C1 ... L5, the usual count; a label's name is its position here."""
_C1, _T1, _T12, _L5 = 0, 7, 18, 23

_JOINT_MM = 9.0
"""A rib comes that near to its vertebra."""
_RIB_LENGTH_MM = 25.0
"""What is shorter is a transverse process."""
_JOINT_VOXELS = 3
_SACRUM_MM3 = 8000.0
_LEAST_BELOW_C1 = 4
"""Vertebrae that must be in view for C1 to count."""


@dataclass(frozen=True)
class Signs:
    """What names can rest on. Labels count from 1 at the head."""

    n: int
    """Vertebrae."""
    whole: bool
    """Whether none seems to be missing in between."""
    sacrum_follows: bool
    """Whether the sacrum lies right below the last one."""
    rib_sides: tuple[int, ...]
    """For each vertebra, on how many sides it carries a rib."""
    atlas: bool
    """Whether the first one is C1: no body, and not cut by the upper face of the volume."""


def find_sacrum(fields: Fields) -> npt.NDArray[np.bool_]:
    """The sacrum's voxels on the network's grid; none where too little of it is in view."""
    parts = cc3d.connected_components(fields.of("sacrum") > 0.5, connectivity=18)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    if sizes.max(initial=0) * SPACING_MM**3 < _SACRUM_MM3:
        return np.zeros(parts.shape, dtype=bool)
    return parts == int(sizes.argmax())


def observe(fields: Fields, chain: Chain, labels: Labels, sacrum: npt.NDArray[np.bool_], *, added_above: int) -> Signs:
    """Look for anchors beside the labels 1 ... n."""
    n = int(labels.max())
    last_in_chain = n == len(chain.points) + added_above
    return Signs(
        n=n,
        whole=chain.whole,
        sacrum_follows=last_in_chain and _follows(chain, sacrum),
        rib_sides=_rib_sides(fields, labels, n),
        atlas=n > 0 and _is_atlas(fields, labels),
    )


def _follows(chain: Chain, sacrum: npt.NDArray[np.bool_]) -> bool:
    """Whether the sacrum begins where the next vertebra would stand."""
    if len(chain.points) < 2 or not sacrum.any():
        return False
    last = chain.points[-1]
    step = float(np.linalg.norm(last - chain.points[-2]))
    distance = np.linalg.norm(np.argwhere(sacrum) * SPACING_MM - last, axis=1)
    return float(distance.min()) < 0.95 * step


def _rib_sides(fields: Fields, labels: Labels, n: int) -> tuple[int, ...]:
    ribs = cc3d.connected_components(fields.of("rib") > 0.5, connectivity=26)
    if not ribs.any() or not n:
        return (0,) * n
    distance, index = ndimage.distance_transform_edt(labels == 0, sampling=SPACING_MM, return_indices=True)
    joint = (ribs > 0) & (distance <= _JOINT_MM)
    rib, label = ribs[joint], labels[tuple(index)][joint]
    middle = np.array([c[2] for c in ndimage.center_of_mass(labels > 0, labels, range(1, n + 1))])
    left = np.argwhere(joint)[:, 2] > middle[label - 1]
    long_enough = [_length(box) >= _RIB_LENGTH_MM for box in ndimage.find_objects(ribs)]
    sides = np.zeros((n, 2), dtype=np.int64)
    for number in np.unique(rib):
        for side in (False, True):
            touched = np.bincount(label[(rib == number) & (left == side)], minlength=n + 1)
            if long_enough[number - 1] and touched.max() >= _JOINT_VOXELS:
                for owner in _owners(touched):
                    sides[owner - 1, int(side)] += 1
    return tuple(int(count) for count in (sides > 0).sum(axis=1))


def _owners(touched: npt.NDArray[np.int64]) -> list[int]:
    """The vertebrae that one rib component (it may hold several ribs) is joined to."""
    return [int(k) for k in np.flatnonzero(touched >= max(_JOINT_VOXELS, 0.4 * touched.max())) if k > 0]


def _length(box: tuple[slice, ...]) -> float:
    return float(np.linalg.norm([s.stop - s.start for s in box])) * SPACING_MM


def _is_atlas(fields: Fields, labels: Labels) -> bool:
    first = labels == 1
    top = int(np.flatnonzero(first.any(axis=(1, 2)))[-1])
    body = float(fields.of("body")[first].astype(np.float32).mean())
    return body < 0.12 and top < labels.shape[0] - 2


def name(signs: Signs, given: dict[str, str] | None = None) -> tuple[dict[int, int], str | None]:
    """Level numbers of the labels 1 ... n, and what they rest on; `V1` ... and None where nothing is sure.

    Args:
        signs: what was seen.
        given: a person's own anchor, such as {"V3": "L3"}; it goes before everything seen.

    Raises:
        ModelError: the given anchor names no level, or two of them contradict each other.
        ScanError: MODEL_OUTPUT, more vertebrae than any spine has.
    """
    if signs.n > MAX_UNNUMBERED:
        raise ScanError(
            Reason.MODEL_OUTPUT,
            f"{signs.n} vertebrae were told apart, and no spine has so many: is it a CT of one body?",
        )
    if given:
        return _numbered(signs.n, _given_shift(given)), "user"
    votes = _votes(signs)
    shifts = set(votes.values())
    if not signs.whole or len(shifts) != 1 or (len(votes) < 2 and "C1" not in votes):
        return {label: UNNUMBERED_BASE + label for label in range(1, signs.n + 1)}, None
    return _numbered(signs.n, shifts.pop()), ", ".join(votes)


def _votes(signs: Signs) -> dict[str, int]:
    """What each anchor says of the position of label 0."""
    votes: dict[str, int] = {}
    ribbed = [label for label, sides in enumerate(signs.rib_sides, start=1) if sides]
    if signs.sacrum_follows:
        votes["sacrum"] = _L5 - signs.n
    if ribbed and ribbed[-1] < signs.n:
        votes["last ribs"] = _T12 - ribbed[-1]
    if ribbed and ribbed[0] > 2:
        votes["first ribs"] = _T1 - ribbed[0]
    if signs.atlas and signs.n >= _LEAST_BELOW_C1:
        votes["C1"] = _C1 - 1
    return votes


def _given_shift(given: dict[str, str]) -> int:
    shifts = set()
    for unnumbered, level in given.items():
        try:
            label, number = level_number(unnumbered) - UNNUMBERED_BASE, level_number(level)
        except ValueError as failure:
            raise ModelError(f"anchor {unnumbered!r}: {level!r} is not understood: {failure}") from failure
        if label < 1 or number not in _STANDARD:
            raise ModelError(f"anchor {unnumbered!r}: {level!r}: give V1 ... and one of C1 ... L5, such as V3: L3")
        shifts.add(number - 1 - label)
    if len(shifts) > 1:
        raise ModelError(f"the anchors {given} contradict each other; give one")
    return shifts.pop()


def _numbered(n: int, shift: int) -> dict[int, int]:
    """Names by position; what lies beyond C1 or L5 stays unnumbered."""
    numbers = {}
    for label in range(1, n + 1):
        position = shift + label
        inside = 0 <= position < len(_STANDARD)
        numbers[label] = _STANDARD[position] if inside else UNNUMBERED_BASE + label
    return numbers
