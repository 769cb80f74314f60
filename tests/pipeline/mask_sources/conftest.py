"""Scans as grids, and masks written by SimpleITK beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK as sitk

from pipeline.grid import Grid
from pipeline.mask_sources.image_file import grid_of


def series_grid(folder: Path) -> Grid:
    """The grid of a DICOM series, as GDCM's series reader orders it."""
    return grid_of(sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))))


@pytest.fixture(scope="session")
def sarcoma(shared_data: Path) -> Path:
    return shared_data / "sarcoma_sts001_ct_pet_mr_rtstruct"


@pytest.fixture(scope="session")
def liver(shared_data: Path) -> Path:
    return shared_data / "seg_liver_spine_dcmqi"


@pytest.fixture(scope="session")
def liver_grid(liver: Path) -> Grid:
    return series_grid(liver / "ct_image")
