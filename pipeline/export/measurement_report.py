"""A scan's lesions and their measurements as a DICOM SR of TID 1500, with highdicom."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from highdicom import sr
from pydicom import Dataset

from pipeline.dicom.quiet import quiet
from pipeline.export import codes
from pipeline.export.scans import ExportScan
from pipeline.export.segmentation import MANUFACTURER, series_description, settled, tracking_id, tracking_uid
from pipeline.export.uids import uid_of

_MEASURES = (
    ("volume_mm3", codes.VOLUME, codes.CUBIC_MILLIMETRE, None, codes.VOXEL_SUM),
    ("long_axis_mm", codes.LONG_AXIS, codes.MILLIMETRE, None, None),
    ("short_axis_mm", codes.SHORT_AXIS, codes.MILLIMETRE, None, None),
    ("hu_mean", codes.ATTENUATION, codes.HOUNSFIELD, codes.MEAN, None),
    ("hu_max", codes.ATTENUATION, codes.HOUNSFIELD, codes.MAXIMUM, None),
    ("suv_mean", codes.SUV, codes.SUV_UNIT, codes.MEAN, None),
    ("suv_max", codes.SUV, codes.SUV_UNIT, codes.MAXIMUM, None),
)
"""Column, what it measures, its unit, how it is derived, by which method; a NULL is left out."""


def make_report(
    scan: ExportScan, lesions: Sequence[dict[str, Any]], segmentation: Dataset, sources: Sequence[Dataset]
) -> Dataset:
    """The SR object of a scan's lesions; each group of measurements refers to its segment.

    Args:
        scan: whose result it is.
        lesions: rows of the view `lesions`; at least one.
        segmentation: the SEG object of the same lesions.
        sources: headers of the images that the scan was made of.

    Raises:
        ValueError, AttributeError: the source's headers lack what an SR needs.
    """
    observer = sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=uid_of("device", scan.recipe_id),
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=f"recipe {scan.recipe_id}",
        ),
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.PROCEDURES.get(scan.modality or "", codes.PROCEDURES["CT"]),
        imaging_measurements=[_group(scan, lesion, segmentation, sources) for lesion in lesions],
    )
    with quiet():
        made = sr.Comprehensive3DSR(
            evidence=[segmentation, *sources],
            content=content[0],
            series_instance_uid=uid_of("series", "report", scan.recipe_id, scan.series_key, scan.version),
            series_number=9003,
            sop_instance_uid=uid_of("object", "report", scan.recipe_id, scan.series_key, scan.attempt),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            is_final=False,
            series_description=series_description("measurements", scan, sources),
            manufacturer_model_name=MANUFACTURER,
            software_versions=version("spinetally"),
            device_serial_number=scan.recipe_id,
        )
    return settled(made, scan)


def _group(
    scan: ExportScan, lesion: dict[str, Any], segmentation: Dataset, sources: Sequence[Dataset]
) -> sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    number = int(lesion["lesion_id"])
    name, _, number_of_model = (scan.lesions_model or "precomputed mask").rpartition(" ")
    site = codes.site_of(lesion["level"])
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(tracking_uid(scan, number), tracking_id(number)),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(str(sources[0].SeriesInstanceUID)),
        ),
        finding_category=codes.ABNORMAL,
        finding_type=codes.LESION,
        finding_sites=[sr.FindingSite(site)] if site else None,
        algorithm_id=sr.AlgorithmIdentification(name=name, version=number_of_model),
        measurements=[
            sr.Measurement(name=what, value=float(lesion[column]), unit=unit, derivation=derivation, method=method)
            for column, what, unit, derivation, method in _MEASURES
            if lesion[column] is not None
        ],
    )
