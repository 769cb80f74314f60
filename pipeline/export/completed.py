"""Source headers completed, so that highdicom takes them: real ones lack much that the standard asks for.

Nothing that was there is changed but the encoding of texts, which becomes UTF-8, and an age that is none, which goes.
What is filled in is empty, or follows from the grid that the masks lie on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from pipeline.dicom.quiet import quiet
from pipeline.export.uids import uid_of
from pipeline.grid import Grid

_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Type 2: an export must carry them, if without a value."""

_AGE = re.compile(r"\d{3}[DWMY]|")
_OF_STACK = ("PixelMeasuresSequence", "PlaneOrientationSequence")


def complete(headers: Sequence[Dataset], grid: Grid) -> None:
    """Complete the headers of one series in place."""
    with quiet():
        for header in headers:
            header.decode()
            header.SpecificCharacterSet = "ISO_IR 192"
            for keyword in _MAY_BE_EMPTY:
                if keyword not in header:
                    setattr(header, keyword, "")
            if not _AGE.fullmatch(str(header.get("PatientAge", "000Y"))):
                del header.PatientAge
            if not header.get("FrameOfReferenceUID"):
                header.FrameOfReferenceUID = _made_up_frame(header)
            _complete_geometry(header, grid)


def has_made_up_frame(header: Dataset) -> bool:
    """Whether the frame of reference was made up, for the source names none."""
    return bool(header.FrameOfReferenceUID == _made_up_frame(header))


def _made_up_frame(header: Dataset) -> str:
    return uid_of("frame of reference", header.SeriesInstanceUID)


def _complete_geometry(header: Dataset, grid: Grid) -> None:
    if int(header.get("NumberOfFrames") or 1) > 1:
        if _has_shared_groups(header):
            return
        # frames without functional groups (NM): the object as one image where the stack begins
        del header.NumberOfFrames
    axes = [grid.direction[column + 3 * row] for column in (0, 1) for row in range(3)]
    values = {
        "ImageOrientationPatient": [round(cosine, 9) for cosine in axes],
        "ImagePositionPatient": [round(x, 6) for x in grid.origin_mm],
        "PixelSpacing": [round(grid.spacing_mm[1], 9), round(grid.spacing_mm[2], 9)],
        "SliceThickness": round(grid.spacing_mm[0], 9),
    }
    for keyword, value in values.items():
        if not header.get(keyword):
            setattr(header, keyword, value)


def _has_shared_groups(header: Dataset) -> bool:
    """See to it that what all frames have in common stands in the shared groups; False where no groups are."""
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        return False
    if not header.get("SharedFunctionalGroupsSequence"):
        header.SharedFunctionalGroupsSequence = Items([Dataset()])
    shared = header.SharedFunctionalGroupsSequence[0]
    for keyword in _OF_STACK:
        if keyword not in shared and keyword in frames[0]:
            setattr(shared, keyword, frames[0][keyword].value)
    return all(keyword in shared for keyword in _OF_STACK)
