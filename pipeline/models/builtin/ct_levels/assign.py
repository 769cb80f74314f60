"""Which voxel belongs to which vertebra of the chain, on the network's grid.

Bodies are parted by planes laid where the disc is; posterior elements go where their offsets point. What ends up torn
off goes to the neighbour that it touches most.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from pipeline.grid import Floats
from pipeline.models.builtin.ct_levels.chain import Chain
from pipeline.models.builtin.ct_levels.fields import Fields
from pipeline.models.builtin.ct_levels.network import SPACING_MM

Labels = npt.NDArray[np.uint8]

_REACH_MM = 75.0
"""No part of a vertebra lies farther from its middle."""
_LEAST_SHARE = 0.12
"""Of its largest part that a torn off one must have to stay."""
_LEAST_MM3 = 1500.0
"""A vertebra of which less is in view is none."""
_LEAST_OF_NEIGHBOUR = 0.3
"""What a guess beyond an end of the chain must have of the vertebra beside it, where no face of the volume cuts it."""


@dataclass(frozen=True)
class Parting:
    """The plane between two neighbours."""

    point: Floats
    """z, y, x in mm."""
    normal: Floats
    """Unit vector towards the head."""

    def below(self, points: Floats) -> npt.NDArray[np.bool_]:
        """Which points (n, 3) lie on the foot's side."""
        return (points - self.point) @ self.normal < 0


def assign(fields: Fields, chain: Chain) -> tuple[Labels, int]:
    """Label 1 ... n of each vertebra from the head down, [z, y, x], and how many were added in front of the chain.

    Beyond both ends of the chain stands a guess, for a vertebra whose middle is out of view or was not seen; it is
    dropped where a sliver is all that there is of it.
    """
    labels: Labels = np.zeros(fields.grid.shape, dtype=np.uint8)
    if not len(chain.points):
        return labels, 0
    points = _with_guesses(chain.points)
    bone = fields.vertebra() > 0.5
    index = np.argwhere(bone)
    here = np.asarray(index * SPACING_MM, dtype=np.float64)
    own = _nearest(here, points)
    partings = [_parting(fields, a, b) for a, b in itertools.pairwise(points)]
    body = fields.of("body")[bone] >= fields.of("posterior")[bone]
    towards = here + fields.offset[:, bone].T.astype(np.float64)
    posterior = _nearest(towards, points)
    chosen = np.where(body, _parted(here, own, partings), _parted(towards, posterior, partings))
    far = np.linalg.norm(here - points[chosen], axis=1) > _REACH_MM
    labels[bone] = np.where(far, 0, chosen + 1)
    labels = _tidied(labels)
    return _without_specks(labels, len(points))


def _with_guesses(points: Floats) -> Floats:
    """One more point at each end, a step on."""
    if len(points) == 1:
        step = np.array([30.0, 0.0, 0.0])
        return np.stack([points[0] + step, points[0], points[0] - step])
    return np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])


def _nearest(here: Floats, points: Floats) -> npt.NDArray[np.int64]:
    distance = np.stack([((here - point) ** 2).sum(axis=1) for point in points])
    return distance.argmin(axis=0)


def _parted(here: Floats, own: npt.NDArray[np.int64], partings: list[Parting]) -> npt.NDArray[np.int64]:
    """The nearest vertebra, corrected by the planes above and below it."""
    out = own.copy()
    for k, parting in enumerate(partings):
        near = (own == k) | (own == k + 1)
        out[near] = np.where(parting.below(here[near]), np.maximum(out[near], k + 1), np.minimum(out[near], k))
    return out


def _parting(fields: Fields, upper: Floats, lower: Floats) -> Parting:
    """The plane between two middles with the most disc and the least body on it."""
    axis = (upper - lower) / np.linalg.norm(upper - lower)
    evidence = Evidence(fields, upper, lower)
    best, chosen = -np.inf, Parting((upper + lower) / 2, axis)
    for share in np.linspace(0.32, 0.68, 10):
        for pitch, roll in itertools.product((-0.3, -0.15, 0.0, 0.15, 0.3), repeat=2):
            normal = axis + np.array([0.0, pitch, roll])
            normal /= np.linalg.norm(normal)
            parting = Parting(lower + share * (upper - lower), normal)
            value = evidence(parting) - 0.15 * (abs(pitch) + abs(roll)) - 0.3 * abs(share - 0.5)
            if value > best:
                best, chosen = value, parting
    return chosen


