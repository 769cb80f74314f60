"""One scan against its reference: every pair of a true lesion and a candidate, and every vertebra."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.evaluate.matching import Pairs, allowed, assign
from pipeline.grid import Floats, Grid
from pipeline.masks import LesionMask, LevelMask
from pipeline.store import Store
from pipeline.store.volumes import grid_of, read_labels, read_volume
from pipeline.tally import tally_scan
from schemas.config import TypeRule
from schemas.evaluation import MatchRule
from schemas.spine import OUTSIDE, level_name

Row = dict[str, Any]


@dataclass(frozen=True)
class PairRequest:
    """One scan to compare; small, and can be sent to a worker."""

    series: Row
    """Its row of the catalog."""
    result: Row
    """Its row of the results: labels_uri, and the lists `lesions`, `candidates`, `vertebrae`."""
    reference: Row
    """Its row of the references."""
    rule: MatchRule = field(default_factory=MatchRule)
    """Which pairs are hits."""
    type_rule: TypeRule = field(default_factory=TypeRule)
    """The recipe's, to give true lesions a type."""


@dataclass(frozen=True)
class Finding:
    """A true lesion or a candidate."""

    number: int
    """From 1; of a lesion, its value in its mask."""
    centroid_mm: Floats
    """x, y, z."""
    bbox: list[int] | None
    """[z0, y0, x0, z1, y1, x1); None for a point."""
    volume_mm3: float | None
    """None for a point."""
    radius_mm: float
    """Of the sphere of its volume, of the circle of its area in 2-D, or of the point."""
    n_voxels: int | None = None
    """None where no mask is kept."""
    kind: str | None = None
    level: str | None = None
    score: float | None = None
    is_lesion: bool = True


@dataclass(frozen=True)
class Comparison:
    """What a scan and its reference have in common."""

    pairs: list[Row]
    """Rows of `schemas.evaluation.MATCHES` without keys."""
    levels: list[Row]
    """Rows of `schemas.evaluation.LEVELS` without keys."""


def compare_scan(request: PairRequest, *, store: Store) -> Comparison:
    """Compare one scan with its reference.

    Raises:
        ServiceError: the store does not answer.
    """
    grid = grid_of(request.series, tuple(request.series["shape"]))
    result = request.result
    mask, levels = read_labels(store, result["labels_uri"]) if result.get("labels_uri") else (None, None)
    uri = request.reference.get("labels_uri")
    truth_mask = read_labels(store, uri)[0] if uri else None
    truths = _truths(request, grid, truth_mask, levels, store)
    candidates = _candidates(result)
    pairs = _pairs(truths, candidates, grid, truth_mask, mask)
    _mark_hits(pairs, request.rule)
    return Comparison(pairs, _levels(result, truths, candidates))


def _truths(
    request: PairRequest,
    grid: Grid,
    mask: npt.NDArray[np.uint16] | None,
    levels: npt.NDArray[np.uint16] | None,
    store: Store,
) -> list[Finding]:
    if mask is None:
        points = np.reshape(request.reference.get("points_mm") or [], (-1, 4))
        return [_point(number, point, grid, levels) for number, point in enumerate(points, 1)]
    if not mask.any():
        return []
    series = request.series
    tallied = tally_scan(
        read_volume(store, series["volume_uri"]),
        modality=series.get("modality"),
        intensity_unit=series.get("intensity_unit"),
        suv_factor=series.get("suv_factor"),
        lesions=LesionMask(mask),
        levels=None if levels is None else LevelMask(levels),
        type_rule=request.type_rule,
        threshold=None,
        model=None,
    )
    rows: Any = tallied["lesions"]
    return [_finding(row, row["lesion_id"]) for row in rows]


def _point(number: int, point: Floats, grid: Grid, levels: npt.NDArray[np.uint16] | None) -> Finding:
    level = None if levels is None else _value_at(levels, grid, point[:3])
    name = None if level is None else (level_name(level) if level else OUTSIDE)
    return Finding(number, point[:3], None, None, float(point[3]), level=name)


