"""What is stored of an evaluation, under `truth/tables/`, and how a person asks for one.

    references    a row per series and reader: the reference standard as it was read
    scans         a row per scan and recipe: what was compared with what
    matches       a row per pair of a true lesion and a candidate of one scan
    levels        a row per vertebra
    metrics       a figure with its interval per row
    site_metrics  the same per site, and the sites pooled
    curves        points of FROC, ROC, precision-recall and calibration curves

Each is a folder; each file holds rows of one attempt, and the newest attempt counts.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa
from pydantic import Field, model_validator

from schemas.catalog import KEYS
from schemas.columns import DOUBLES, INTEGERS, TIME, column
from schemas.strict import Strict

TABLES = "truth/tables"
"""Folder of the tables in a store."""

MASKS = "truth/masks.zarr"
"""Group of the reference masks in a store: <series_key>/<attempt>/lesions."""

MATCH_VERSION = 2
"""Goes up when the comparison of a scan gives other figures for the same masks."""

Split = Literal["train", "tune", "internal", "external"]
SPLITS: tuple[str, ...] = ("train", "tune", "internal", "external")
"""Parts of a cohort that a model met in different ways; never put together."""


class MatchRule(Strict):
    """When a candidate and a true lesion are the same; then one-to-one, candidates in order of their scores."""

    measure: Literal["iou", "dice", "overlap", "centroid_inside", "distance", "radius"] = "iou"
    """iou and dice of their voxels; overlap: any voxel in common; centroid_inside: the candidate's centroid lies in the
    lesion; distance: centroids at most `limit` mm apart; radius: at most the lesion's radius apart (as LUNA16)."""
    limit: float = Field(default=0.1, ge=0)
    """Least iou or dice, or largest distance in mm."""
    extra: Literal["false_positive", "ignore"] = "false_positive"
    """What a further candidate on a lesion that is hit already counts as."""

    @property
    def name(self) -> str:
        """Stands in the column `rule`."""
        limits = {"iou": f">={self.limit:g}", "dice": f">={self.limit:g}", "distance": f"<={self.limit:g}mm"}
        return (
            self.measure + limits.get(self.measure, "") + ("" if self.extra == "false_positive" else " extra ignored")
        )


class Evaluation(Strict):
    """How results are held against the reference standard."""

    rule: MatchRule = MatchRule()
    other_rules: list[MatchRule] = Field(
        default_factory=lambda: [
            MatchRule(extra="ignore"),
            MatchRule(limit=0.25),
            MatchRule(limit=0.5),
            MatchRule(measure="dice", limit=0.2),
            MatchRule(measure="overlap", limit=0),
            MatchRule(measure="centroid_inside", limit=0),
            MatchRule(measure="radius", limit=0),
        ]
    )
    """Rules of the table that shows how much the rule matters."""
    bootstraps: int = Field(default=2000, ge=100)
    seed: int = 20240615
    prevalence: float | None = Field(default=None, gt=0, lt=1)
    """Of patients with disease where the model is to be used; PPV and NPV are given at it and at the cohort's own."""
    size_bins_mm: list[float] = Field(default_factory=lambda: [5.0, 10.0, 20.0])
    """Edges of the bins of sphere-equivalent diameter."""
    subgroups: list[str] = Field(
        default_factory=lambda: [
            "site", "manufacturer", "convolution_kernel", "slice_spacing", "contrast", "patient_sex", "age_band",
        ]
    )  # fmt: skip
    """Columns of the view `series` by which results are also given; a scan where one is NULL is in no stratum of it."""

    @model_validator(mode="after")
    def _edges_ascend(self) -> Evaluation:
        if sorted(set(self.size_bins_mm)) != self.size_bins_mm:
            raise ValueError(f"size_bins_mm must ascend: {self.size_bins_mm}")
        return self


_SCAN = [
    column("recipe_id", pa.string(), "Recipe of the results.", required=True),
    *KEYS,
    column("attempt", pa.string(), "Attempt of the comparison; sorts by time.", required=True),
]

