"""From class scores on a model's grid to labels and probabilities on the scan's, slab by slab.

Scores come as slabs [k, dz, y, x] along the model's z and are interpolated linearly; what is kept is one number per
voxel of the scan. Labels need little of that interpolation: it only mixes the corners of a cell, so where one class has
the largest score at every corner it has it everywhere between them. Only the cells around borders are interpolated in
full (most of a scan is not border); the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from pipeline.engine.axis_map import AxisMap, mix_slices, resample_planes

SCORE_TYPE = np.uint16
"""Type of a stored map of scores."""

SCORE_UNIT = 65535
"""A score of 1 in a stored map of scores (uint16)."""

_PLANE_VALUES = 1_000_000
"""Class scores interpolated along z at a time: few enough to stay in the processor's cache for what follows."""

_PLACES = 500_000
"""Border voxels interpolated at a time."""

_FEW = 0.25
"""Share of border voxels up to which only these are interpolated; above it, all are, for that is then faster."""

Maps = tuple[AxisMap, AxisMap, AxisMap]
Transform = Callable[[torch.Tensor], torch.Tensor]
Values = Callable[[int], npt.NDArray[np.unsignedinteger]]


class Reducer(Protocol):
    """What is kept of class scores."""

    def prepare(self, slab: torch.Tensor) -> torch.Tensor:
        """Scores [k, dz, y, x] to what is interpolated, [c, dz, y, x]."""
        ...

    def reduce(self, planes: torch.Tensor, along_y: AxisMap, along_x: AxisMap) -> npt.NDArray[np.generic]:
        """[c, m, y, x], already on the scan's slices, to what is kept of each voxel, [m, Y, X]."""
        ...


class Labels:
    """The class with the largest score."""

    def __init__(self, values: Values, transform: Transform | None = None, *, half: bool = False) -> None:
        """`values`: from the number of classes c to what stands for each (c,), unsigned; `transform`: applied to the
        scores [k, ...] before, giving [c, ...]; `half`: interpolated scores are compared in half precision, as nnU-Net.
        """
        self._values = values
        self._transform = transform
        self._half = half

    def prepare(self, slab: torch.Tensor) -> torch.Tensor:
        """The scores themselves, or transformed."""
        return self._transform(slab) if self._transform else slab

    def reduce(self, planes: torch.Tensor, along_y: AxisMap, along_x: AxisMap) -> npt.NDArray[np.generic]:
        """The values of the largest class [m, Y, X]."""
        return interpolated_argmax(planes, self._values(len(planes)), along_y, along_x, half=self._half)


class Scores:
    """A probability, as uint16 in units of 1 / `SCORE_UNIT`."""

    def __init__(self, transform: Transform) -> None:
        """`transform`: class scores [k, ...] to probabilities [1, ...]."""
        self._transform = transform

    def prepare(self, slab: torch.Tensor) -> torch.Tensor:
        """The probability [1, dz, y, x]."""
        return self._transform(slab)

    def reduce(self, planes: torch.Tensor, along_y: AxisMap, along_x: AxisMap) -> npt.NDArray[np.generic]:
        """[m, Y, X] in stored units."""
        probability = resample_planes(planes[0], along_y, along_x)
        return probability.mul_(SCORE_UNIT).round_().clamp_(0, SCORE_UNIT).to(torch.int32).cpu().numpy()


class LateScores:
    """A probability made of class scores after these were interpolated, as nnU-Net does it."""

    def __init__(self, transform: Transform) -> None:
        """`transform`: class scores [k, ...] to probabilities [1, ...]."""
        self._transform = transform

    def prepare(self, slab: torch.Tensor) -> torch.Tensor:
        """The scores themselves."""
        return slab

    def reduce(self, planes: torch.Tensor, along_y: AxisMap, along_x: AxisMap) -> npt.NDArray[np.generic]:
        """[m, Y, X] in stored units; one slice after the other, for all classes are interpolated."""
        slices = [self._transform(resample_planes(planes[:, m], along_y, along_x))[0] for m in range(planes.shape[1])]
        return torch.stack(slices).mul_(SCORE_UNIT).round_().clamp_(0, SCORE_UNIT).to(torch.int32).cpu().numpy()


def reduce_slabs(
    slabs: Iterable[torch.Tensor],
    maps: Maps,
    kept: Sequence[tuple[Reducer, npt.NDArray[np.generic]]],
) -> None:
    """Write what reducers keep of class scores into arrays on the scan's grid.

    Args:
        slabs: class scores [k, dz, y, x], one after the other along the model's z.
        maps: from the model's axes (source) to the scan's (target).
        kept: reducers, each with the array [z, y, x] that it fills: a view of the scan in the model's order of axes.
    """
    along_z, along_y, along_x = maps
    low, high = _neighbours(along_z)
    waiting: torch.Tensor | None = None
    first, begin = 0, 0
    for slab in slabs:
        waiting = slab if waiting is None else torch.cat([waiting, slab], dim=1)
        end = begin + int(np.searchsorted(high[begin:], first + waiting.shape[1]))
        for start, stop in _pieces(begin, end, waiting):
            part = waiting[:, low[start] - first : high[stop - 1] + 1 - first]
            weights = along_z.matrix[start:stop, low[start] : high[stop - 1] + 1]
            for reducer, target in kept:
                planes = _mixed(reducer.prepare(part), weights)
                target[start:stop] = reducer.reduce(planes, along_y, along_x)
        begin = end
        if begin < len(low):
            gone = max(0, min(int(low[begin]) - first, waiting.shape[1]))
            waiting, first = waiting[:, gone:], first + gone


