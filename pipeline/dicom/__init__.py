"""DICOM, from bytes to a volume whose geometry has been checked.

headers      a file's header -> the few facts that index needs
acquisition  a header -> acquisition columns, from classic attributes and functional groups
parts        the frames of one series -> its volumes
geometry     positions and orientations -> one regular grid, or what is wrong with it
decode       encoded pixels -> stored values
values       stored values -> rescaled values in the smallest exact type
tilt         slices of a tilted gantry -> a straight grid
suv, nm      what PET and nuclear medicine have of their own
reader       all of it: the files of one entry -> a volume and its columns
"""
