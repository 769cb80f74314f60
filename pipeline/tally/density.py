"""Lytic, blastic or mixed, by a rule with constants: a proposal of this project, for no HU cut-off is accepted.

A voxel is dense above the scan's trabecular reference by the larger of `dense_mads` deviations and `dense_hu`, lucent
below it by the larger of `lucent_mads` deviations and `lucent_hu`. A lesion is blastic where dense voxels make up
`major` and lucent ones less than `minor`, lytic the other way round, mixed where both make up `minor`, indeterminate
else. Contrast medium and tube voltage shift HU: both stand in the catalog beside it. To be confirmed against readers.

Two features of dense lesions are stored and never make a label: mean of 885 HU and maximum of 1060 HU, which told
enostosis from untreated osteoblastic metastasis in one series (Ulano 2016, AJR 207:362) and did not in a larger one
with biopsies (Azar 2021, AJR 216:1022).
"""

from __future__ import annotations

import hashlib
import json

from pipeline.tally import reference as normal
from pipeline.tally.reference import Reference, Values
from schemas.config import TypeRule

RULE_NAME = "spinetally-density-1"
"""The rule without its constants; another number where the rule itself changes."""

ENOSTOSIS_MEAN_HU = 885.0
"""Mean from which the first feature is set (Ulano 2016)."""

ENOSTOSIS_MAX_HU = 1060.0
"""Maximum from which the second feature is set (Ulano 2016)."""


def type_rule_id(rule: TypeRule) -> str:
    """The rule's name and a hash of every constant that it uses: `spinetally-density-1:9f86d081`."""
    constants = {
        **rule.model_dump(),
        "erosion_mm": normal.EROSION_MM,
        "metal_hu": normal.METAL_HU,
        "min_voxels": normal.MIN_VOXELS,
        "not_reference": normal.NOT_REFERENCE,
    }
    digest = hashlib.sha256(json.dumps(constants, sort_keys=True).encode()).hexdigest()
    return f"{RULE_NAME}:{digest[:8]}"


def density_columns(hu: Values, *, reference: Reference | None, rule: TypeRule) -> dict[str, object]:
    """The columns on a CT lesion's kind; without a reference only the two features of dense lesions.

    Args:
        hu: The lesion's voxels in HU, one at least.
        reference: Normal trabecular bone of the scan; None where no vertebra is free of lesions.
        rule: The constants.
    """
    columns: dict[str, object] = {
        "enostosis_flag_mean885": bool(hu.mean() >= ENOSTOSIS_MEAN_HU),
        "enostosis_flag_max1060": bool(hu.max() >= ENOSTOSIS_MAX_HU),
    }
    if reference is None:
        return columns
    dense_above = reference.median + max(rule.dense_mads * reference.mad, rule.dense_hu)
    lucent_below = reference.median - max(rule.lucent_mads * reference.mad, rule.lucent_hu)
    dense, lucent = float((hu > dense_above).mean()), float((hu < lucent_below).mean())
    kind = lesion_type(dense, lucent, rule)
    return columns | {
        "frac_dense": dense,
        "frac_lucent": lucent,
        "lesion_type": kind,
        "type_rule_id": type_rule_id(rule),
    }


def lesion_type(frac_dense: float, frac_lucent: float, rule: TypeRule) -> str:
    """The type of a lesion by its shares of dense and of lucent voxels."""
    if frac_dense >= rule.minor and frac_lucent >= rule.minor:
        return "mixed"
    if frac_dense >= rule.major:
        return "blastic"
    return "lytic" if frac_lucent >= rule.major else "indeterminate"
