"""How a scan was made: DICOM attributes by their keyword in snake_case, as typed columns.

The choice follows CLAIM 2024 item 13 and the attributes that the two reviews of spinal-lesion AI found unreported. Text
that people type freely is not here but for the few keywords listed as `FREE_TEXT`, which a cohort may allow by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from schemas.columns import DOUBLES, STRINGS, column


@dataclass(frozen=True)
class Attribute:
    """One DICOM attribute that becomes a column."""

    keyword: str
    """DICOM keyword (PS3.6)."""
    kind: pa.DataType
    """Arrow type of the column."""
    modalities: tuple[str, ...] = ()
    """For which modalities; empty for all."""
    unit: str | None = None
    """Unit, where it has one."""
    range_of: bool = False
    """Differs from slice to slice: the median is stored, beside it `_min` and `_max`."""


_TEXT, _REAL, _WHOLE = pa.string(), pa.float64(), pa.int32()

CLOCK = "hh:mm:ss"
"""Unit of times of day; they come without their date."""

ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("Manufacturer", _TEXT),
    Attribute("ManufacturerModelName", _TEXT),
    Attribute("SoftwareVersions", STRINGS),
    Attribute("BodyPartExamined", _TEXT),
    Attribute("ImageType", STRINGS),
    Attribute("SOPClassUID", _TEXT),
    Attribute("PatientAge", _REAL, unit="years"),
    Attribute("PatientSex", _TEXT),
    Attribute("PatientPosition", _TEXT),
    Attribute("ImageOrientationPatient", DOUBLES),
    Attribute("PixelSpacing", DOUBLES, unit="mm"),
    Attribute("SliceThickness", _REAL, unit="mm"),
    Attribute("SpacingBetweenSlices", _REAL, unit="mm"),
    Attribute("Rows", _WHOLE),
    Attribute("Columns", _WHOLE),
    Attribute("BurnedInAnnotation", _TEXT),
    Attribute("LossyImageCompression", _TEXT),
    Attribute("PatientIdentityRemoved", _TEXT),
    # Contrast
    Attribute("ContrastBolusAgent", _TEXT, ("CT", "MR")),
    Attribute("ContrastBolusRoute", _TEXT, ("CT", "MR")),
    Attribute("ContrastBolusStartTime", _TEXT, ("CT", "MR"), CLOCK),
    # CT
    Attribute("KVP", _REAL, ("CT",), "kV"),
    Attribute("XRayTubeCurrent", _REAL, ("CT",), "mA", range_of=True),
    Attribute("ExposureTime", _REAL, ("CT",), "ms"),
    Attribute("Exposure", _REAL, ("CT",), "mAs"),
    Attribute("CTDIvol", _REAL, ("CT",), "mGy"),
    Attribute("ExposureModulationType", _TEXT, ("CT",)),
    Attribute("FilterType", _TEXT, ("CT",)),
    Attribute("IterativeReconstructionMethod", _TEXT, ("CT",)),
    Attribute("ReconstructionDiameter", _REAL, ("CT",), "mm"),
    Attribute("DataCollectionDiameter", _REAL, ("CT",), "mm"),
    Attribute("SpiralPitchFactor", _REAL, ("CT",)),
    Attribute("TotalCollimationWidth", _REAL, ("CT",), "mm"),
    Attribute("GantryDetectorTilt", _REAL, ("CT",), "degrees"),
    Attribute("RevolutionTime", _REAL, ("CT",), "s"),
    Attribute("MultienergyCTAcquisition", _TEXT, ("CT",)),
    Attribute("RescaleSlope", _REAL, ("CT", "PT", "NM"), range_of=True),
    Attribute("RescaleIntercept", _REAL, ("CT", "PT", "NM")),
    Attribute("RescaleType", _TEXT, ("CT", "PT", "NM")),
    Attribute("ConvolutionKernel", STRINGS, ("CT", "PT")),
    # MR
    Attribute("MagneticFieldStrength", _REAL, ("MR",), "T"),
    Attribute("ImagingFrequency", _REAL, ("MR",), "MHz"),
    Attribute("ScanningSequence", STRINGS, ("MR",)),
    Attribute("SequenceVariant", STRINGS, ("MR",)),
    Attribute("SequenceName", _TEXT, ("MR",)),
    Attribute("PulseSequenceName", _TEXT, ("MR",)),
    Attribute("EchoPulseSequence", _TEXT, ("MR",)),
    Attribute("ScanOptions", STRINGS, ("MR", "CT")),
    Attribute("MRAcquisitionType", _TEXT, ("MR",)),
    Attribute("RepetitionTime", _REAL, ("MR",), "ms"),
    Attribute("EchoTime", _REAL, ("MR",), "ms"),
    Attribute("InversionTime", _REAL, ("MR",), "ms"),
    Attribute("FlipAngle", _REAL, ("MR",), "degrees"),
    Attribute("EchoTrainLength", _WHOLE, ("MR",)),
    Attribute("NumberOfAverages", _REAL, ("MR",)),
    Attribute("PixelBandwidth", _REAL, ("MR",), "Hz/pixel"),
    Attribute("AcquisitionMatrix", DOUBLES, ("MR",)),
    Attribute("InPlanePhaseEncodingDirection", _TEXT, ("MR",)),
    Attribute("ReceiveCoilName", _TEXT, ("MR",)),
    Attribute("ParallelReductionFactorInPlane", _REAL, ("MR",)),
    Attribute("DiffusionBValue", _REAL, ("MR",), "s/mm2"),
    # PT and NM
    Attribute("Radiopharmaceutical", _TEXT, ("PT", "NM")),
    Attribute("RadiopharmaceuticalCodeMeaning", _TEXT, ("PT", "NM")),
    Attribute("RadionuclideCodeMeaning", _TEXT, ("PT", "NM")),
    Attribute("RadionuclideTotalDose", _REAL, ("PT", "NM"), "Bq"),
    Attribute("RadionuclideHalfLife", _REAL, ("PT", "NM"), "s"),
    Attribute("RadiopharmaceuticalStartTime", _TEXT, ("PT", "NM"), CLOCK),
    Attribute("SeriesTime", _TEXT, ("PT", "NM"), CLOCK),
    Attribute("AcquisitionTime", _TEXT, ("PT", "NM"), CLOCK),
    Attribute("Units", _TEXT, ("PT", "NM")),
    Attribute("SUVType", _TEXT, ("PT",)),
    Attribute("DecayCorrection", _TEXT, ("PT",)),
    Attribute("CorrectedImage", STRINGS, ("PT", "NM")),
    Attribute("AttenuationCorrectionMethod", _TEXT, ("PT",)),
    Attribute("ScatterCorrectionMethod", _TEXT, ("PT",)),
    Attribute("RandomsCorrectionMethod", _TEXT, ("PT",)),
    Attribute("ReconstructionMethod", _TEXT, ("PT",)),
    Attribute("SeriesType", STRINGS, ("PT",)),
    Attribute("ActualFrameDuration", _REAL, ("PT", "NM"), "ms"),
    Attribute("PatientWeight", _REAL, ("PT", "NM"), "kg"),
    Attribute("PatientSize", _REAL, ("PT", "NM"), "m"),
    # NM
    Attribute("NumberOfDetectors", _WHOLE, ("NM",)),
    Attribute("CollimatorGridName", _TEXT, ("NM",)),
    Attribute("CollimatorType", _TEXT, ("NM",)),
    Attribute("FieldOfViewDimensions", DOUBLES, ("NM",), "mm"),
    Attribute("RadialPosition", DOUBLES, ("NM",), "mm"),
    Attribute("EnergyWindowLowerLimit", DOUBLES, ("NM",), "keV"),
    Attribute("EnergyWindowUpperLimit", DOUBLES, ("NM",), "keV"),
    Attribute("NumberOfFramesInRotation", _WHOLE, ("NM",)),
    Attribute("AngularStep", _REAL, ("NM",), "degrees"),
    Attribute("ScanArc", _REAL, ("NM",), "degrees"),
    Attribute("RotationDirection", _TEXT, ("NM",)),
    Attribute("TypeOfDetectorMotion", _TEXT, ("NM",)),
    Attribute("WholeBodyTechnique", _TEXT, ("NM",)),
    Attribute("ScanVelocity", _REAL, ("NM",), "mm/s"),
    Attribute("ScanLength", _REAL, ("NM",), "mm"),
    Attribute("CountsAccumulated", _REAL, ("NM",)),
    Attribute("ZoomFactor", DOUBLES, ("NM",)),
    Attribute("ViewCodeMeaning", _TEXT, ("NM",)),
    Attribute("PatientOrientationCodeMeaning", _TEXT, ("NM",)),
)
"""Every attribute that becomes a column, with the modalities that it is asked of."""

FREE_TEXT: tuple[str, ...] = ("SeriesDescription", "ProtocolName", "DeidentificationMethod")
"""Typed by people, may hold names: read for `select` rules, stored only where the cohort's `free_text` lists it."""