def _candidates(result: Row) -> list[Finding]:
    lesions = result.get("lesions") or []
    kept = [row for row in result.get("candidates") or [] if row.get("centroid_mm") and row.get("why_not") != "outside"]
    first = max((row["lesion_id"] for row in lesions), default=0) + 1
    return [_finding(row, row["lesion_id"]) for row in lesions] + [
        _finding(row, number, is_lesion=False) for number, row in enumerate(kept, first)
    ]


def _finding(row: Row, number: int, *, is_lesion: bool = True) -> Finding:
    volume, area = row.get("volume_mm3"), row.get("area_mm2")
    radius = (area / np.pi) ** 0.5 if volume is None and area else (3 * (volume or 0.0) / (4 * np.pi)) ** (1 / 3)
    return Finding(
        number=number,
        centroid_mm=np.array(row["centroid_mm"]),
        bbox=row.get("bbox"),
        volume_mm3=volume,
        radius_mm=float(radius),
        n_voxels=row.get("n_voxels"),
        kind=row.get("lesion_type"),
        level=row.get("level"),
        score=row.get("score_max"),
        is_lesion=is_lesion,
    )


def _pairs(
    truths: Sequence[Finding],
    candidates: Sequence[Finding],
    grid: Grid,
    truth_mask: npt.NDArray[np.uint16] | None,
    mask: npt.NDArray[np.uint16] | None,
) -> list[Row]:
    if not truths or not candidates:
        return [_truth_columns(truth) for truth in truths] + [_candidate_columns(found) for found in candidates]
    common = _common_voxels(truth_mask, mask)
    return [
        _truth_columns(truth)
        | _candidate_columns(candidate)
        | _overlap(truth, candidate, common)
        | _centroids(truth, candidate, grid, truth_mask, mask)
        for truth in truths
        for candidate in candidates
    ]


def _common_voxels(
    truth_mask: npt.NDArray[np.uint16] | None, mask: npt.NDArray[np.uint16] | None
) -> dict[tuple[int, int], int]:
    """(true lesion, lesion) to voxels in common, by their values in the masks."""
    if truth_mask is None or mask is None:
        return {}
    both = (truth_mask > 0) & (mask > 0)
    pairs, voxels = np.unique(np.stack([truth_mask[both], mask[both]], axis=1), axis=0, return_counts=True)
    return {(int(truth), int(lesion)): int(n) for (truth, lesion), n in zip(pairs, voxels, strict=True)}


def _overlap(truth: Finding, candidate: Finding, common: dict[tuple[int, int], int]) -> Row:
    if truth.bbox is None or candidate.bbox is None:
        return {"overlap_of": None, "iou": None, "dice": None}
    of = "boxes"
    shared, sizes = _boxes(truth.bbox, candidate.bbox)
    if truth.n_voxels and candidate.n_voxels:
        of = "voxels"
        shared, sizes = common.get((truth.number, candidate.number), 0), truth.n_voxels + candidate.n_voxels
    return {"overlap_of": of, "iou": shared / (sizes - shared), "dice": 2 * shared / sizes}


def _boxes(first: list[int], second: list[int]) -> tuple[float, float]:
    """Voxels in common of two half-open boxes, and the sum of both."""
    a, b = np.reshape(first, (2, 3)), np.reshape(second, (2, 3))
    common = np.prod(np.maximum(np.minimum(a[1], b[1]) - np.maximum(a[0], b[0]), 0))
    return float(common), float(np.prod(a[1] - a[0]) + np.prod(b[1] - b[0]))


