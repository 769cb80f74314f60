"""What kinds of objects there are (PS3.4 B.5), as far as ingest treats them differently."""

from __future__ import annotations

NOT_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
    "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
}
"""SOP classes that have rows and columns and are no images of a patient."""

IMAGES: dict[str, str] = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.2.1": "CT",  # Enhanced
    "1.2.840.10008.5.1.4.1.1.2.2": "CT",  # Legacy Converted Enhanced
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.4.1": "MR",  # Enhanced
    "1.2.840.10008.5.1.4.1.1.4.4": "MR",  # Legacy Converted Enhanced
    "1.2.840.10008.5.1.4.1.1.20": "NM",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
    "1.2.840.10008.5.1.4.1.1.130": "PT",  # Enhanced
    "1.2.840.10008.5.1.4.1.1.128.1": "PT",  # Legacy Converted Enhanced
}
"""SOP classes that are images for sure, and their modality: one without rows or columns is damaged."""
