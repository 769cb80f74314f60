"""Nuclear medicine: what a multi-frame object of gamma cameras holds (PS3.3 C.8.4).

Its third ImageType says what the frames are. Only reconstructed slices are a volume; planar views are pictures of their
own, [1, y, x], measured by area; projections, dynamic and gated pictures are neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydicom import Dataset

from pipeline.dicom.acquisition import real, reals, text
from pipeline.dicom.frames import Frame, frame

PLANAR = {"STATIC", "WHOLE BODY"}
"""Views."""
NOT_VOLUMES = {"TOMO", "GATED TOMO", "DYNAMIC", "GATED"}
"""Projections, and pictures over time."""

_VECTORS = {
    "energy_window": "EnergyWindowVector",
    "detector": "DetectorVector",
    "time_slot": "TimeSlotVector",
}


def picture_kind(image_type: Sequence[str] | None) -> str | None:
    """The third value of an ImageType: RECON TOMO, STATIC, WHOLE BODY, ...; None where there is none."""
    return image_type[2].strip().upper() if image_type and len(image_type) > 2 else None


def is_planar(common: Mapping[str, Any]) -> bool:
    """Whether the common part of a header is that of planar views."""
    return common.get("modality") == "NM" and picture_kind(common["attributes"].get("ImageType")) in PLANAR


def frames_of(dataset: Dataset) -> list[Frame]:
    """The frames of a multi-frame NM object; empty where it is none."""
    vectors = {name: reals(dataset.get(keyword)) for name, keyword in _VECTORS.items()}
    count = int(real(dataset.get("NumberOfFrames")) or 1)
    if not any(vectors.values()) or count > 100_000:
        return []
    detectors = dataset.get("DetectorInformationSequence") or [Dataset()]
    slices = reals(dataset.get("SliceVector"))
    step = real(dataset.get("SpacingBetweenSlices"))
    frames = []
    for number in range(count):
        traits: dict[str, Any] = {
            name: values[number] for name, values in vectors.items() if values is not None and number < len(values)
        }
        detector = detectors[min(int(traits.get("detector", 1)), len(detectors)) - 1]
        traits["view"] = _view(detector)
        position = _position(detector, slices[number] if slices and number < len(slices) else None, step)
        orientation = detector.get("ImageOrientationPatient")
        frames.append(frame(number, position, orientation, dataset.get("PixelSpacing"), traits=traits))
    return frames


def _view(detector: Dataset) -> str | None:
    codes = detector.get("ViewCodeSequence")
    return text(codes[0].get("CodeMeaning")) if codes else None


def _position(detector: Dataset, slice_number: float | None, step: float | None) -> list[float] | None:
    """Where a reconstructed slice lies: the detector's position is that of the first.

    The sign of SpacingBetweenSlices is the direction along row x column (PS3.3 C.8.4.15).
    """
    first, cosines = reals(detector.get("ImagePositionPatient")), reals(detector.get("ImageOrientationPatient"))
    if slice_number is None or first is None or cosines is None or len(first) + len(cosines) != 9:
        return first
    if step is None:  # of the first slice alone it is known where it lies
        return first if slice_number == 1 else None
    normal = np.cross(cosines[:3], cosines[3:])
    return [float(x) for x in np.array(first) + (slice_number - 1) * step * normal]
