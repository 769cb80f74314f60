"""The tables of an evaluation as arrays, from which every metric is computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.evaluate.matching import Pairs, allowed, assign, extra_candidates
from pipeline.grid import Floats
from schemas.evaluation import MatchRule

Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.object_]


@dataclass(frozen=True)
class Scans:
    """The scans with a reference."""

    series: Texts
    """(s,) series_key."""
    patient: Integers
    """(s,) index of its patient."""
    split: Texts
    """(s,) part of the cohort; None where none is named."""
    site: Texts
    """(s,)."""
    status: Texts
    """(s,) ok, or what kept it from a result."""
    n_truth: Floats
    """(s,) true lesions; NaN where the annotation could not be read."""
    n_lesions: Floats
    """(s,) lesions found; NaN without a result."""
    score: Floats
    """(s,) largest score; NaN without a result or without scores."""
    truth_volume_mm3: Floats
    lesion_volume_mm3: Floats


@dataclass(frozen=True)
class Findings:
    """True lesions, or candidates."""

    scan: Integers
    """(n,) index of its scan."""
    diameter_mm: Floats
    """(n,) of the sphere of its volume."""
    volume_mm3: Floats
    """(n,) NaN for points."""
    kind: Texts
    """(n,) lytic, blastic, mixed, indeterminate; None where not known."""
    level: Texts
    """(n,)."""
    score: Floats
    """(n,) NaN for true lesions and masks without scores."""
    is_lesion: Bools
    """(n,) at the recipe's threshold."""


@dataclass(frozen=True)
class Vertebrae:
    """The vertebrae in view."""

    scan: Integers
    level: Texts
    truth: Bools
    """(v,) holds a true lesion."""
    found: Bools
    """(v,) holds a lesion of the results."""
    score: Floats


@dataclass(frozen=True)
class Cohort:
    """Everything that was compared under one recipe."""

    patients: Texts
    """(p,) patient_key."""
    scans: Scans
    truths: Findings
    candidates: Findings
    pairs: Pairs
    vertebrae: Vertebrae

    def of_scans(self, chosen: Bools) -> Cohort:
        """The cohort with some scans only; patients without a scan are dropped."""
        scan_number = np.cumsum(chosen) - 1
        truth_kept, candidate_kept = chosen[self.truths.scan], chosen[self.candidates.scan]
        truth_number, candidate_number = np.cumsum(truth_kept) - 1, np.cumsum(candidate_kept) - 1
        pair_kept = truth_kept[self.pairs.truth]
        pairs = _take(self.pairs, pair_kept)
        patients, patient = np.unique(self.scans.patient[chosen], return_inverse=True)
        return Cohort(
            patients=self.patients[patients],
            scans=replace(_take(self.scans, chosen), patient=patient),
            truths=_moved(self.truths, truth_kept, scan_number),
            candidates=_moved(self.candidates, candidate_kept, scan_number),
            pairs=replace(pairs, truth=truth_number[pairs.truth], candidate=candidate_number[pairs.candidate]),
            vertebrae=_moved(self.vertebrae, chosen[self.vertebrae.scan], scan_number),
        )

    def per_patient(self, of_scan: Integers, values: npt.ArrayLike | None = None) -> Floats:
        """(p,) sum of values (or count) by patient; `of_scan` is the scan of each."""
        weights = None if values is None else np.asarray(values, dtype=np.float64)
        return np.bincount(self.scans.patient[of_scan], weights, minlength=self.patients.size).astype(np.float64)

    @property
    def positive(self) -> Bools:
        """(p,) patients with a true lesion."""
        return self.of_scans_sum(self.scans.n_truth) > 0

    @property
    def called(self) -> Bools:
        """(p,) patients with a lesion in the results."""
        return self.of_scans_sum(self.scans.n_lesions) > 0

    @property
    def patient_score(self) -> Floats:
        """(p,) largest score over the scans of a patient; NaN where one has no score."""
        score = np.full(self.patients.size, -np.inf)
        with np.errstate(invalid="ignore"):
            np.maximum.at(score, self.scans.patient, self.scans.score)
        return score

    def of_scans_sum(self, values: Floats) -> Floats:
        """(p,) sum of a value of each scan, unknown ones left out."""
        return self.per_patient(np.arange(self.scans.patient.size), np.nan_to_num(values))


Part = TypeVar("Part", Scans, Findings, Vertebrae, Pairs)
OfScan = TypeVar("OfScan", Findings, Vertebrae)


def _take(part: Part, chosen: Bools) -> Part:
    return type(part)(**{f.name: getattr(part, f.name)[chosen] for f in fields(part)})


def _moved(part: OfScan, chosen: Bools, number: Integers) -> OfScan:
    taken = _take(part, chosen)
    return replace(taken, scan=number[taken.scan])


@dataclass(frozen=True)
class Hits:
    """What hits what under one rule."""

    rule: MatchRule
    pair: Bools
    """(pairs,) assigned to each other at the threshold."""
    pair_ranked: Bools
    """(pairs,) assigned to each other among all candidates."""
    truth: Bools
    """(truths,) found at the threshold."""
    candidate: Bools
    """(candidates,) hits at the threshold."""
    candidate_ranked: Bools
    """(candidates,) hits among all."""
    counted: Bools
    """(candidates,) a hit or a false positive; not so for extras that the rule ignores."""


