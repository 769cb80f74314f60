"""SUV of PET: by which factor stored values become SUVbw, or why that cannot be known.

The rules are those of the Quantitative Imaging Biomarkers Alliance (QIBA FDG-PET/CT profile, vendor-neutral pseudo-code
for SUV): SUVbw = activity concentration (Bq/mL) x body weight (g) / injected dose (Bq), with the dose decayed to the
moment to which the image is corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydicom import Dataset

from pipeline.dicom.acquisition import real, text

SUV_KEYWORDS: tuple[str, ...] = (
    "Units",
    "SUVType",
    "DecayCorrection",
    "DecayCorrected",
    "DecayCorrectionDateTime",
    "CorrectedImage",
    "PatientWeight",
    "StudyDate",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "AcquisitionDateTime",
    "RadiopharmaceuticalInformationSequence",
)
"""What is read of every file."""

_PHILIPS, _GE = (0x7053, "Philips PET Private Group"), (0x0009, "GEMS_PETD_01")
_SUV_FACTOR, _ACTIVITY_FACTOR, _SCAN_START = 0x00, 0x09, 0x0D

SUV_TAGS: frozenset[int] = frozenset(
    (group << 16) + tag
    for group, elements in ((_PHILIPS[0], (_SUV_FACTOR, _ACTIVITY_FACTOR)), (_GE[0], (_SCAN_START,)))
    for block in range(0x10, 0x18)
    for tag in (block, *((block << 8) + element for element in elements))
)
"""Private elements that are read of every file, in any of the blocks where they usually are."""

_BY_OTHER = {"LBM": "SUVlbm", "LBMJAMES128": "SUVlbm", "LBMJANMA": "SUVlbm", "BSA": "SUVbsa", "IBW": "SUVibw"}
_LEAST_DOSE_BQ = 1e5
_WEIGHTS_KG = (0.5, 500.0)
_DAY_S = 86400.0


class _Unknown(Exception):  # noqa: N818 - no error: SUV stays NULL, with this reason
    pass


@dataclass(frozen=True)
class _Times:
    injected: datetime | None
    started: datetime | None

    @property
    def uptake_s(self) -> float | None:
        """Seconds from injection to scan; None where a time is missing or they make no sense."""
        if self.injected is None or self.started is None:
            return None
        seconds = (self.started - self.injected).total_seconds()
        return seconds if 0 <= seconds <= 14 * _DAY_S else None


def suv_of(headers: Sequence[Dataset]) -> dict[str, Any]:
    """Columns of the catalog: `intensity_unit`, `suv_factor`, `suv_reason`, `uptake_minutes`.

    Args:
        headers: of all files of the series.
    """
    header = headers[0]
    times = _times(headers)
    columns: dict[str, Any] = {
        "intensity_unit": _unit(header),
        "uptake_minutes": times.uptake_s / 60 if times.uptake_s is not None else None,
        "suv_factor": None,
        "suv_reason": None,
    }
    try:
        columns["suv_factor"] = _factor(header, times)
    except _Unknown as reason:
        columns["suv_reason"] = str(reason)
    return columns


def _unit(header: Dataset) -> str | None:
    units, kind = text(header.get("Units")), text(header.get("SUVType"))
    if units == "GML":
        return "SUVbw" if kind in (None, "BW") else _BY_OTHER.get(kind, "SUV")
    if units == "CM2ML":
        return "SUVbsa"
    return units


def _factor(header: Dataset, times: _Times) -> float:
    units = text(header.get("Units"))
    unit = _unit(header)
    if unit == "SUVbw":
        return 1.0
    if unit is not None and unit.startswith("SUV"):
        raise _Unknown(f"values are {unit}, which is not SUVbw")
    if units == "BQML":
        return _by_weight_and_dose(header, times)
    if units == "CNTS":
        return _philips(header, times)
    raise _Unknown("the unit of the values is missing" if units is None else f"values in {units[:16]} give no SUV")


def _philips(header: Dataset, times: _Times) -> float:
    """Counts with private factors (Philips PET Private Group): to SUVbw, else to Bq/mL."""
    suv, activity = (real(_private(header, *_PHILIPS, element)) for element in (_SUV_FACTOR, _ACTIVITY_FACTOR))
    if suv:
        return suv
    if activity:
        return activity * _by_weight_and_dose(header, times)
    raise _Unknown("values are counts, and no factor for SUV or for Bq/mL is given")


def _by_weight_and_dose(header: Dataset, times: _Times) -> float:
    weight = real(header.get("PatientWeight"))
    if not weight or weight < 0:
        raise _Unknown("the patient's weight is missing")
    if not _WEIGHTS_KG[0] <= weight <= _WEIGHTS_KG[1]:
        raise _Unknown("the patient's weight is below 0.5 or above 500: it is probably not in kg")
    drug = _drug(header)
    dose = real(drug.get("RadionuclideTotalDose"))
    if not dose or dose < 0:
        raise _Unknown("the injected dose is missing")
    if dose < _LEAST_DOSE_BQ:
        raise _Unknown("the injected dose is below 0.1 MBq: it is probably not in Bq")
    return weight * 1000.0 / (dose * _decay(header, drug, times))


def _decay(header: Dataset, drug: Dataset, times: _Times) -> float:
    """What is left of the dose at the moment to which the image is corrected."""
    correction = _correction(header)
    if correction == "ADMIN":
        return 1.0
    if correction != "START":
        raise _Unknown("the image is not corrected for decay, or does not say to which moment")
    half_life = real(drug.get("RadionuclideHalfLife"))
    if not half_life or half_life < 0:
        raise _Unknown("the half-life of the radionuclide is missing")
    if times.uptake_s is None:
        raise _Unknown("the time from injection to scan is missing or makes no sense")
    return float(2.0 ** (-times.uptake_s / half_life))


def _correction(header: Dataset) -> str | None:
    """ADMIN, START, NONE; for enhanced objects from DecayCorrected, whose moment `_times` reads."""
    correction = text(header.get("DecayCorrection"))
    if correction is None and text(header.get("DecayCorrected")) == "YES":
        return "START"
    corrected = text(header.get("CorrectedImage"))
    uncorrected = corrected is not None and "DECY" not in corrected.split("\\")
    return None if uncorrected else correction


def _drug(header: Dataset) -> Dataset:
    items = header.get("RadiopharmaceuticalInformationSequence")
    return items[0] if items else Dataset()


def _times(headers: Sequence[Dataset]) -> _Times:
    started = _scan_start(headers)
    return _Times(_injection(_drug(headers[0]), started), started)


def _scan_start(headers: Sequence[Dataset]) -> datetime | None:
    """The moment to which START corrects: the start of the series, unless it was made after the acquisition.

    A series that was made later (a reformat, an anonymised copy) has its own later time; then the scanner's private
    note of the start (GE) counts, else the earliest acquisition.
    """
    header = headers[0]
    corrected_to = _moment(header.get("DecayCorrectionDateTime"))
    if corrected_to is not None:
        return corrected_to
    acquired = [
        moment for h in headers if (moment := _joined(h, "Acquisition") or _moment(h.get("AcquisitionDateTime")))
    ]
    earliest = min(acquired, default=None)
    series = _joined(header, "Series")
    if series is not None and (earliest is None or series <= earliest):
        return series
    return _moment(_private(header, *_GE, _SCAN_START)) or earliest


def _injection(drug: Dataset, started: datetime | None) -> datetime | None:
    moment = _moment(drug.get("RadiopharmaceuticalStartDateTime"))
    if moment is not None and _Times(moment, started).uptake_s is not None:
        return moment
    # dates that were moved by de-identification no longer fit each other: the time of day still does
    clock = text(drug.get("RadiopharmaceuticalStartTime")) or (f"{moment:%H%M%S}" if moment else None)
    if clock is None or started is None:
        return moment
    same_day = _moment(f"{started:%Y%m%d}{clock}")
    return same_day if same_day is None or same_day <= started else same_day - timedelta(days=1)


def _joined(header: Dataset, prefix: str) -> datetime | None:
    date = text(header.get(f"{prefix}Date")) or text(header.get("StudyDate"))
    clock = text(header.get(f"{prefix}Time"))
    return _moment(f"{date}{clock}") if date and clock else None


def _moment(value: Any) -> datetime | None:
    """A DICOM date and time; a zone is left out, as both ends of a difference come from one scanner."""
    digits = (text(value) or "").replace(":", "").split("+")[0].split("-")[0].strip()
    whole, _, fraction = digits.partition(".")
    try:
        moment = datetime.strptime(whole[:14].ljust(14, "0"), "%Y%m%d%H%M%S")
        return moment + timedelta(seconds=float(f"0.{fraction or 0}"))
    except ValueError:
        return None


def _private(header: Dataset, group: int, creator: str, element: int) -> Any:
    try:
        value = header.private_block(group, creator)[element].value
    except (KeyError, ValueError):
        return None
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
