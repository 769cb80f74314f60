"""What a lesion's voxels hold: HU of a CT, SUV of PET and quantitative NM, z-scores of MR and NM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

from pipeline.grid import Floats, Grid, Volume
from pipeline.regions import Bools, Region, grown, inside
from pipeline.tally.reference import METAL_HU, Reference, Values, finite

PEAK_ML = 1.0
"""Volume of the sphere of SUVpeak (PERCIST: Wahl 2009, doi 10.2967/jnumed.108.057307)."""

SIGMA_PER_MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""

_PERCENTILES = (10, 25, 50, 75, 90)


@dataclass(frozen=True)
class Signal:
    """What the values of a volume mean, and so which statistics it can have."""

    is_hu: bool
    """CT in Hounsfield units."""
    suv_factor: float | None
    """Value times this is SUVbw, g/mL; None where it is unknown or the modality has none."""
    is_relative: bool
    """MR and NM: values are compared with normal bone of the scan."""

    @property
    def metal_above(self) -> float | None:
        """Value above which a voxel is metal; None where the unit cannot tell."""
        return METAL_HU if self.is_hu else None


def signal_of(modality: str | None, intensity_unit: str | None, suv_factor: float | None) -> Signal:
    """The meaning of a volume's values."""
    return Signal(
        is_hu=modality == "CT" and intensity_unit == "HU",
        suv_factor=suv_factor if modality in ("PT", "NM") else None,
        is_relative=modality in ("MR", "NM"),
    )


def values_of(region: Region, volume: Volume) -> Values:
    """The finite stored values of a region's voxels."""
    return finite(volume.voxels[region.box][region.mask])


def intensity_columns(
    region: Region, *, volume: Volume, signal: Signal, reference: Reference | None, volume_mm3: float | None
) -> dict[str, object]:
    """The intensity columns of a lesion's row that its modality has; the others are left out and so NULL."""
    values = values_of(region, volume).astype(np.float64)
    columns: dict[str, object] = {"intensity_unit": "arbitrary"}
    if not values.size:
        return columns
    if signal.is_hu:
        columns |= {"intensity_unit": "HU", **hu_columns(values)}
        columns["in_metal"] = in_metal(region, volume)
    if signal.is_relative and reference is not None and reference.mad > 0:
        z = (values - reference.median) / (SIGMA_PER_MAD * reference.mad)
        columns |= {"intensity_unit": "z", "z_mean": float(z.mean()), "z_max": float(z.max())}
    if signal.suv_factor is not None:
        peak = suv_peak(region, volume) * signal.suv_factor if volume_mm3 is not None else None
        columns |= suv_columns(values * signal.suv_factor, volume_mm3) | {"suv_peak": peak}
    return columns


def hu_columns(values: Floats) -> dict[str, object]:
    """Mean, deviation (of all its voxels, n in the denominator), extremes and percentiles (linear between voxels)."""
    percentiles = np.percentile(values, _PERCENTILES)
    return {
        "hu_mean": float(values.mean()),
        "hu_sd": float(values.std()),
        "hu_min": float(values.min()),
        "hu_max": float(values.max()),
        **{f"hu_p{p}": float(v) for p, v in zip(_PERCENTILES, percentiles, strict=True)},
    }


def suv_columns(suv: Floats, volume_mm3: float | None) -> dict[str, object]:
    """SUVmax and SUVmean, the metabolic volume of the mask and total lesion glycolysis (SUVmean x volume)."""
    columns: dict[str, object] = {
        "intensity_unit": "SUVbw",
        "suv_max": float(suv.max()),
        "suv_mean": float(suv.mean()),
    }
    if volume_mm3 is not None:
        columns |= {"mtv_ml": volume_mm3 / 1000.0, "tlg_g": float(suv.mean()) * volume_mm3 / 1000.0}
    return columns


def suv_peak(region: Region, volume: Volume) -> float:
    """Highest mean of the stored values in a sphere of 1 mL about any voxel of the lesion.

    The sphere holds the voxels whose centre lies in it and may reach beyond the lesion; beyond a face of the volume it
    is cut off, and voxels that are no numbers (outside the patient, in some files) are left out.
    """
    sphere = _sphere(volume.grid)
    reach = tuple(n // 2 for n in sphere.shape)
    box = grown(region.box, by=(reach[0], reach[1], reach[2]), shape=volume.grid.shape)
    crop = volume.voxels[box].astype(np.float64)
    known = np.isfinite(crop)
    sums = fftconvolve(np.where(known, crop, 0.0), sphere, mode="same")
    counts = np.rint(fftconvolve(known.astype(np.float64), sphere, mode="same"))
    means = np.divide(sums, counts, out=np.full_like(sums, -np.inf), where=counts > 0)
    return float(means[inside(region.box, box)][region.mask].max())


def in_metal(region: Region, volume: Volume) -> bool:
    """Whether the lesion or a voxel that shares a face with it is over `METAL_HU`."""
    box = grown(region.box, by=(1, 1, 1), shape=volume.grid.shape)
    metal = np.asarray(volume.voxels[box], dtype=np.float64) > METAL_HU
    return bool(metal.any()) and bool((metal & _with_neighbours(region, box)).any())


def _with_neighbours(region: Region, box: tuple[slice, slice, slice]) -> Bools:
    mask = np.zeros([s.stop - s.start for s in box], dtype=np.bool_)
    mask[inside(region.box, box)] = region.mask
    wide = mask.copy()
    for axis in range(3):
        source, target = np.moveaxis(mask, axis, 0), np.moveaxis(wide, axis, 0)
        target[1:] |= source[:-1]
        target[:-1] |= source[1:]
    return wide


def _sphere(grid: Grid) -> Floats:
    radius = (3.0 * PEAK_ML * 1000.0 / (4.0 * np.pi)) ** (1.0 / 3.0)
    reach = [int(radius // spacing) for spacing in grid.spacing_mm]
    z, y, x = np.ogrid[tuple(slice(-r, r + 1) for r in reach)]
    dz, dy, dx = (offset * spacing for offset, spacing in zip((z, y, x), grid.spacing_mm, strict=True))
    return (dz**2 + dy**2 + dx**2 <= radius**2).astype(np.float64)
