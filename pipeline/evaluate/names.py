"""How metrics and intervals are called where people read."""

from __future__ import annotations

import re

_METRICS = {
    "auroc": "AUROC",
    "f1": "F1",
    "ppv": "PPV",
    "npv": "NPV",
    "ppv_at_prevalence": "PPV at the stated prevalence",
    "npv_at_prevalence": "NPV at the stated prevalence",
    "brier": "Brier score",
    "froc_score": "sensitivity, mean over 1/8 to 8 false positives per scan",
    "sensitivity_all_scans": "sensitivity, scans without a result counted as missed",
    "dice_of_found": "Dice of those found",
    "reader_detection_agreement": "detection agreement of readers",
    "reader_dice": "Dice of lesions that both readers drew",
    "reader_kappa_scan": "kappa of readers, whether a scan holds a lesion",
}
_AGREEMENT = {
    "bias": "bias of {}, found less true",
    "limit_low": "lower 95 % limit of agreement of {}",
    "limit_high": "upper 95 % limit of agreement of {}",
    "icc": "ICC(A,1) of {}",
}
_MEASURES = {"volume_mm3": "volume", "lesion_volume_mm3": "lesion volume", "n_lesions": "number of lesions"}

INTERVALS = {
    "bootstrap_patient": "bootstrap by patient",
    "wilson": "Wilson",
    "delong_logit": "DeLong, logit",
    "delong": "DeLong",
    "t": "t",
    "mcgraw_wong": "McGraw and Wong",
    "fleiss": "Fleiss",
    "wald": "Wald",
    "hartung_knapp_0.95": "Hartung-Knapp",
}
"""Column `interval` to its name. All but the first take cases as unrelated."""


def plain(metric: str) -> str:
    """A metric's name in words, with its unit where it has one; others by their names with spaces."""
    if metric in _METRICS:
        return _METRICS[metric]
    if rate := re.fullmatch(r"froc_at_([\d.]+)", metric):
        return f"sensitivity at {rate[1]} false positives per scan"
    if found := re.fullmatch(r"(bias|limit_low|limit_high|icc)_(\w+)", metric):
        name = _AGREEMENT[found[1]].format(_MEASURES.get(found[2], found[2].replace("_", " ")))
        return f"{name}, mm\u00b3" if found[2].endswith("_mm3") and found[1] != "icc" else name
    return metric.replace("_", " ")
