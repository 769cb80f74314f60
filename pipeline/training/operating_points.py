"""How many lesions are found at how many false ones: places ranked by score, over many scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.models.builtin.ct_lesions.choose import choose
from pipeline.models.builtin.ct_lesions.propose import Proposal
from pipeline.training.figures import HIT_IOU

_LEAST_MM3 = 500.0
_LEAST_RAW = -6.0
"""What scores lower is left out."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Places:
    """The places proposed in one scan whose lesions are known."""

    described: Numbers
    """(places, numbers) as `describe` gives them."""
    iou: Numbers
    """(places, lesions) overlap."""
    volume_mm3: Numbers
    """(lesions)."""
    voxels: tuple[npt.NDArray[np.int64], ...]
    """For each place its voxels, as positions in the flattened working grid."""
    shape: tuple[int, int, int]
    """Of the working grid."""

    def save(self, path: Path) -> None:
        """Write it as .npz."""
        ends = np.cumsum([len(v) for v in self.voxels])
        flat = np.concatenate(self.voxels) if self.voxels else np.zeros(0, dtype=np.int64)
        np.savez_compressed(
            path, described=self.described, iou=self.iou, volume_mm3=self.volume_mm3, ends=ends, flat=flat,
            shape=self.shape,
        )  # fmt: skip

    @classmethod
    def read(cls, path: Path) -> Places:
        """From .npz."""
        with np.load(path) as stored:
            voxels = tuple(np.split(stored["flat"], stored["ends"][:-1])) if len(stored["ends"]) else ()
            z, y, x = (int(n) for n in stored["shape"])
            return cls(stored["described"], stored["iou"], stored["volume_mm3"], voxels, (z, y, x))

    def proposals(self) -> list[Proposal]:
        """The places as masks."""
        out = []
        for voxels in self.voxels:
            index = np.stack(np.unravel_index(voxels, self.shape), axis=1)
            low, high = index.min(axis=0), index.max(axis=0) + 1
            mask = np.zeros(high - low, dtype=bool)
            mask[tuple((index - low).T)] = True
            z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
            out.append(Proposal((z, y, x), mask, 0))
        return out


@dataclass(frozen=True)
class Ranked:
    """Kept places of all scans, highest score first."""

    raw: Numbers
    """Their scores."""
    hit: npt.NDArray[np.bool_]
    """Whether it finds a lesion of the size asked for."""
    false: npt.NDArray[np.bool_]
    """Whether it finds none of any size."""
    n_true: int
    """Lesions of the size asked for."""
    n_scans: int
    """Scans."""

    def at(self, false_per_scan: float) -> int:
        """How many of the places may be taken for no more false ones than that."""
        return int(np.searchsorted(np.cumsum(self.false), false_per_scan * self.n_scans, side="right"))

    def calibration(self, false_per_scan: float) -> Numbers:
        """Factor and offset to the logit of a score that is 0.5 where that many are false."""
        taken = min(self.at(false_per_scan), len(self.raw) - 1)
        return np.array([1.0, -float(self.raw[taken])])


@dataclass(frozen=True)
class OperatingPoint:
    """What one threshold gives."""

    false_per_scan: float
    """No more than that."""
    sensitivity: float
    """Share of the lesions that are found."""


def rank(scans: Sequence[Places], raw: Sequence[Numbers]) -> Ranked:
    """Of overlapping places the best; matches to lesions one to one, the largest overlap first."""
    rows: list[tuple[float, bool, bool]] = []
    for scan, scores in zip(scans, raw, strict=True):
        kept = choose(scan.proposals(), scores, scan.shape, least=_LEAST_RAW)
        pairs = sorted(((scan.iou[k, j], k, j) for k in kept for j in range(scan.iou.shape[1])), reverse=True)
        hits: dict[int, int] = {}
        for iou, k, j in pairs:
            if iou >= HIT_IOU and k not in hits and j not in hits.values():
                hits[k] = j
        rows += [
            (float(scores[k]), k in hits and bool(scan.volume_mm3[hits[k]] >= _LEAST_MM3), k not in hits) for k in kept
        ]
    rows.sort(key=lambda row: -row[0])
    score, hit, false = (np.array(column) for column in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3
    total = sum(int((scan.volume_mm3 >= _LEAST_MM3).sum()) for scan in scans)
    return Ranked(score, hit.astype(bool), false.astype(bool), total, len(scans))


def operating_points(ranked: Ranked, false_per_scan: Sequence[float]) -> list[OperatingPoint]:
    """Sensitivity at each of the given numbers of false places per scan."""
    return [
        OperatingPoint(false, float(ranked.hit[: ranked.at(false)].sum()) / max(1, ranked.n_true))
        for false in false_per_scan
    ]
