"""Where scans come from: each kind of source lists its files and opens one by its address.

files       what a file of a source is
folder      a folder of this machine, through links
remote      an `s3://` prefix, or any other that fsspec reads
archives    members of tar and zip
dicomweb    a DICOMweb server
opening     a file's bytes, wherever it lies
listing     the files of a cohort's source, of whatever kind it is, and what a manifest says of them
"""
