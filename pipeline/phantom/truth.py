"""What is true of a phantom cohort: a row per series, a row per lesion and study, and the files that hold them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import SimpleITK as sitk  # as its own documentation calls it

from pipeline.grid import Volume


@dataclass(frozen=True)
class SeriesTruth:
    """One series of the cohort."""

    uri: str
    """Its folder, relative to the cohort's."""
    patient_id: str
    """As in its headers."""
    study_date: str
    """YYYY-MM-DD."""
    site: str
    """Name of the site."""
    modality: str
    """CT."""
    lesions_uri: str
    """Mask of lesions, relative to the cohort's folder; empty where the series is no usable volume."""
    levels_uri: str
    """Mask of levels."""
    primary_tumour: str
    """Invented."""
    split: str
    """internal or external."""


@dataclass(frozen=True)
class LesionTruth:
    """One lesion in one study."""

    patient_id: str
    """As in the headers."""
    study_date: str
    """YYYY-MM-DD."""
    uri: str
    """Folder of the series, relative to the cohort's."""
    series_uid: str
    """SeriesInstanceUID."""
    instance: int
    """Value in the mask."""
    track: str
    """The same lesion has the same name in every study of its patient."""
    change: str
    """Against the study before: first, stable, grown, shrunk or new."""
    kind: str
    """lytic, blastic or mixed."""
    level: str
    """Level that it lies in."""
    x_mm: float
    """Centroid in LPS."""
    y_mm: float
    """Centroid in LPS."""
    z_mm: float
    """Centroid in LPS."""
    volume_mm3: float
    """Of its voxels."""
    contrast_hu: float
    """Against trabecular bone of its level."""


@dataclass(frozen=True)
class CohortTruth:
    """What was written."""

    folder: Path
    """Of the cohort."""
    dicom: Path
    """What to give as `source`."""
    manifest: Path
    """The same as a manifest, with masks and clinical columns."""
    series: tuple[SeriesTruth, ...]
    """All series, damaged ones and localizers too."""
    lesions: tuple[LesionTruth, ...]
    """All lesions of all usable series."""


def write_mask(path: Path, mask: Volume) -> None:
    """Write a mask as NIfTI on its grid; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(mask.voxels)
    image.SetSpacing(mask.grid.spacing_mm[::-1])
    image.SetOrigin(mask.grid.origin_mm)
    image.SetDirection(mask.grid.direction)
    sitk.WriteImage(image, str(path), useCompression=True)


def write_rows(
    path: Path, kind: type[SeriesTruth] | type[LesionTruth], rows: Iterable[SeriesTruth | LesionTruth]
) -> None:
    """Write rows as CSV with a header, whether there are rows or not."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(kind.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
