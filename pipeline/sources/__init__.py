"""Where scans come from: each kind of source lists its files and opens one by its address.

files       what a file of a source is, and opening it wherever it lies
folder      a folder of this machine, through links
remote      an `s3://` prefix or any other that fsspec reads
archives    members of tar and zip
tables      manifests: a CSV or Parquet with a column `uri`, or one of the Imaging Data Commons
dicomweb    a DICOMweb server
"""