class Evidence:
    """Mean of disc less body over a round patch of a plane between two middles."""

    def __init__(self, fields: Fields, upper: Floats, lower: Floats) -> None:
        reach = float(np.linalg.norm(upper - lower))
        box = _box_about((upper + lower) / 2, 0.7 * reach + 8, fields.grid.shape)
        self.low = np.array([part.start for part in box])
        self.map = fields.of("disc")[box].astype(np.float32) - fields.of("body")[box].astype(np.float32)
        radius = float(np.clip(reach * 0.45, 6, 16))
        v, w = np.meshgrid(*[np.arange(-radius, radius + 0.1, 4.0)] * 2, indexing="ij")
        inside = v**2 + w**2 <= radius**2
        self.v, self.w = v[inside], w[inside]

    def __call__(self, parting: Parting) -> float:
        """From -1 (all body) to 1 (all disc)."""
        first = np.cross(parting.normal, [0.0, 0.0, 1.0])
        first /= np.linalg.norm(first)
        second = np.cross(parting.normal, first)
        points = parting.point + self.v[:, None] * first + self.w[:, None] * second
        where = (points / SPACING_MM - self.low).T
        return float(ndimage.map_coordinates(self.map, where, order=1, mode="constant").mean())


def _box_about(middle: Floats, reach_mm: float, shape: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """The voxels within `reach_mm` of a point along each axis; at least one."""
    last = np.asarray(shape) - 1
    low = np.clip(np.floor((middle - reach_mm) / SPACING_MM), 0, last).astype(int)
    high = np.clip(np.ceil((middle + reach_mm) / SPACING_MM), low, last).astype(int) + 1
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _tidied(labels: Labels) -> Labels:
    """Torn off parts given to the neighbour that they touch most, or dropped."""
    parts = cc3d.connected_components(labels, connectivity=18)
    count = int(parts.max())
    if not count:
        return labels
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    label_of = np.zeros(count + 1, dtype=np.uint8)
    label_of[parts.ravel()] = labels.ravel()
    largest = np.zeros(256, dtype=np.int64)
    np.maximum.at(largest, label_of, np.where(label_of > 0, sizes, 0))
    keep = sizes >= np.maximum(_LEAST_SHARE * largest[label_of], 2)
    touching = _touching(parts)
    for part in np.flatnonzero(~keep):
        neighbours = {label_of[other]: n for other, n in touching.get(int(part), {}).items() if keep[other]}
        label_of[part] = max(neighbours, key=lambda label: neighbours[label]) if neighbours else 0
    label_of[0] = 0
    return label_of[parts]


def _touching(parts: npt.NDArray[np.unsignedinteger]) -> dict[int, dict[int, int]]:
    """For each component, how many faces it shares with each other one."""
    out: dict[int, dict[int, int]] = {}
    for axis in range(3):
        a, b = np.moveaxis(parts, axis, 0)[:-1].ravel(), np.moveaxis(parts, axis, 0)[1:].ravel()
        both = (a != b) & (a > 0) & (b > 0)
        pairs, counts = np.unique(np.stack([a[both], b[both]]), axis=1, return_counts=True)
        for (p, q), n in zip(pairs.T.tolist(), counts.tolist(), strict=True):
            for one, other in ((p, q), (q, p)):
                mine = out.setdefault(one, {})
                mine[other] = mine.get(other, 0) + n
    return out


def _without_specks(labels: Labels, n: int) -> tuple[Labels, int]:
    """Labels numbered anew without those of which too little is in view; whether the one above the chain stayed."""
    voxels = np.bincount(labels.ravel(), minlength=n + 1)[: n + 1]
    enough = voxels * SPACING_MM**3 >= _LEAST_MM3
    for guess, neighbour, face in ((1, 2, labels[-1]), (n, n - 1, labels[0])):
        enough[guess] &= bool((face == guess).any()) or voxels[guess] >= _LEAST_OF_NEIGHBOUR * voxels[neighbour]
    kept = np.flatnonzero(enough)
    kept = kept[kept > 0]
    table = np.zeros(256, dtype=np.uint8)
    table[kept] = np.arange(1, len(kept) + 1)
    return table[labels], int(1 in kept)
