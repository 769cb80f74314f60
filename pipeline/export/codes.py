"""Coded concepts: SNOMED CT, DICOM and LOINC codes as pydicom 3.0.2's dictionaries have them.

A detection is coded as a lesion, never as a metastasis: no detector can tell.
"""

from __future__ import annotations

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from schemas.spine import BY_NAME, OUTSIDE

SCHEME = "99SPINETALLY"
"""For what no dictionary has: T13 and L6."""

LESION = CodedConcept("52988006", "SCT", "Lesion")
ABNORMAL = CodedConcept("49755003", "SCT", "Morphologically Abnormal Structure")
ANATOMICAL = CodedConcept("91723000", "SCT", "Anatomical Structure")
SPINE = CodedConcept("421060004", "SCT", "Spine")
VERTEBRA = CodedConcept("51282000", "SCT", "Vertebra")
VOLUME = CodedConcept("118565006", "SCT", "Volume")
VOXEL_SUM = CodedConcept("126030", "DCM", "Sum of segmented voxel method for volume")
LONG_AXIS = CodedConcept("103339001", "SCT", "Long Axis")
SHORT_AXIS = CodedConcept("103340004", "SCT", "Short Axis")
ATTENUATION = CodedConcept("112031", "DCM", "Attenuation Coefficient")
SUV = CodedConcept("126401", "DCM", "SUVbw")
MEAN = CodedConcept("373098007", "SCT", "Mean")
MAXIMUM = CodedConcept("56851009", "SCT", "Maximum")
CUBIC_MILLIMETRE = CodedConcept("mm3", "UCUM", "cubic millimeter")
MILLIMETRE = CodedConcept("mm", "UCUM", "millimeter")
HOUNSFIELD = CodedConcept("[hnsf'U]", "UCUM", "Hounsfield unit")
SUV_UNIT = CodedConcept("g/ml{SUVbw}", "UCUM", "Standardized Uptake Value body weight")
ALGORITHM = CodedConcept("123110", "DCM", "Artificial Intelligence")

PROCEDURES = {
    "CT": codes.LN.CTUnspecifiedBodyRegion,
    "MR": codes.LN.MRIUnspecifiedBodyRegion,
    "PT": codes.LN.PETUnspecifiedBodyRegion,
    "NM": codes.LN.NMUnspecifiedBodyRegion,
}
"""Procedure that a report is about, by modality."""


def site_of(level: str | None) -> CodedConcept | None:
    """Where a lesion lies: its vertebra, or the spine where levels are not known; None for one outside all of them."""
    if level == OUTSIDE:
        return None
    return SPINE if level is None else vertebra(level)


def vertebra(level: str) -> CodedConcept:
    """The concept of a level; an unnumbered one is a vertebra."""
    known = BY_NAME.get(level)
    if known is None:
        return VERTEBRA
    if known.snomed is None:
        return CodedConcept(level, SCHEME, f"{level} vertebra")
    return CodedConcept(known.snomed, "SCT", _MEANINGS.get(level, f"{level} vertebra"))


_MEANINGS = {"SACRUM": "Sacrum", "COCCYX": "Coccyx"}