def hits_of(cohort: Cohort, rule: MatchRule) -> Hits:
    """Assign candidates to true lesions, at the threshold and among all."""
    pairs, candidates = cohort.pairs, cohort.candidates
    n_truths, n_candidates = cohort.truths.scan.size, candidates.scan.size
    usable = allowed(pairs, rule)
    at_threshold = usable & candidates.is_lesion[pairs.candidate]
    pair = assign(pairs, scores=candidates.score, n_truths=n_truths, usable=at_threshold)
    ranked = assign(pairs, scores=candidates.score, n_truths=n_truths, usable=usable)
    extra = extra_candidates(pairs, ranked, usable, n_candidates) & (rule.extra == "ignore")
    return Hits(
        rule=rule,
        pair=pair,
        pair_ranked=ranked,
        truth=_marked(pairs.truth[pair], n_truths),
        candidate=_marked(pairs.candidate[pair], n_candidates),
        candidate_ranked=_marked(pairs.candidate[ranked], n_candidates),
        counted=~extra,
    )


def _marked(numbers: Integers, n: int) -> Bools:
    marks = np.zeros(n, dtype=np.bool_)
    marks[numbers] = True
    return marks


def build_cohort(scans: pa.Table, matches: pa.Table, levels: pa.Table) -> Cohort:
    """The arrays of the tables `scans`, `matches` and `levels` of one recipe, scans in the order of their keys."""
    scans = scans.sort_by("series_key")
    patients, patient = np.unique(_texts(scans, "patient_key"), return_inverse=True)
    scan = _scan_of(matches, scans)
    truths, of_truth = _findings(matches, scan, "truth")
    candidates, of_candidate = _findings(matches, scan, "candidate")
    both = (of_truth >= 0) & (of_candidate >= 0)
    return Cohort(
        patients=patients,
        scans=Scans(
            series=_texts(scans, "series_key"),
            patient=patient.astype(np.int64),
            split=_texts(scans, "split"),
            site=_texts(scans, "site"),
            status=_texts(scans, "status"),
            n_truth=_numbers(scans, "n_truth"),
            n_lesions=_numbers(scans, "n_lesions"),
            score=_numbers(scans, "score_max"),
            truth_volume_mm3=_numbers(scans, "truth_volume_mm3"),
            lesion_volume_mm3=_numbers(scans, "lesion_volume_mm3"),
        ),
        truths=truths,
        candidates=candidates,
        pairs=Pairs(
            truth=of_truth[both],
            candidate=of_candidate[both],
            iou=_numbers(matches, "iou")[both],
            dice=_numbers(matches, "dice")[both],
            distance_mm=_numbers(matches, "centroid_distance_mm")[both],
            centroid_in_truth=_flags(matches, "centroid_in_truth")[both],
            radius_mm=_numbers(matches, "truth_diameter_mm")[both] / 2,
        ),
        vertebrae=Vertebrae(
            scan=_scan_of(levels, scans),
            level=_texts(levels, "level"),
            truth=_numbers(levels, "n_truth") > 0,
            found=_numbers(levels, "n_lesions") > 0,
            score=_numbers(levels, "score_max"),
        ),
    )


def _findings(matches: pa.Table, scan: Integers, side: str) -> tuple[Findings, Integers]:
    """The lesions of one side of the pairs, each once, and the number of each row's; -1 where a row has none."""
    identifier = _numbers(matches, f"{side}_id")
    there = np.isfinite(identifier)
    key = scan[there] * 2**24 + identifier[there].astype(np.int64)
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    of_row = np.full(scan.size, -1, dtype=np.int64)
    of_row[there] = inverse
    rows = np.flatnonzero(there)[first]
    volume = _numbers(matches, f"{side}_volume_mm3")[rows]
    is_truth = side == "truth"
    return (
        Findings(
            scan=scan[rows],
            diameter_mm=_numbers(matches, "truth_diameter_mm")[rows] if is_truth else np.cbrt(6 * volume / np.pi),
            volume_mm3=volume,
            kind=_texts(matches, f"{side}_type")[rows],
            level=_texts(matches, f"{side}_level")[rows],
            score=np.full(rows.size, np.nan) if is_truth else _numbers(matches, "score")[rows],
            is_lesion=np.ones(rows.size, dtype=np.bool_) if is_truth else _flags(matches, "is_lesion")[rows],
        ),
        of_row,
    )


def _scan_of(rows: pa.Table, scans: pa.Table) -> Integers:
    """(n,) which row of `scans` each row belongs to; every one has its scan there."""
    return pc.index_in(rows["series_key"], value_set=scans["series_key"].combine_chunks()).to_numpy().astype(np.int64)


def _texts(rows: pa.Table, name: str) -> Texts:
    return np.array(rows[name].to_pylist() or [], dtype=object)


def _numbers(rows: pa.Table, name: str) -> Floats:
    return rows[name].cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def _flags(rows: pa.Table, name: str) -> Bools:
    return rows[name].fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_)


def strata_of(cohort: Cohort) -> Integers:
    """(p,) 1 for patients with disease, 0 for others: the bootstrap draws within."""
    return cohort.positive.astype(np.int64)


def size_bins(diameters_mm: Floats, edges: Sequence[float]) -> Texts:
    """(n,) names of the bins of diameters, in millimetres."""
    names = [f"<{edges[0]:g} mm", *(f"{a:g}-{b:g} mm" for a, b in pairwise(edges))]
    names.append(f">={edges[-1]:g} mm")
    return np.array(names, dtype=object)[np.digitize(diameters_mm, edges)]
