"""Frames: where each 2-D image of an object lies, and what may tell it from another at the same place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from pipeline.dicom.acquisition import real, reals, text

TRAITS: dict[str, str] = {
    "image_type": "ImageType",
    "stack": "StackID",
    "echo_time": "EchoTime",
    "b_value": "DiffusionBValue",
    "gradient": "DiffusionGradientOrientation",
    "temporal_position": "TemporalPositionIdentifier",
    "acquisition_number": "AcquisitionNumber",
    "trigger_time": "TriggerTime",
    "inversion_time": "InversionTime",
    "flip_angle": "FlipAngle",
    "kernel": "ConvolutionKernel",
    "kvp": "KVP",
    "acquisition_time": "AcquisitionTime",
}
"""What may tell the volumes of a series apart, by name, in the order in which it is tried."""

_NUMBERS = {
    "echo_time",
    "b_value",
    "temporal_position",
    "acquisition_number",
    "trigger_time",
    "inversion_time",
    "flip_angle",
    "kvp",
    "acquisition_time",
}
_FUNCTIONAL: dict[str, tuple[str, str]] = {
    "stack": ("FrameContentSequence", "StackID"),
    "echo_time": ("MREchoSequence", "EffectiveEchoTime"),
    "b_value": ("MRDiffusionSequence", "DiffusionBValue"),
    "temporal_position": ("FrameContentSequence", "TemporalPositionIndex"),
    "acquisition_number": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "trigger_time": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "inversion_time": ("MRModifierSequence", "InversionTimes"),
}
_PLANE = ("PlanePosition", "PlaneOrientation", "PixelMeasures")
_FRAME_TYPES = ("MRImageFrameTypeSequence", "CTImageFrameTypeSequence", "PETFrameTypeSequence")

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """One 2-D image."""

    number: int | None
    """Its place in a multi-frame object, from 0; None in a classic one."""
    position: Triple | None
    """ImagePositionPatient: centre of the first pixel as x, y, z, LPS, in mm."""
    orientation: tuple[float, ...] | None
    """ImageOrientationPatient: six cosines."""
    spacing: tuple[float, float] | None
    """PixelSpacing: distance of rows, distance of columns, in mm."""
    traits: Mapping[str, float | str]
    """Those of `TRAITS` that it has."""

    def to_list(self) -> list[Any]:
        """For JSON."""
        return [self.number, self.position, self.orientation, self.spacing, dict(self.traits)]

    @classmethod
    def from_list(cls, values: list[Any]) -> Frame:
        """The inverse of `to_list`."""
        number, position, orientation, spacing, traits = values
        return cls(number, _tuple(position), _tuple(orientation), _tuple(spacing), traits)  # type: ignore[arg-type]


def frames_of(dataset: Dataset) -> list[Frame]:
    """The frames of an image."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        traits = {name: _trait(name, dataset.get(keyword)) for name, keyword in TRAITS.items()}
        return [_frame(None, dataset, dataset, dataset, traits)]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    return [_functional_frame(number, groups, shared) for number, groups in enumerate(per_frame)]


def _functional_frame(number: int, groups: Dataset, shared: Dataset) -> Frame:
    def group(sequence: str) -> Dataset:
        for level in (groups, shared):
            if level.get(sequence):
                return level[sequence].value[0]
        return Dataset()

    traits = {name: _trait(name, group(sequence).get(keyword)) for name, (sequence, keyword) in _FUNCTIONAL.items()}
    gradient = group("MRDiffusionSequence").get("DiffusionGradientDirectionSequence") or [Dataset()]
    traits["gradient"] = _trait("gradient", gradient[0].get("DiffusionGradientOrientation"))
    for sequence in _FRAME_TYPES:
        traits["image_type"] = traits.get("image_type") or _trait("image_type", group(sequence).get("FrameType"))
    position, orientation, measures = (group(f"{name}Sequence") for name in _PLANE)
    return _frame(number, position, orientation, measures, traits)


def _frame(
    number: int | None, position: Dataset, orientation: Dataset, measures: Dataset, traits: dict[str, Any]
) -> Frame:
    return Frame(
        number,
        _numbers(position.get("ImagePositionPatient"), 3),  # type: ignore[arg-type]
        _numbers(orientation.get("ImageOrientationPatient"), 6),
        _numbers(measures.get("PixelSpacing"), 2),  # type: ignore[arg-type]
        {name: value for name, value in traits.items() if value is not None},
    )


def _trait(name: str, value: Any) -> float | str | None:
    if value is None:
        return None
    return real(value) if name in _NUMBERS else text(value)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    numbers = reals(value)
    return tuple(numbers) if numbers is not None and len(numbers) == count else None


def _tuple(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
