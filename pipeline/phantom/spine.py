"""The spine of one patient: which levels there are, how large they are, and where they stand.

Sizes of a medium adult in mm, between the listed levels interpolated: vertebral bodies and pedicles after Panjabi et
al., Spine 1991-1993 (cervical, thoracic and lumbar human vertebrae), rounded, discs after the usual radiographic
ranges. They are a phantom's, not a reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.grid import Floats
from pipeline.phantom.shapes import rotation_xyz
from schemas.spine import level_number

_AT = (2.0, 3.0, 7.0, 8.0, 11.0, 13.0, 16.0, 19.0, 20.0, 22.0, 24.0)  # C2 C3 C7 T1 T4 T6 T9 T12 L1 L3 L5
_SIZES: dict[str, tuple[float, ...]] = {
    "width": (17, 17, 21, 26, 26, 29, 32, 39, 42, 47, 52),
    "depth": (15, 15, 16, 17, 21, 26, 29, 31, 32, 34, 35),
    "height": (20, 14, 14.5, 16, 18, 20, 22, 25, 26, 27, 27),
    "disc": (5, 5, 5, 4.5, 4, 4.2, 5, 7, 8, 10, 10),
    "canal_width": (24, 23, 23, 20, 17, 16.5, 17, 20, 22, 23, 26),
    "canal_depth": (17, 15, 14.5, 15, 15.5, 15.5, 15.5, 16, 17, 17, 17.5),
    "pedicle": (3.0, 2.6, 3.2, 4, 2.6, 2.5, 3.2, 4, 4, 5, 8),
    "pedicle_height": (4.5, 3.3, 3.6, 4.8, 5.5, 5.8, 7, 7.8, 7.6, 7.3, 7.5),
    "transverse_x": (26, 27, 34, 37, 33, 32, 30, 24, 36, 46, 45),
    "transverse_y": (-4, -3, 4, 12, 20, 24, 24, 18, 14, 17, 14),
    "transverse_z": (-3, -2, 0, 4, 5, 4, 2, 0, 2, 3, 6),
    "transverse": (3.5, 3.2, 4, 4.8, 4.8, 4.8, 4.5, 4.5, 3.4, 3.4, 5),
    "spinous": (20, 15, 30, 30, 28, 28, 26, 24, 29, 31, 22),
    "spinous_drop": (20, 20, 25, 30, 50, 58, 48, 22, 12, 8, 10),
    "spinous_height": (6, 3.5, 4, 4.5, 4.5, 4.5, 5, 6.5, 7.5, 7.8, 6),
    "lamina": (2.4, 2, 2.4, 3, 3.2, 3.2, 3.2, 3.5, 3.5, 3.5, 3.5),
    "lamina_height": (6, 5, 6, 7.5, 8.5, 9, 10, 10.5, 10, 9.5, 8),
    "articular_x": (19, 19, 18, 15, 13, 12.5, 13, 13, 14, 16.5, 22),
    "articular": (5, 4.8, 4.8, 4, 4, 4, 4.2, 5, 5.5, 6, 6.5),
}
_TILT_AT = (1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 13.0, 16.0, 19.0, 20.0, 22.0, 23.0, 24.0, 25.0)
_TILT = (-4.0, -6.0, 0.0, 12.0, 23.0, 20.0, 8.0, -4.0, -13.0, -13.0, -3.0, 6.0, 20.0, 40.0)  # 25: the sacrum


@dataclass(frozen=True)
class Sizes:
    """Measures of one vertebra in mm (drop: degrees); x left, y back from the posterior wall, z up from the centre."""

    width: float
    depth: float
    height: float
    disc: float
    canal_width: float
    canal_depth: float
    pedicle: float
    pedicle_height: float
    transverse_x: float
    transverse_y: float
    transverse_z: float
    transverse: float
    spinous: float
    spinous_drop: float
    spinous_height: float
    lamina: float
    lamina_height: float
    articular_x: float
    articular: float


@dataclass(frozen=True)
class Wear:
    """What age and disease did to one vertebra and the disc below it."""

    front_loss: float = 0.0
    """Share of the anterior height that a wedge fracture took."""
    middle_loss: float = 0.0
    """Share of the height lost in the middle (biconcave)."""
    rim: float = 0.0
    """How far the rims of the endplates stick out, in mm."""
    osteophytes: tuple[tuple[float, float, float], ...] = ()
    """Each: azimuth in degrees (0 left, -90 front), side (+1 top, -1 bottom), size in mm."""
    endplate_sclerosis: float = 0.0
    """HU added beside the disc below."""
    vacuum: bool = False
    """Gas in the disc below."""
    dents: tuple[tuple[float, float, float, float], ...] = ()
    """Schmorl's nodes; each: x and y as a share of the half width and depth, side (+1 top, -1 bottom), size in mm."""
    islands: tuple[tuple[float, float, float, float], ...] = ()
    """Small dense spots that are no lesions; each: x, y, z as a share of the half sides, radius in mm."""
    vein: float = 0.0
    """How clearly the channel of the basivertebral vein shows, 0 to 1."""