def snake_case(keyword: str) -> str:
    """A DICOM keyword as a column's name: `XRayTubeCurrent` is `x_ray_tube_current`, `KVP` is `kvp`."""
    if keyword == "CTDIvol":  # the only one whose capitals do not show its words
        return "ctdi_vol"
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", keyword).lower()


def _columns() -> list[pa.Field]:
    fields = []
    for attribute in ATTRIBUTES:
        name = snake_case(attribute.keyword)
        of = f" ({', '.join(attribute.modalities)})" if attribute.modalities else ""
        text = f"DICOM {attribute.keyword}{of}."
        fields.append(column(name, attribute.kind, text, attribute.unit))
        if attribute.range_of:
            fields.append(column(f"{name}_min", attribute.kind, f"Smallest of the slices: {text}", attribute.unit))
            fields.append(column(f"{name}_max", attribute.kind, f"Largest of the slices: {text}", attribute.unit))
    fields += [column(snake_case(k), pa.string(), f"DICOM {k}, where `free_text` allows it.") for k in FREE_TEXT]
    return fields


DERIVED: list[pa.Field] = [
    column("device_key", pa.string(), "Keyed hash of the DeviceSerialNumber."),
    column("clinical_trial_site_id", pa.string(), "Pseudonym of the ClinicalTrialSiteID."),
    column("uptake_minutes", pa.float64(), "From administration to the start of the scan.", "min"),
    column("sequence_class", pa.string(), "T1, T2, STIR, DWI, ... (MR), derived."),
    column("sequence_rule", pa.string(), "The rule that derived it."),
]
"""What is computed from attributes."""

ACQUISITION: list[pa.Field] = [*_columns(), *DERIVED]
"""All acquisition columns of the catalog."""
