"""What is estimated of vertebrae, scans and patients: who has disease, and how much."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.evaluate.cohort import Bools, Cohort, Integers
from pipeline.evaluate.figures import CurvePoint, Figure
from pipeline.evaluate.lesion_metrics import BOOTSTRAP, agreement_figures, bootstrap_of, ratio_figures, too_few
from pipeline.evaluate.statistics.calibration import EDGE, calibration
from pipeline.evaluate.statistics.estimate import not_estimable, with_interval
from pipeline.evaluate.statistics.proportions import predictive_values, proportion
from pipeline.evaluate.statistics.resampling import enough_cases
from pipeline.evaluate.statistics.roc import auroc, roc_curve, weighted_auc
from pipeline.grid import Floats
from schemas.evaluation import Evaluation


def patient_figures(cohort: Cohort, settings: Evaluation) -> tuple[list[Figure], list[CurvePoint]]:
    """A patient is positive with a true lesion in any scan, and scored by the largest score of all scans."""
    score, each = cohort.patient_score, np.arange(cohort.patients.size)
    figures, points = _case_figures(cohort, "patient", cohort.positive, cohort.called, score, each, settings)
    figures += _predictive_figures(cohort, cohort.called, settings)
    more, bins = _calibration_figures(cohort, score, settings)
    return figures + more, points + bins


def vertebra_figures(cohort: Cohort, settings: Evaluation) -> tuple[list[Figure], list[CurvePoint]]:
    """A vertebra in view is positive where it is the level of a true lesion."""
    seen = cohort.vertebrae
    patient = cohort.scans.patient[seen.scan]
    figures, points = _case_figures(cohort, "vertebra", seen.truth, seen.found, seen.score, patient, settings)
    called = {
        name: (cohort.per_patient(seen.scan, of & right), cohort.per_patient(seen.scan, of))
        for name, of, right in (
            ("sensitivity", seen.truth, seen.found),
            ("specificity", ~seen.truth, ~seen.found),
        )
    }
    return figures + ratio_figures(cohort, called, settings, rule=None, unit="vertebra"), points


def scan_figures(cohort: Cohort) -> list[Figure]:
    """Agreement of counts and volumes, scan by scan."""
    scans = cohort.scans
    counted = np.isfinite(scans.n_truth) & np.isfinite(scans.n_lesions)
    measured = np.isfinite(scans.truth_volume_mm3) & np.isfinite(scans.lesion_volume_mm3)
    return [
        *agreement_figures(cohort, scans.n_truth[counted], scans.n_lesions[counted], unit="scan", what="n_lesions"),
        *agreement_figures(
            cohort,
            scans.truth_volume_mm3[measured],
            scans.lesion_volume_mm3[measured],
            unit="scan",
            what="lesion_volume_mm3",
        ),
    ]


def missed_patients_figure(cohort: Cohort, found: int) -> Figure:
    """Patients found of all with disease, those without a usable scan counted as missed; `cohort` holds all scans."""
    return Figure("patient", "sensitivity_all_scans", proportion(found, int(cohort.positive.sum()))).of(cohort)


def _case_figures(
    cohort: Cohort, unit: str, truth: Bools, found: Bools, score: Floats, patient: Integers, settings: Evaluation
) -> tuple[list[Figure], list[CurvePoint]]:
    sensitivity = proportion(int((truth & found).sum()), int(truth.sum()))
    specificity = proportion(int((~truth & ~found).sum()), int((~truth).sum()))
    figures = [
        Figure(unit, "sensitivity", sensitivity).of(cohort),
        Figure(unit, "specificity", specificity).of(cohort),
    ]
    if np.isnan(score).any():
        why = not_estimable("masks without scores cannot be ranked", denominator=truth.size)
        return [*figures, Figure(unit, "auroc", why).of(cohort)], []
    area = auroc(truth, score)
    figures.append(Figure(unit, "auroc", area).of(cohort))
    if area.value is None:
        return figures, []
    bootstrap = bootstrap_of(cohort, settings)
    draws = bootstrap.run(
        lambda weights: weighted_auc(truth, score, weights[:, patient])[:, None],
        cases_per_patient=truth.size / max(1, cohort.patients.size),
    )[:, 0]
    if not _enough_of_both(truth, patient):
        draws[:] = np.nan
    by_patient = with_interval(area.value, draws, name=BOOTSTRAP, counts=(None, truth.size), few=too_few(cohort))
    figures.append(Figure(unit, "auroc", by_patient, draws=draws).of(cohort))
    return figures, _roc_points(truth, score, unit)


def _enough_of_both(truth: Bools, patient: Integers) -> bool:
    """Whether enough patients have a positive case, and enough a negative one."""
    counts = [np.bincount(patient[cases], minlength=1)[:, None] for cases in (truth, ~truth)]
    return all(bool(enough_cases(of_patients.astype(np.float64))[0]) for of_patients in counts)


def _roc_points(truth: Bools, score: Floats, unit: str) -> list[CurvePoint]:
    x, y, threshold = roc_curve(truth, score)
    shown = np.unique(np.linspace(0, x.size - 1, min(200, x.size)).astype(int))
    return [CurvePoint(f"roc_{unit}", float(x[i]), float(y[i]), threshold=float(threshold[i])) for i in shown]


def _predictive_figures(cohort: Cohort, found: Bools, settings: Evaluation) -> list[Figure]:
    truth = cohort.positive
    figures = [
        Figure("patient", "ppv", proportion(int((truth & found).sum()), int(found.sum()))).of(cohort),
        Figure("patient", "npv", proportion(int((~truth & ~found).sum()), int((~found).sum()))).of(cohort),
        Figure("patient", "prevalence", proportion(int(truth.sum()), truth.size)).of(cohort),
    ]
    if settings.prevalence is None:
        return figures
    if not truth.any() or truth.all():
        why = not_estimable("one class only", denominator=truth.size)
        return figures + [Figure("patient", f"{name}_at_prevalence", why).of(cohort) for name in ("ppv", "npv")]
    return figures + _at_prevalence(cohort, found, settings, settings.prevalence)


def _at_prevalence(cohort: Cohort, found: Bools, settings: Evaluation, prevalence: float) -> list[Figure]:
    """PPV and NPV where the model is to be used, by Bayes' theorem, with intervals by the bootstrap over patients."""
    truth = cohort.positive
    values = predictive_values(float(found[truth].mean()), float((~found)[~truth].mean()), prevalence)

    def statistic(weights: Floats) -> Floats:
        """(b, 2) PPV and NPV of weights (b, patients); NaN where no such result occurs."""
        sensitivity = weights @ (truth & found) / (weights @ truth)
        specificity = weights @ (~truth & ~found) / (weights @ ~truth)
        with np.errstate(invalid="ignore"):
            positive = sensitivity * prevalence / (sensitivity * prevalence + (1 - specificity) * (1 - prevalence))
            negative = specificity * (1 - prevalence)
            return np.stack([positive, negative / (negative + (1 - sensitivity) * prevalence)], axis=1)

    draws = bootstrap_of(cohort, settings).run(statistic, cases_per_patient=2)
    if not _enough_of_both(truth, np.arange(truth.size)):
        draws[:] = np.nan
    figures = []
    for i, (name, value) in enumerate(zip(("ppv_at_prevalence", "npv_at_prevalence"), values, strict=True)):
        estimate = not_estimable("no such result occurs")
        if value is not None:
            estimate = with_interval(value, draws[:, i], name=BOOTSTRAP, few=too_few(cohort))
            said = f"at a prevalence of {prevalence:g}, by Bayes' theorem"
            estimate = replace(estimate, note="; ".join(filter(None, (said, estimate.note))))
        figures.append(Figure("patient", name, estimate).of(cohort))
    return figures