def _centroids(
    truth: Finding,
    candidate: Finding,
    grid: Grid,
    truth_mask: npt.NDArray[np.uint16] | None,
    mask: npt.NDArray[np.uint16] | None,
) -> Row:
    distance = float(np.linalg.norm(truth.centroid_mm - candidate.centroid_mm))
    in_truth = distance <= truth.radius_mm
    if truth_mask is not None:
        in_truth = _value_at(truth_mask, grid, candidate.centroid_mm) == truth.number
    in_candidate = None
    if candidate.is_lesion and mask is not None:
        in_candidate = _value_at(mask, grid, truth.centroid_mm) == candidate.number
    return {
        "centroid_distance_mm": distance,
        "centroid_in_truth": in_truth,
        "truth_centroid_in_candidate": in_candidate,
    }


def _mark_hits(rows: list[Row], rule: MatchRule) -> None:
    """Say of each pair whether it is a hit, at the threshold and among all candidates."""
    paired = [row for row in rows if row.get("truth_id") is not None and row.get("candidate_id") is not None]
    if not paired:
        return
    pairs = Pairs(
        truth=np.array([row["truth_id"] for row in paired]),
        candidate=np.array([row["candidate_id"] for row in paired]),
        iou=_floats(paired, "iou"),
        dice=_floats(paired, "dice"),
        distance_mm=_floats(paired, "centroid_distance_mm"),
        centroid_in_truth=np.array([bool(row["centroid_in_truth"]) for row in paired]),
        radius_mm=_floats(paired, "truth_diameter_mm") / 2,
    )
    scores = np.full(int(pairs.candidate.max()) + 1, np.nan)
    scores[pairs.candidate] = _floats(paired, "score")
    usable, at_threshold = allowed(pairs, rule), np.array([row["is_lesion"] for row in paired])
    n_truths = int(pairs.truth.max()) + 1
    hit = assign(pairs, scores=scores, n_truths=n_truths, usable=usable & at_threshold)
    ranked = assign(pairs, scores=scores, n_truths=n_truths, usable=usable)
    for row, is_hit, is_ranked in zip(paired, hit, ranked, strict=True):
        row["hit"], row["hit_ranked"] = bool(is_hit), bool(is_ranked)


def _floats(rows: list[Row], name: str) -> Floats:
    return np.array([row[name] for row in rows], dtype=np.float64)


def _value_at(mask: npt.NDArray[np.uint16], grid: Grid, point_mm: Floats) -> int:
    index = np.rint(grid.to_index(point_mm)).astype(int)
    inside = np.all(index >= 0) and np.all(index < mask.shape)
    return int(mask[tuple(index)]) if inside else 0


def _truth_columns(truth: Finding) -> Row:
    return {
        "truth_id": truth.number,
        "truth_volume_mm3": truth.volume_mm3,
        "truth_diameter_mm": 2 * truth.radius_mm,
        "truth_type": truth.kind,
        "truth_level": truth.level,
        "truth_centroid_mm": truth.centroid_mm.tolist(),
        "truth_bbox": truth.bbox,
    }


def _candidate_columns(candidate: Finding) -> Row:
    return {
        "candidate_id": candidate.number,
        "is_lesion": candidate.is_lesion,
        "score": candidate.score,
        "candidate_volume_mm3": candidate.volume_mm3,
        "candidate_type": candidate.kind,
        "candidate_level": candidate.level,
        "candidate_centroid_mm": candidate.centroid_mm.tolist(),
    }


def _levels(result: Row, truths: Sequence[Finding], candidates: Sequence[Finding]) -> list[Row]:
    """The vertebrae in view: what is outside the field of view is not compared."""
    return [
        {
            "level": row["level"],
            "assessed": row["assessed"],
            "n_truth": sum(truth.level == row["level"] for truth in truths),
            "n_lesions": sum(c.level == row["level"] and c.is_lesion for c in candidates),
            "score_max": _largest([c.score for c in candidates if c.level == row["level"]]),
        }
        for row in result.get("vertebrae") or []
        if row["assessed"] in ("full", "partial") and row["level"] != "none"
    ]


def _largest(scores: list[float | None]) -> float | None:
    """The largest score, 0 of none; None where one is missing."""
    known = [score for score in scores if score is not None]
    return max(known, default=0.0) if len(known) == len(scores) else None
