"""How well the built-in models do on one scan whose truth is known: vertebrae told apart and named, lesions found."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.masks import LesionMask, LevelMask
from schemas.spine import BY_NAME, is_named

Labels = npt.NDArray[np.integer]

HIT_IOU = 0.1
"""A lesion is found where one candidate of its own overlaps it by that much."""
APART_IOU = 0.5
"""A vertebra is told apart where one label of its own overlaps it by more."""
_SACRAL = (BY_NAME["SACRUM"].number, BY_NAME["COCCYX"].number)


@dataclass(frozen=True)
class LevelFigures:
    """Vertebrae of one scan; the sacrum is left out."""

    dice: float
    """Of all vertebrae together."""
    n_true: int
    """Vertebrae of which at least `least_mm3` is in view."""
    n_apart: int
    """Of these, told apart (one to one, IoU over `APART_IOU`)."""
    n_named: int
    """Of those told apart, named."""
    n_wrong: int
    """Of those named, with a wrong name."""
    n_invented: int
    """Labels that touch no vertebra."""
    mean_dice: float
    """Mean Dice of those told apart; NaN where none is."""


@dataclass(frozen=True)
class LesionFigures:
    """Lesions of one scan."""

    n_true: int
    """Lesions of the size asked for."""
    n_found: int
    """Of these, found."""
    n_false: int
    """Lesions given that overlap no true one, of whatever size."""
    n_named: int
    """Found and on a named level."""
    n_level_right: int
    """Of these, on the right level."""
    missed: tuple[int, ...] = field(default=())
    """Instances that were not found."""


def level_figures(
    got: LevelMask, truth: Labels, *, voxel_mm3: float, least_mm3: float = 3000.0, check_names: bool = True
) -> LevelFigures:
    """Compare levels with the truth, a mask of level numbers."""
    real, given = np.where(np.isin(truth, _SACRAL), 0, truth), np.where(np.isin(got.levels, _SACRAL), 0, got.levels)
    both = (real > 0) & (given > 0)
    dice = 2 * both.sum() / max(1, (real > 0).sum() + (given > 0).sum())
    sizes, labels = _sizes(real), _sizes(given)
    wanted = [number for number, size in sizes.items() if size * voxel_mm3 >= least_mm3]
    matches: dict[int, tuple[int, float]] = {}
    for (number, label), shared in _pairs(real, given).items():
        iou = shared / (sizes[number] + labels[label] - shared)
        if iou > APART_IOU:
            matches[number] = (label, 2 * iou / (1 + iou))
    apart = [matches[number] for number in wanted if number in matches]
    named = [number for number in wanted if number in matches and is_named(matches[number][0])]
    wrong = [number for number in named if check_names and matches[number][0] != number]
    touched = {label for _, label in _pairs(real, given)}
    return LevelFigures(
        dice=float(dice),
        n_true=len(wanted),
        n_apart=len(apart),
        n_named=len(named),
        n_wrong=len(wrong),
        n_invented=len(set(labels) - touched),
        mean_dice=float(np.mean([d for _, d in apart])) if apart else float("nan"),
    )


def lesion_figures(
    got: LesionMask,
    levels: LevelMask,
    truth: Labels,
    true_levels: Labels,
    *,
    voxel_mm3: float,
    least_mm3: float = 500.0,
) -> LesionFigures:
    """Compare lesions with the truth, a mask of instances; matches are one to one, the largest overlap first."""
    sizes, given = _sizes(truth), _sizes(got.instances)
    pairs = {
        (number, label): shared / (sizes[number] + given[label] - shared)
        for (number, label), shared in _pairs(truth, got.instances).items()
    }
    hits: dict[int, int] = {}
    for (number, label), iou in sorted(pairs.items(), key=lambda item: -item[1]):
        if iou >= HIT_IOU and number not in hits and label not in hits.values():
            hits[number] = label
    wanted = [number for number, size in sizes.items() if size * voxel_mm3 >= least_mm3]
    found = [number for number in wanted if number in hits]
    places = [(_majority(levels.levels, got.instances == hits[n]), _majority(true_levels, truth == n)) for n in found]
    named = [(mine, real) for mine, real in places if mine and is_named(mine)]
    return LesionFigures(
        n_true=len(wanted),
        n_found=len(found),
        n_false=len(set(given) - set(hits.values())),
        n_named=len(named),
        n_level_right=sum(mine == real for mine, real in named),
        missed=tuple(number for number in wanted if number not in hits),
    )


def _sizes(labels: Labels) -> dict[int, int]:
    values, counts = np.unique(labels[labels > 0], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _pairs(a: Labels, b: Labels) -> dict[tuple[int, int], int]:
    """How many voxels two labels share."""
    both = (a > 0) & (b > 0)
    code, counts = np.unique(a[both].astype(np.int64) << 32 | b[both].astype(np.int64), return_counts=True)
    return {(int(c >> 32), int(c & 0xFFFFFFFF)): int(n) for c, n in zip(code, counts, strict=True)}


def _majority(levels: Labels, mask: npt.NDArray[np.bool_]) -> int:
    """The level that holds most of a mask; 0 outside all."""
    inside = levels[mask]
    inside = inside[inside > 0]
    return int(np.bincount(inside).argmax()) if inside.size else 0
