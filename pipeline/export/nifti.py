"""Masks as NIfTI, named as BIDS names things, in the subject folders of VerSe.

    derivatives/spinetally-<recipe>/sub-<patient>/ses-<study>/sub-<patient>_ses-<study>_acq-<series>_ct_seg-lesion_msk.nii.gz

No BIDS standard for masks of CT lesions is in force; the suffix is that of the VerSe sets (Sekuboyina 2021). Values are
`lesion_id`, and for levels the numbers of `schemas.spine`.
"""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from pipeline.export.destination import Destination
from pipeline.export.scans import ExportScan, Masks
from pipeline.grid import Grid

_SUFFIXES = {"CT": "ct", "MR": "mr", "PT": "pet", "NM": "nm"}


def export_nifti(scan: ExportScan, masks: Masks, destination: Destination) -> list[str]:
    """Write the masks of a scan; their paths."""
    written = []
    for name, labels in (("lesion", masks.lesions), ("vert", masks.levels)):
        if labels is not None:
            path = f"{folder_of(scan.recipe_id)}/{_name(scan)}_seg-{name}_msk.nii.gz"
            written.append(destination.write(path, nifti_bytes(labels, masks.grid)))
    return written


def describe_dataset(recipe_id: str, destination: Destination) -> str:
    """Write what BIDS wants to know of a folder of derivatives; its path."""
    document = {
        "Name": f"Masks of recipe {recipe_id}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "spinetally", "Version": version("spinetally"), "Description": f"recipe {recipe_id}"}],
    }
    path = f"{folder_of(recipe_id)}/dataset_description.json"
    return destination.write(path, json.dumps(document, indent=1).encode())


def folder_of(recipe_id: str) -> str:
    """Folder of a recipe's masks."""
    return f"derivatives/spinetally-{recipe_id}"


def nifti_bytes(labels: npt.NDArray[np.uint16], grid: Grid) -> bytes:
    """A mask [z, y, x] as .nii.gz on its grid."""
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    with tempfile.TemporaryDirectory() as folder:  # SimpleITK writes files only
        path = Path(folder) / "mask.nii.gz"
        sitk.WriteImage(image, str(path), useCompression=True)
        return path.read_bytes()


def _name(scan: ExportScan) -> str:
    subject, session = f"sub-{scan.patient_key}", f"ses-{scan.study_key}"
    suffix = _SUFFIXES.get(scan.modality or "", "scan")
    return f"{subject}/{session}/{subject}_{session}_acq-{scan.series_key}_{suffix}"
