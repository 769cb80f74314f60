"""Frames: where each 2-D image of an object lies, and what may tell it from another at the same place."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom import Dataset

from pipeline.dicom.acquisition import real, reals, text
from pipeline.dicom.diffusion import private_component, private_diffusion, private_diffusion_of_group
from pipeline.grid import Floats

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
    "frame_reference_time": "FrameReferenceTime",
    "component": "",
    "energy_window": "",
    "detector": "",
    "time_slot": "",
    "view": "",
    "acquisition_time": "AcquisitionTime",
}
"""What may tell the volumes of a series apart, by name, in the order in which it is tried, and its classic keyword."""

_COMPONENTS = ("MAGNITUDE", "PHASE", "REAL", "IMAGINARY", "MIXED")
"""ComplexImageComponent of enhanced MR; numbered as GE's private element numbers them in classic images."""

TEXTS = {"image_type", "stack", "gradient", "kernel", "view"}
"""Traits that are text; the others are numbers."""

PLACE_KEYWORDS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
"""What says where a classic image lies."""

CLASSIC_KEYWORDS: tuple[str, ...] = (*PLACE_KEYWORDS, *(keyword for keyword in TRAITS.values() if keyword))
"""What a classic image says of its one frame."""

MOVING_KEYWORDS = ("ImagePositionPatient", "AcquisitionTime")
"""Of these, what differs from slice to slice; the time is the last trait."""

_FUNCTIONAL: dict[str, tuple[str, str]] = {
    "stack": ("FrameContentSequence", "StackID"),
    "echo_time": ("MREchoSequence", "EffectiveEchoTime"),
    "b_value": ("MRDiffusionSequence", "DiffusionBValue"),
    "temporal_position": ("FrameContentSequence", "TemporalPositionIndex"),
    "acquisition_number": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "trigger_time": ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime"),
    "inversion_time": ("MRModifierSequence", "InversionTimes"),
}
_PLANE = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
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


def positions_of(frames: Sequence[Frame]) -> Floats:
    """(n, 3) ImagePositionPatient of frames; NaN where there is none."""
    nowhere = (math.nan,) * 3
    return np.array([frame.position or nowhere for frame in frames], dtype=np.float64).reshape(-1, 3)


def has_functional_groups(dataset: Dataset) -> bool:
    """Whether an object says of each frame where it lies (PS3.3 C.7.6.16)."""
    return bool(dataset.get("PerFrameFunctionalGroupsSequence"))


def frames_of(dataset: Dataset, *, traits: bool = True) -> list[Frame]:
    """The frames of an image by its functional groups, or the one of a classic image; with their traits or without."""
    if not has_functional_groups(dataset):
        if not traits:
            return [frame(None, *(dataset.get(keyword) for keyword in PLACE_KEYWORDS), traits={})]
        return [classic_frame(dataset)]
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = dataset.PerFrameFunctionalGroupsSequence
    return [_functional_frame(number, group, shared) for number, group in enumerate(groups)]


def classic_frame(dataset: Dataset) -> Frame:
    """The frame of a classic image."""
    values = {keyword: dataset.get(keyword) for keyword in CLASSIC_KEYWORDS}
    if values["DiffusionBValue"] is None:
        values |= private_diffusion(dataset)
    traits = {name: values.get(keyword) for name, keyword in TRAITS.items() if keyword}
    traits["component"] = private_component(dataset)
    return frame(None, *(values.get(keyword) for keyword in PLACE_KEYWORDS), traits=traits)


def moved(steady: Frame, values: Mapping[str, Any]) -> Frame:
    """A classic frame at the place and time that `values` give by `MOVING_KEYWORDS`."""
    time = real(values.get("AcquisitionTime"))
    traits = steady.traits if time is None else {**steady.traits, "acquisition_time": time}
    position = _numbers(values.get("ImagePositionPatient"), 3)
    return Frame(steady.number, position, steady.orientation, steady.spacing, traits)  # type: ignore[arg-type]


def frame(number: int | None, position: Any, orientation: Any, spacing: Any, *, traits: Mapping[str, Any]) -> Frame:
    """A frame from values as a header has them; what is no number or of another count is missing."""
    return Frame(
        number,
        _numbers(position, 3),  # type: ignore[arg-type]
        _numbers(orientation, 6),
        _numbers(spacing, 2),  # type: ignore[arg-type]
        {name: value for name, raw in traits.items() if (value := _trait(name, raw)) is not None},
    )


def _functional_frame(number: int, groups: Dataset, shared: Dataset) -> Frame:
    def group(sequence: str) -> Dataset:
        """The item of a macro: the frame's own, else that of all frames."""
        for level in (groups, shared):
            if level.get(sequence):
                return level[sequence].value[0]
        return Dataset()

    traits = {name: group(sequence).get(keyword) for name, (sequence, keyword) in _FUNCTIONAL.items()}
    gradient = group("MRDiffusionSequence").get("DiffusionGradientDirectionSequence") or [Dataset()]
    traits["gradient"] = gradient[0].get("DiffusionGradientOrientation")
    if traits["b_value"] is None:
        found = {k: v for level in (shared, groups) for k, v in private_diffusion_of_group(level).items()}
        traits["b_value"] = found.get("DiffusionBValue")
        traits["gradient"] = found.get("DiffusionGradientOrientation", traits["gradient"])
    component = text(group("MRImageFrameTypeSequence").get("ComplexImageComponent"))
    traits["component"] = _COMPONENTS.index(component) if component in _COMPONENTS else None
    for sequence in _FRAME_TYPES:
        traits["image_type"] = traits.get("image_type") or group(sequence).get("FrameType")
    place = [group(sequence).get(keyword) for sequence, keyword in zip(_PLANE, PLACE_KEYWORDS, strict=True)]
    return frame(number, *place, traits=traits)


def _trait(name: str, value: Any) -> float | str | None:
    return text(value) if name in TEXTS else real(value)


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    numbers = reals(value)
    return tuple(numbers) if numbers is not None and len(numbers) == count else None


def _tuple(values: list[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values)
