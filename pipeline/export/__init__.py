"""Results written out for others.

tables           the views as Parquet and CSV
nifti            masks, named as BIDS and VerSe name them
dicom_objects    SEG (`segmentation`) and SR of TID 1500 (`measurement_report`), with the codes of `codes`
cohort           all of it for a store
"""

from pipeline.export.cohort import KINDS, ExportSummary, export_store

__all__ = ["KINDS", "ExportSummary", "export_store"]
