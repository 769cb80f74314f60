"""DICOM, from bytes to a volume whose geometry has been checked.

For index, by headers alone:
headers      a file's header -> the few facts that index needs (`elements` finds them fast, `part10` by pydicom)
frames       where each 2-D image lies, and its traits (`diffusion`: those in private elements)
parts        the frames of one series -> its volumes; `refusals`: those that are none
acquisition  a header -> acquisition attributes; `sequence`: the class of an MR sequence of them
series_columns   the headers of a volume -> columns of the catalog

For ingest:
decode       encoded pixels -> stored values
values       stored values -> rescaled values in the smallest exact type; `units`: what they mean
geometry     positions and orientations -> one regular grid, or what is wrong with it
repair       missing slices and tilted gantries -> a straight, full grid
suv, nm      what PET and nuclear medicine have of their own
reader       all of it: the files of one entry -> a volume and its columns
"""
