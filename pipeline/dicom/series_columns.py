"""What the headers of a volume's slices say together: columns of the catalog."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.dicom.acquisition import clock
from pipeline.dicom.geometry import axes, places
from pipeline.dicom.headers import Header
from pipeline.dicom.parts import Slice
from pipeline.dicom.sequence import sequence_of
from pipeline.errors import ScanError
from pipeline.identity import Identity
from schemas.acquisition import ATTRIBUTES, FREE_TEXT, snake_case

_OF_FRAMES = {
    "echo_time": "EchoTime",
    "b_value": "DiffusionBValue",
    "inversion_time": "InversionTime",
    "view": "ViewCodeMeaning",
}


def series_columns(
    common: Mapping[str, Any], headers: Sequence[Header], slices: Sequence[Slice], *, identity: Identity
) -> dict[str, Any]:
    """Acquisition and expected geometry of a volume.

    Free text is among it, for selection; ingest leaves out what the cohort does not allow.
    """
    attributes = {**common.get("attributes", {}), **_own_traits(slices)}
    columns = acquisition_columns(str(common.get("modality")), attributes, headers)
    if common.get("modality") == "MR":
        columns["sequence_class"], columns["sequence_rule"] = sequence_of(attributes)
    columns |= {
        "frame_of_reference_key": _key(identity, common.get("frame_of_reference_uid")),
        "device_key": _key(identity, common.get("device_serial")),
        "clinical_trial_site_id": identity.site_pseudonym(common["trial_site"]) if "trial_site" in common else None,
        "transfer_syntax": common.get("transfer_syntax"),
        "n_instances": len(headers),
    }
    return {name: value for name, value in (columns | _geometry(slices)).items() if value is not None}


def acquisition_columns(modality: str, attributes: Mapping[str, Any], headers: Sequence[Header]) -> dict[str, Any]:
    """The acquisition attributes asked of a modality, by column; the median of those that vary from slice to slice."""
    columns: dict[str, Any] = {}
    for attribute in ATTRIBUTES:
        if attribute.modalities and modality not in attribute.modalities:
            continue
        name = snake_case(attribute.keyword)
        varying = [h.varying[attribute.keyword] for h in headers if attribute.keyword in h.varying]
        columns[name] = statistics.median(varying) if varying else attributes.get(attribute.keyword)
        if attribute.range_of and varying:
            columns |= {f"{name}_min": min(varying), f"{name}_max": max(varying)}
    return columns | {snake_case(k): attributes.get(k) for k in FREE_TEXT}


def _own_traits(slices: Sequence[Slice]) -> dict[str, Any]:
    """What the frames of a volume say themselves: an object of many frames may hold several echoes or views."""
    traits = slices[0].frame.traits
    found: dict[str, Any] = {keyword: traits[name] for name, keyword in _OF_FRAMES.items() if name in traits}
    if "image_type" in traits:
        found["ImageType"] = str(traits["image_type"]).split("\\")
    if slices[0].frame.orientation is not None:
        found["ImageOrientationPatient"] = list(slices[0].frame.orientation)
    times = [float(time) for s in slices if (time := s.frame.traits.get("acquisition_time")) is not None]
    found["AcquisitionTime"] = clock(f"{min(times):013.6f}") if times else None
    return found


def _key(identity: Identity, uid: str | None) -> str | None:
    return identity.uid_key(uid) if uid else None


def _geometry(slices: Sequence[Slice]) -> dict[str, Any]:
    """Shape and spacing as far as the headers tell, for selection; ingest computes both anew."""
    first = slices[0].frame
    rows, columns = slices[0].shape
    if first.orientation is None or first.spacing is None or any(s.frame.position is None for s in slices):
        return {"shape": [len(slices), rows, columns]}
    try:
        matrix = axes(np.array(first.orientation))
    except ScanError:
        return {"shape": [len(slices), rows, columns]}
    along, _ = places(np.array([s.frame.position for s in slices]), matrix[:, 2])
    step = float((along[-1] - along[0]) / (len(along) - 1)) if len(along) > 1 else None
    return {
        "shape": [len(along), rows, columns],
        "spacing_mm": [step, *first.spacing] if step else None,
        "direction": matrix.ravel().tolist(),
        "computed_spacing_mm": step,
    }