REFERENCES = pa.schema(
    [
        *KEYS,
        column("version", pa.string(), "Version of the series; NULL where it was never ingested."),
        column("reader", pa.string(), "Whose annotation: `1`, `2`, ...", required=True),
        column("attempt", pa.string(), "Which attempt wrote the row; sorts by time.", required=True),
        column("split", pa.string(), "train, tune, internal or external; NULL where nothing says it."),
        column("source_id", pa.string(), "Hash of size, time and options of what was read.", required=True),
        column("form", pa.string(), "masks or points.", required=True),
        column("status", pa.string(), "ok, unplaced (read, but its scan has no volume) or failed.", required=True),
        column("reason_code", pa.string(), "A word of schemas.reasons."),
        column("reason", pa.string(), "The same as a sentence."),
        column("n_lesions", pa.int32(), "True lesions; NULL where the annotation could not be read."),
        column("n_outside", pa.int32(), "Further ones that lie outside the volume."),
        column("volume_mm3", pa.float64(), "Their volume; NULL for points.", "mm3"),
        column("points_mm", DOUBLES, "Points as x, y, z, radius, one after the other; LPS.", "mm"),
        column("labels_uri", pa.string(), "Group with `lesions`, relative to the store; NULL for points."),
        column("finished_at", TIME, "When it was read.", required=True),
    ]
)
"""One row per series, reader and attempt."""

SCANS = pa.schema(
    [
        *_SCAN,
        column("match_version", pa.int32(), "Version of the comparison.", required=True),
        column("rule", pa.string(), "When a candidate hits a lesion.", required=True),
        column("result_attempt", pa.string(), "Attempt of the results compared; NULL where there are none."),
        column("reference_attempt", pa.string(), "Attempt of the reference compared.", required=True),
        column("modality", pa.string(), "DICOM modality."),
        column("site", pa.string(), "Site of the scan."),
        column("split", pa.string(), "train, tune, internal or external; NULL where nothing says it."),
        column("status", pa.string(), "ok, or what kept it from a result: quarantined, failed, excluded, missing."),
        column("reason_code", pa.string(), "A word of schemas.reasons."),
        column("n_truth", pa.int32(), "True lesions; NULL where the annotation could not be read."),
        column("n_outside", pa.int32(), "True lesions outside the volume, in no count."),
        column("n_lesions", pa.int32(), "Lesions of the results."),
        column("n_candidates", pa.int32(), "What was kept below the threshold."),
        column("truth_volume_mm3", pa.float64(), "Volume of the true lesions.", "mm3"),
        column("lesion_volume_mm3", pa.float64(), "Volume of the lesions of the results.", "mm3"),
        column("score_max", pa.float64(), "Largest score of a lesion or candidate; 0 where there is none.", "1"),
    ]
)
"""One row per scan with a reference, and recipe: the denominator."""

MATCHES = pa.schema(
    [
        *_SCAN,
        column("truth_id", pa.int32(), "True lesion, from 1; NULL where the scan has none."),
        column("truth_volume_mm3", pa.float64(), "Its volume; NULL for points.", "mm3"),
        column("truth_diameter_mm", pa.float64(), "Diameter of the sphere of that volume, or of the point.", "mm"),
        column("truth_type", pa.string(), "lytic, blastic, mixed or indeterminate, by the recipe's rule."),
        column("truth_level", pa.string(), "Level with the largest share of it, by the recipe's levels."),
        column("truth_centroid_mm", DOUBLES, "x, y, z, LPS.", "mm"),
        column("truth_bbox", INTEGERS, "[z0, y0, x0, z1, y1, x1), half-open; NULL for points.", "voxels"),
        column("candidate_id", pa.int32(), "Lesion of the results; candidates follow; NULL where there is none."),
        column("is_lesion", pa.bool_(), "Whether it is a lesion at the recipe's threshold, or a kept candidate."),
        column("score", pa.float64(), "Its largest score; NULL for masks without scores.", "1"),
        column("candidate_volume_mm3", pa.float64(), "Its volume.", "mm3"),
        column("candidate_type", pa.string(), "Its type by the recipe's rule."),
        column("candidate_level", pa.string(), "Its level."),
        column("candidate_centroid_mm", DOUBLES, "x, y, z, LPS.", "mm"),
        column("overlap_of", pa.string(), "voxels, or boxes for candidates, of which no voxels are kept."),
        column("iou", pa.float64(), "Intersection over union; NULL without two regions.", "1"),
        column("dice", pa.float64(), "Twice the intersection over the sum.", "1"),
        column("centroid_distance_mm", pa.float64(), "Between both centroids.", "mm"),
        column("centroid_in_truth", pa.bool_(), "The candidate's centroid lies in the true lesion, or its radius."),
        column("truth_centroid_in_candidate", pa.bool_(), "The true lesion's centroid lies in the candidate."),
        column("hit", pa.bool_(), "Assigned to each other at the threshold, by the rule of the evaluation."),
        column("hit_ranked", pa.bool_(), "Assigned to each other among all candidates, in order of their scores."),
    ]
)
"""Every pair of a true lesion and a candidate of a scan; what has no counterpart in its scan stands alone."""

