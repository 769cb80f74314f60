"""Masks that exist already, brought onto the grid of their scan.

A file is fetched (`fetch`), read as it is (`image_file`: NIfTI, NRRD, MetaImage; `segmentation`: DICOM SEG;
`contours`: RTSTRUCT, filled by `rasterise`), its values become lesions or levels (`instances`), and those are brought
onto the scan's grid (`placement`), voxel by voxel or resampled with the change in volume. `read` does all of it.
"""

from pipeline.mask_sources.read import read_as_drawn, read_mask
from pipeline.mask_sources.source import ScanIdentity

__all__ = ["ScanIdentity", "read_as_drawn", "read_mask"]
