"""The two sites of the phantom cohort and what each of its patients stands for."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.grid import Triple
from pipeline.phantom.dicom import Acquisition
from pipeline.phantom.scanner import Scanner


@dataclass(frozen=True)
class Site:
    """A hospital with one scanner and one protocol."""

    name: str
    """As in the manifest."""
    split: str
    """What its scans are for in an evaluation."""
    spacing_mm: Triple
    """z, y, x."""
    acquisition: Acquisition
    """What its headers say."""
    scanner: Scanner
    """How its images look."""


SITES: tuple[Site, Site] = (
    Site(
        name="north",
        split="internal",
        spacing_mm=(2.5, 0.9375, 0.9375),
        acquisition=Acquisition(
            "North Phantom Hospital", "PHANTOM WORKS", "Helix 64", "CTNORTH", "STANDARD", 120.0, 240, 600
        ),
        scanner=Scanner(blur_mm=0.65, slice_mm=2.5, sharpen=0.0, noise_hu=12.0, noise_mm=1.4, streak_hu=1.5),
    ),
    Site(
        name="south",
        split="external",
        spacing_mm=(4.0, 1.125, 1.125),
        acquisition=Acquisition(
            "South Phantom Clinic", "EXAMPLE IMAGING", "Spiral 16", "CTSOUTH", "SHARP60", 130.0, 180, 800,
            intercept=0, last_slice_first=True,
        ),
        scanner=Scanner(blur_mm=0.5, slice_mm=4.0, sharpen=0.45, noise_hu=20.0, noise_mm=0.8, streak_hu=4.0),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Role:
    """What one patient of the cohort stands for."""

    site: int
    """Index of its site."""
    levels: tuple[str, str]
    """First and last level in view."""
    lesions: tuple[int, int]
    """Least and most lesions of the first study."""
    followed: bool = False
    """Whether there is a second study."""
    localizer: bool = False
    """Whether the first study has a localizer too."""
    damaged: bool = False
    """Whether the first study has a cut and a gapped series too."""


ROLES = (
    Role(0, ("T10", "SACRUM"), (3, 5), followed=True, localizer=True),
    Role(1, ("T8", "SACRUM"), (2, 5), damaged=True),
    Role(0, ("T9", "L4"), (0, 0)),
    Role(1, ("T3", "L2"), (3, 6), followed=True),
    Role(0, ("T1", "T12"), (2, 4)),
    Role(1, ("T11", "SACRUM"), (1, 3)),
)
"""Taken in turn; a small cohort has the most telling ones."""

PRIMARIES = ("breast", "prostate", "lung", "kidney", "thyroid", "myeloma")

LOCALIZER = ("ORIGINAL", "PRIMARY", "LOCALIZER")
"""ImageType of a scout."""
