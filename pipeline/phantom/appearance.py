"""What each structure looks like on CT: HU values drawn for each structure by itself.

A network that learns "bright is bone" fails where the inside of a body is as dark as its disc, or an aorta full of
contrast medium as bright as its cortex. So no value here follows from another: each structure has its own range, and
`Style.TRAINING` draws from all of it, `Style.REALISTIC` from what an adult cohort shows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum

import numpy as np


class Style(Enum):
    """How wide the phantoms vary."""

    TRAINING = "training"
    """Much wider than reality: for training and for testing networks."""
    REALISTIC = "realistic"
    """As an adult cohort: for demonstrations."""


@dataclass(frozen=True)
class Tissues:
    """HU of the structures of one patient in one scan, and the lengths that decide how cortex looks."""

    trabecular: float
    """Inside of the vertebral bodies."""
    trabecular_spread: float
    """Standard deviation between levels."""
    trabecular_grain: float
    """Standard deviation of the texture of trabeculae."""
    marrow_patches: float
    """Amplitude of broad fatty or red marrow patches."""
    arch: float
    """Inside of the posterior elements."""
    sacrum: float
    """Inside of the sacrum."""
    rib: float
    """Inside of the ribs."""
    pelvis: float
    """Inside of other bones."""
    cortex: float
    """Walls of the bodies."""
    cortex_arch: float
    """Walls of the posterior elements."""
    cortex_other: float
    """Walls of ribs, pelvis and femora."""
    cortex_mm: float
    """Thickness of a body's wall, mm."""
    endplate_mm: float
    """Thickness of an endplate, mm."""
    cortex_arch_mm: float
    """Thickness of a posterior element's wall, mm."""
    cortex_other_mm: float
    """Thickness of other walls, mm."""
    disc: float
    """Outer ring of a disc."""
    nucleus: float
    """Inside of a disc."""
    cartilage: float
    """Joint spaces and cartilage of ribs."""
    joint_gap_mm: float
    """Width of the facet joints, mm; below 0 where they are fused."""
    csf: float
    """The canal around the cord."""
    cord: float
    """The cord."""
    muscle: float
    """Muscle."""
    muscle_fat: float
    """Share of fat in the muscles beside the spine, 0 to 1."""
    fat: float
    """Fat."""
    aorta: float
    """Arteries; high with contrast medium."""
    cava: float
    """Large veins."""
    liver: float
    """Liver."""
    spleen: float
    """Spleen and stomach wall."""
    kidney: float
    """Kidneys."""
    heart: float
    """Heart."""
    bowel: float
    """Bowel wall."""
    bowel_content: float
    """What bowel loops without gas hold."""
    lung: float
    """Lungs."""
    fluid: float
    """Bladder."""
    brain: float
    """Brain."""
    metal: float
    """Screws and prostheses."""


_REALISTIC: dict[str, tuple[float, float]] = {
    "trabecular": (80, 240), "trabecular_spread": (4, 14), "trabecular_grain": (10, 30), "marrow_patches": (5, 25),
    "arch": (90, 260), "sacrum": (40, 200), "rib": (60, 250), "pelvis": (50, 220),
    "cortex": (650, 1100), "cortex_arch": (650, 1100), "cortex_other": (800, 1300),
    "cortex_mm": (0.3, 0.7), "endplate_mm": (0.45, 0.9), "cortex_arch_mm": (0.7, 1.5), "cortex_other_mm": (0.8, 1.8),
    "disc": (70, 110), "nucleus": (60, 95), "cartilage": (50, 110), "joint_gap_mm": (0.4, 1.6),
    "csf": (5, 25), "cord": (30, 50), "muscle": (45, 65), "muscle_fat": (0.0, 0.35), "fat": (-112, -90),
    "aorta": (40, 180), "cava": (40, 150), "liver": (45, 115), "spleen": (45, 125), "kidney": (30, 190),
    "heart": (40, 150), "bowel": (30, 70), "bowel_content": (-20, 60), "lung": (-880, -780), "fluid": (0, 15),
    "brain": (28, 40), "metal": (2500, 3800),
}  # fmt: skip
_TRAINING: dict[str, tuple[float, float]] = {
    "trabecular": (20, 350), "trabecular_spread": (2, 30), "trabecular_grain": (5, 70), "marrow_patches": (0, 60),
    "arch": (20, 450), "sacrum": (-20, 350), "rib": (0, 400), "pelvis": (-20, 400),
    "cortex": (300, 1300), "cortex_arch": (350, 1400), "cortex_other": (300, 1500),
    "cortex_mm": (0.25, 1.6), "endplate_mm": (0.25, 1.8), "cortex_arch_mm": (0.6, 3.2), "cortex_other_mm": (0.5, 3.5),
    "disc": (40, 140), "nucleus": (30, 150), "cartilage": (20, 150), "joint_gap_mm": (-0.5, 2.2),
    "csf": (-30, 60), "cord": (10, 80), "muscle": (20, 80), "muscle_fat": (0.0, 0.7), "fat": (-130, -60),
    "aorta": (20, 450), "cava": (20, 350), "liver": (-10, 160), "spleen": (20, 180), "kidney": (10, 300),
    "heart": (20, 350), "bowel": (10, 110), "bowel_content": (-120, 500), "lung": (-950, -650), "fluid": (-15, 250),
    "brain": (20, 60), "metal": (1500, 6000),
}  # fmt: skip


def draw_tissues(rng: np.random.Generator, style: Style) -> Tissues:
    """Values for one patient in one scan, each drawn by itself, uniformly in its range."""
    ranges = _TRAINING if style is Style.TRAINING else _REALISTIC
    return Tissues(**{f.name: float(rng.uniform(*ranges[f.name])) for f in fields(Tissues)})