def interpolated_argmax(
    planes: torch.Tensor,
    values: npt.NDArray[np.unsignedinteger],
    along_y: AxisMap,
    along_x: AxisMap,
    *,
    half: bool = False,
) -> npt.NDArray[np.generic]:
    """What stands for the class with the largest score at each voxel, after linear interpolation in the plane.

    Args:
        planes: [c, m, y, x].
        values: (c,) of an unsigned type; its largest number may not occur, it marks borders in between.
        along_y: from the planes' y to the target's.
        along_x: from the planes' x to the target's.
        half: compare what was interpolated in half precision: of classes that are then even the first counts.

    Returns:
        [m, Y, X] of the type of `values`.
    """
    plain = along_y.kind == along_x.kind == "linear" and not (along_y.is_identity and along_x.is_identity)
    if planes.device.type != "cpu" or not plain:
        return values[_argmax_of_all(planes, along_y, along_x, half).cpu().numpy()]
    unsettled = np.iinfo(values.dtype).max
    coarse = argmax_of_first(planes).numpy()
    settled = np.where(_borders(coarse), unsettled, values[coarse])
    low_y, low_x = (np.floor(one.positions).astype(np.intp) for one in (along_y, along_x))
    fine = np.take(np.take(settled, low_x, axis=2), low_y, axis=1)
    places = np.flatnonzero(fine == unsettled)
    if len(places) > _FEW * fine.size:
        return values[_argmax_of_all(planes, along_y, along_x, half).numpy()]
    for some in np.array_split(places, len(places) // _PLACES + 1):
        fine.reshape(-1)[some] = values[_argmax_at(planes, some, along_y, along_x, half)]
    return fine


def argmax_of_first(scores: Iterable[torch.Tensor]) -> torch.Tensor:
    """[c, ...], or c of [...] in turn, to the index of the largest [...], int16; of equal ones the first."""
    waiting = iter(scores)
    best = next(waiting).clone()
    index = torch.zeros_like(best, dtype=torch.int16)
    for c, score in enumerate(waiting, 1):
        index.masked_fill_(score > best, c)
        torch.maximum(best, score, out=best)
    return index


def _argmax_of_all(planes: torch.Tensor, along_y: AxisMap, along_x: AxisMap, half: bool) -> torch.Tensor:
    """The largest class [m, Y, X], every voxel interpolated, one class after the other."""
    return argmax_of_first(_rounded(resample_planes(plane, along_y, along_x), half) for plane in planes)


def _argmax_at(
    planes: torch.Tensor, places: npt.NDArray[np.intp], along_y: AxisMap, along_x: AxisMap, half: bool
) -> npt.NDArray[np.int16]:
    """The largest class (n,) at flat places of the target's planes [m, Y, X]."""
    lines, x = np.divmod(places, along_x.n_target)
    m, y = np.divmod(lines, along_y.n_target)
    (low_y, weight_y), (low_x, weight_x) = _below(along_y), _below(along_x)
    above, right = np.minimum(low_y + 1, along_y.n_source - 1), np.minimum(low_x + 1, along_x.n_source - 1)
    top, bottom = ((m * along_y.n_source + rows[y]) * along_x.n_source for rows in (low_y, above))
    corners = [torch.from_numpy(line + columns[x]) for line in (top, bottom) for columns in (low_x, right)]
    across, down = torch.from_numpy(weight_x[x]), torch.from_numpy(weight_y[y])
    best = torch.full((len(places),), -torch.inf)
    index = torch.zeros(len(places), dtype=torch.int16)
    for c, plane in enumerate(planes.flatten(1)):
        a, b, d, e = (plane.index_select(0, corner) for corner in corners)
        score = _rounded(torch.lerp(torch.lerp(a, b, across), torch.lerp(d, e, across), down), half)
        index.masked_fill_(score > best, c)
        torch.maximum(best, score, out=best)
    return index.numpy()


def _rounded(scores: torch.Tensor, half: bool) -> torch.Tensor:
    return scores.half().float() if half else scores


def _mixed(part: torch.Tensor, weights: npt.NDArray[np.float32]) -> torch.Tensor:
    """[c, z, y, x] to [c, m, y, x]."""
    out = part.new_empty((len(part), len(weights), *part.shape[2:]))
    for c in range(len(part)):
        mix_slices(part[c], weights, out=out[c])
    return out


def _borders(labels: npt.NDArray[np.int16]) -> npt.NDArray[np.bool_]:
    """[m, y, x]: whether the labels at a place and its three next neighbours in the plane differ."""
    border = np.zeros(labels.shape, dtype=bool)
    border[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    border[:, :, :-1] |= labels[:, :, :-1] != labels[:, :, 1:]
    border[:, :-1, :-1] |= labels[:, :-1, :-1] != labels[:, 1:, 1:]
    return border


def _below(one: AxisMap) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each target the index of the source below it, and how far it is towards the next, 0 to 1."""
    low = np.floor(one.positions).astype(np.intp)
    return low, (one.positions - low).astype(np.float32)


def _neighbours(one: AxisMap) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """For each target the first and the last index of the source that it uses."""
    used = one.matrix != 0
    return used.argmax(axis=1), used.shape[1] - 1 - used[:, ::-1].argmax(axis=1)


def _pieces(begin: int, end: int, waiting: torch.Tensor) -> list[tuple[int, int]]:
    """Target slices [begin, end) in pieces whose planes are not too large."""
    per_slice = waiting.shape[0] * waiting.shape[2] * waiting.shape[3]
    step = max(1, _PLANE_VALUES // per_slice)
    return [(start, min(start + step, end)) for start in range(begin, end, step)]