@dataclass(frozen=True)
class Vertebra:
    """One vertebra (or the first sacral one) in its place."""

    name: str
    """Level."""
    number: int
    """Value in a mask."""
    rank: float
    """Position on the scale C1 = 1, T1 = 8, L1 = 20, L5 = 24; between these for T13 and L6."""
    centre: Floats
    """Middle of the body in the patient's frame, mm."""
    rotation: Floats
    """Columns: its left, posterior and superior axes."""
    sizes: Sizes
    """Measures in mm."""
    wear: Wear = field(default_factory=Wear)
    """What age and disease did to it."""
    concavity: float = 1.5
    """Depth of the endplates' hollow, mm."""
    phase: float = 0.0
    """Where its surface's ripples start, radians."""

    def place(self, local: tuple[float, float, float]) -> Floats:
        """A point of its own frame in the patient's frame."""
        return self.centre + self.rotation @ np.asarray(local, dtype=np.float64)


@dataclass(frozen=True)
class Spine:
    """All vertebrae of a patient from the top down, and the sacrum."""

    vertebrae: tuple[Vertebra, ...]
    """C1 to the last lumbar one."""
    sacrum: Vertebra
    """Frame and size of S1."""
    scale: float
    """Size against a medium adult."""

    def track(self) -> Floats:
        """Middles of the bodies (n, 3) from bottom to top, in mm."""
        return np.array([v.centre for v in (self.sacrum, *reversed(self.vertebrae))])

    def height_of(self, rank: float) -> float:
        """Where a rank (C1 = 1 ... L5 = 24, S1 = 25) lies, z in mm."""
        ranks = [v.rank for v in self.vertebrae] + [25.0]
        return float(np.interp(rank, ranks, [*(v.centre[2] for v in self.vertebrae), self.sacrum.centre[2]]))


def sizes_of(rank: float, scale: float, jitter: Floats) -> Sizes:
    """Measures at a rank, scaled, each with its own factor of `jitter` (19 numbers about 1)."""
    values = {}
    for (name, table), factor in zip(_SIZES.items(), jitter, strict=True):
        value = float(np.interp(rank, _AT, table))
        values[name] = value if name == "spinous_drop" else value * scale * float(factor)
    return Sizes(**values)


def _levels(rng: np.random.Generator) -> list[tuple[str, float]]:
    cervical = [(f"C{i}", float(i)) for i in range(1, 8)]
    thoracic = [(f"T{i}", 7.0 + i) for i in range(1, 13)]
    lumbar = [(f"L{i}", 19.0 + i) for i in range(1, 6)]
    variant = rng.random()
    if variant < 0.04:
        thoracic.append(("T13", 19.5))
    elif variant < 0.09:
        lumbar.append(("L6", 24.3))
    elif variant < 0.13:
        lumbar.pop()
    elif variant < 0.15:
        thoracic.pop()
    return cervical + thoracic + lumbar


def _smooth(rng: np.random.Generator, n: int, amplitude: float, knots: int) -> Floats:
    """A smooth random curve of n values."""
    return np.interp(np.linspace(0, knots - 1, n), range(knots), rng.normal(0, amplitude, knots))