def _calibration_figures(cohort: Cohort, score: Floats, settings: Evaluation) -> tuple[list[Figure], list[CurvePoint]]:
    names = ("brier", "calibration_slope", "calibration_intercept")
    found = None if np.isnan(score).any() else calibration(cohort.positive, score)
    if found is None:
        why = not_estimable("one class only, or scores that are missing or not between 0 and 1")
        return [Figure("patient", name, why).of(cohort) for name in names], []
    error = {"brier": ((score - cohort.positive) ** 2, np.ones(score.size))}
    (brier,) = ratio_figures(cohort, error, settings, rule=None, unit="patient")
    mean = replace(brier.estimate, numerator=None)  # the mean of an error, not so many of so many
    figures = [replace(brier, estimate=mean, draws=None)]
    moved = f"{found.n_moved} scores of 0 or 1 were taken for {EDGE:g} and {1 - EDGE:g}" if found.n_moved else None
    for name, estimate in zip(names[1:], (found.slope, found.intercept), strict=True):
        note = "; ".join(filter(None, (estimate.note, moved))) or None
        figures.append(Figure("patient", name, replace(estimate, note=note)).of(cohort))
    return figures, [
        CurvePoint("calibration", b.mean_score, float(b.observed.value or 0.0), b.observed.low, b.observed.high)
        for b in found.bins
    ]
