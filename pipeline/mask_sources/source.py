"""A mask as its file holds it, and what the file says it was drawn on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.errors import ScanError
from pipeline.grid import Grid
from schemas.reasons import Reason
from schemas.spine import BY_NAME, LEVELS

Labels = npt.NDArray[np.uint16]
"""[z, y, x], 0 is background."""


@dataclass(frozen=True)
class SourceMask:
    """What a file holds, before it is brought onto the scan."""

    values: Labels
    """[z, y, x]; where a file holds segments, their place in its list, from 1."""
    grid: Grid
    """Where they lie."""
    levels: dict[int, int] | None = None
    """Value to the number of a level, where the file itself names them; None where a table must."""


@dataclass(frozen=True)
class ScanIdentity:
    """What a scan is called in DICOM, so that a mask can be held against it. What is None or empty is not checked."""

    series: str | None = None
    """Its SeriesInstanceUID, in the form that `key` gives."""
    frame_of_reference: str | None = None
    """Its FrameOfReferenceUID, in that form."""
    instances: frozenset[str] = frozenset()
    """Its SOPInstanceUIDs, in that form."""
    key: Callable[[str], str] = str
    """Turns a UID of the mask into that form."""


@dataclass
class References:
    """What a SEG or an RTSTRUCT says it was drawn on."""

    series: set[str] = field(default_factory=set)
    """SeriesInstanceUIDs."""
    instances: set[str] = field(default_factory=set)
    """SOPInstanceUIDs of the images behind what is drawn."""
    frames_of_reference: set[str] = field(default_factory=set)
    """FrameOfReferenceUIDs."""

    def check(self, scan: ScanIdentity | None) -> None:
        """Refuse a mask of other images.

        A mask drawn on another series is welcome where both share a frame of reference, for then it lies in the same
        patient space (DICOM PS3.3 C.7.4.1).

        Raises:
            ScanError: MASK_REFERENCE.
        """
        if scan is None or self._agree(scan.key, self.frames_of_reference, {scan.frame_of_reference}):
            return
        named = self._agree(scan.key, self.instances, set(scan.instances))
        if named is None:
            named = self._agree(scan.key, self.series, {scan.series})
        if named is None:
            named = not (self.frames_of_reference and scan.frame_of_reference)
        if not named:
            raise ScanError(
                Reason.MASK_REFERENCE,
                f"the mask refers to {len(self.instances)} images of {len(self.series)} series; neither they "
                "nor their frame of reference are this scan's: name the mask that was drawn on this scan",
            )

    @staticmethod
    def _agree(key: Callable[[str], str], theirs: set[str], ours: set[str | None]) -> bool | None:
        """Whether they share one; None where either says nothing."""
        known = {uid for uid in ours if uid}
        return bool({key(uid) for uid in theirs} & known) if theirs and known else None


_SACRAL = {f"S{i}": "SACRUM" for i in range(1, 6)}
_WORD = re.compile(r"(?<![A-Z0-9])([CTLS]\d{1,2}|SACRUM|COCCYX)(?![A-Z0-9])")


_DISEASE = re.compile(r"GTV|CTV|PTV|LESION|METAST|TUMOU?R|MASS|CANCER|NEOPLAS|(?<![A-Z])METS?(?![A-Z])")
_WEIGHTING = re.compile(r"(?<![A-Z0-9])MRI?(?![A-Z0-9])")
"""T1 and T2 beside this word are no vertebrae."""


def is_disease(text: str) -> bool:
    """Whether a segment's label names a lesion, such as `GTV_Mass_MR_T1`, wherever it lies."""
    return _DISEASE.search(text.upper()) is not None


def level_by_name(text: str) -> int | None:
    """The level that a segment's label names, such as `L3 vertebra` or `vertebrae_T12`; None where it names none."""
    if _WEIGHTING.search(text.upper().replace("_", " ")):
        text = re.sub(r"(?i)(?<![a-z0-9])t[12](?![0-9])", " ", text.replace("_", " "))
    found = {_SACRAL.get(word, word) for word in _WORD.findall(text.upper().replace("_", " "))}
    known = [BY_NAME[word].number for word in found if word in BY_NAME]
    return known[0] if len(known) == 1 and len(found) == 1 else None


def level_by_code(code: str, scheme: str) -> int | None:
    """The level of a SNOMED CT code; None where it is none."""
    if scheme not in {"SCT", "SNM3", "SRT"}:
        return None
    return next((level.number for level in LEVELS if level.snomed == code), None)