def draw_wear(rng: np.random.Generator, rank: float, age: float) -> Wear:
    """Wear of one vertebra; `age` from 0 (young) to 1 (old) raises the odds."""
    mobile = rank > 18 or 4 <= rank <= 7
    fracture = rng.random() < 0.08 * age * (rank > 10)
    n_spurs = int(rng.poisson(2.2 * age * (1.3 if mobile else 0.7)))
    spurs = tuple(
        (float(rng.uniform(-200, 20)), float(rng.choice((-1, 1))), float(rng.uniform(1.5, 4.5))) for _ in range(n_spurs)
    )
    return Wear(
        front_loss=float(rng.uniform(0.15, 0.5)) if fracture else float(rng.uniform(-0.04, 0.08)),
        middle_loss=float(rng.uniform(0.1, 0.3)) if rng.random() < 0.08 * age else 0.0,
        rim=float(rng.uniform(0, 1.2 + 1.5 * age)),
        osteophytes=spurs,
        endplate_sclerosis=float(rng.uniform(40, 220)) if rng.random() < 0.2 * age else 0.0,
        vacuum=bool(rng.random() < 0.12 * age * mobile),
        dents=tuple(_dent(rng) for _ in range(int(rng.poisson(0.25)))) if rank > 10 else (),
        islands=tuple(_island(rng) for _ in range(int(rng.poisson(0.12)))),
        vein=float(max(rng.uniform(-0.5, 1.0), 0)),
    )


def _dent(rng: np.random.Generator) -> tuple[float, float, float, float]:
    x, y = rng.uniform(-0.55, 0.55, 2)
    return float(x), float(y), float(rng.choice((-1, 1))), float(rng.uniform(2.5, 5))


def _island(rng: np.random.Generator) -> tuple[float, float, float, float]:
    x, y, z = rng.uniform(-0.7, 0.7, 3)
    return float(x), float(y), float(z), float(rng.uniform(1.0, 2.6))


def draw_spine(rng: np.random.Generator) -> Spine:
    """A spine with the middle of L3 (or its neighbour) at the origin of the patient's frame."""
    scale, age = float(np.clip(rng.normal(1.0, 0.08), 0.8, 1.2)), float(rng.uniform(0, 1))
    levels = _levels(rng)
    n = len(levels) + 1
    ranks = np.array([rank for _, rank in levels] + [25.0])
    bend = float(rng.normal(1.0, 0.25))
    pitch = np.interp(ranks, _TILT_AT, _TILT) * bend + _smooth(rng, n, 4.0, 6) + rng.normal(0, 1.0, n)
    curve = abs(rng.normal(0, 1)) * (4.0 if rng.random() < 0.3 else 1.5)
    roll = _smooth(rng, n, curve, 6)
    yaw = _smooth(rng, n, 1.5 + curve, 6)
    common = rng.normal(1, 0.05, len(_SIZES))
    stack: list[Vertebra] = []
    for i, (name, rank) in enumerate([*levels, ("SACRUM", 25.0)]):
        wear = draw_wear(rng, rank, age)
        sizes = sizes_of(min(rank, 24.0), scale, common * rng.normal(1, 0.025, len(_SIZES)))
        thinning = float(rng.uniform(0.3, 0.7)) if rng.random() < 0.25 * age or wear.vacuum else 1.0
        sizes = replace(sizes, disc=sizes.disc * thinning)
        stack.append(
            Vertebra(
                name=name,
                number=level_number(name),
                rank=rank,
                centre=np.zeros(3),
                rotation=rotation_xyz(float(pitch[i]), float(roll[i]), float(yaw[i])),
                sizes=sizes,
                wear=wear,
                concavity=float(rng.uniform(0.5, 2.2)) * scale * min(1.0, sizes.height / 20),
                phase=float(rng.uniform(0, 6.28)),
            )
        )
    placed = _stacked(stack)
    return Spine(tuple(placed[:-1]), placed[-1], scale)


def _stacked(stack: list[Vertebra]) -> list[Vertebra]:
    """Put one vertebra on another, from the sacrum up; C1 stands around the dens of C2."""
    below = stack[-1]
    placed = [below]
    for upper in reversed(stack[:-1]):
        gap = upper.sizes.disc
        rise = below.rotation[:, 2] * (below.sizes.height + gap) / 2
        if upper.name == "C1":
            centre = below.place((0.0, 3.0, below.sizes.height / 2 + 8.0))
        else:
            centre = below.centre + rise + upper.rotation[:, 2] * (upper.sizes.height + gap) / 2
        below = replace(upper, centre=centre)
        placed.append(below)
    zero = min(placed, key=lambda v: abs(v.rank - 22.0)).centre
    return [replace(v, centre=v.centre - zero) for v in reversed(placed)]