LEVELS = pa.schema(
    [
        *_SCAN,
        column("level", pa.string(), "Name of the vertebra.", required=True),
        column("assessed", pa.string(), "full or partial; others are not compared.", required=True),
        column("n_truth", pa.int32(), "True lesions of which it is the level."),
        column("n_lesions", pa.int32(), "Lesions of the results of which it is the level."),
        column("score_max", pa.float64(), "Largest score of a lesion or candidate in it; 0 where there is none.", "1"),
    ]
)
"""One row per vertebra that was seen."""

_FIGURE = [
    column("recipe_id", pa.string(), "Recipe of the results.", required=True),
    column("attempt", pa.string(), "Attempt of the evaluation; sorts by time.", required=True),
    column("split", pa.string(), "train, tune, internal or external; `all` where no part is named."),
    column("unit", pa.string(), "lesion, vertebra, scan or patient.", required=True),
    column("metric", pa.string(), "What is estimated.", required=True),
    column("value", pa.float64(), "Estimate; NULL where it cannot be estimated."),
    column("low", pa.float64(), "Lower end of its 95 % interval."),
    column("high", pa.float64(), "Upper end of its 95 % interval."),
    column("interval", pa.string(), "How the interval was made."),
    column("numerator", pa.float64(), "Of a proportion or rate."),
    column("denominator", pa.float64(), "Of a proportion or rate, else the cases it rests on."),
    column("note", pa.string(), "Why there is no value or interval, or what else must be known to read it."),
]

METRICS = pa.schema(
    [
        *_FIGURE,
        column("subgroup", pa.string(), "What the cases are divided by; `all` where they are not.", required=True),
        column("stratum", pa.string(), "Which of its parts."),
        column("rule", pa.string(), "When a candidate hits a lesion; NULL where it does not matter."),
        column("n_patients", pa.int32(), "Patients."),
        column("n_scans", pa.int32(), "Scans."),
    ]
)
"""One figure per row."""

SITE_METRICS = pa.schema(
    [
        *_FIGURE,
        column("kind", pa.string(), "site, pooled, or without (the others pooled).", required=True),
        column("site", pa.string(), "Site; NULL for pooled."),
        column("effect", pa.float64(), "Estimate on the logit scale, on which sites are pooled."),
        column("variance", pa.float64(), "Its variance."),
        column("weight", pa.float64(), "Share in the pooled estimate.", "1"),
        column("tau2", pa.float64(), "Variance between sites, on the logit scale."),
        column("i2", pa.float64(), "Share of the variation that is between sites.", "1"),
        column("prediction_low", pa.float64(), "Lower end of where a new site would lie."),
        column("prediction_high", pa.float64(), "Upper end of where a new site would lie."),
        column("n_patients", pa.int32(), "Patients."),
    ]
)
"""One estimate per site, and the sites pooled by random effects."""

CURVES = pa.schema(
    [
        column("recipe_id", pa.string(), "Recipe of the results.", required=True),
        column("attempt", pa.string(), "Attempt of the evaluation; sorts by time.", required=True),
        column("split", pa.string(), "train, tune, internal or external; `all` where no part is named."),
        column("curve", pa.string(), "froc, precision_recall, roc_patient, roc_vertebra, calibration.", required=True),
        column("x", pa.float64(), "False positives per scan, recall, false positive rate, mean score."),
        column("y", pa.float64(), "Sensitivity, precision, true positive rate, share observed."),
        column("low", pa.float64(), "Lower end of the band."),
        column("high", pa.float64(), "Upper end of the band."),
        column("threshold", pa.float64(), "Score at that point."),
    ]
)
"""Points of curves."""
