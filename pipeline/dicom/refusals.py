"""What the headers alone tell to be no volume, so that no pixel is read of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.dicom import nm
from pipeline.dicom.parts import Part, is_localizer
from schemas.reasons import Reason

_MOSAICS = {"MOSAIC", "VFRAME"}
"""As Siemens and UIH call it in the ImageType."""


def refusal(common: Mapping[str, Any], part: Part, n_voxels: int, *, max_voxels: int) -> tuple[Reason, str] | None:
    """Why the slices of a part cannot be a volume, with a sentence; None where nothing speaks against it."""
    samples = common.get("samples", 1)
    image_type = [str(value).upper() for value in common.get("attributes", {}).get("ImageType") or ()]
    kind = nm.picture_kind(image_type)
    if samples != 1 or common.get("photometric") == "PALETTE COLOR":
        return Reason.COLOUR, f"pixels are colours ({samples} samples each); one measured value is allowed"
    if not _MOSAICS.isdisjoint(image_type):
        return (
            Reason.MOSAIC,
            f"{len(part.slices)} images of {common['rows']} x {common['columns']} pixels, each with the tiles of a "
            "whole volume: convert the series with dcm2niix and give the NIfTI",
        )
    if all(is_localizer(each) for each in part.slices):
        return Reason.LOCALIZER, f"{len(part.slices)} scout images, for planning only"
    if common.get("modality") == "NM" and kind in nm.NOT_VOLUMES:
        return Reason.NOT_A_VOLUME, f"frames of the kind {kind} are no slices: give the reconstructed series"
    if n_voxels > max_voxels:
        return Reason.TOO_LARGE, f"{n_voxels} voxels; limits.max_voxels allows {max_voxels}"
    return None
