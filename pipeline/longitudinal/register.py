"""A rigid motion that brings one vertebra of an earlier scan onto the same vertebra of a later one.

Two steps by SimpleITK, each from where the last one stopped: the distance maps of the two masks (robust, blind to what
a lesion does to the voxels), then the voxels themselves (correlation for CT, mutual information for MR). The second is
kept only where the masks lie on each other about as well afterwards, and the whole only where it beats laying centroid
on centroid. One thread and no random samples: the same scans give the same motion, but for the last digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from pipeline.grid import Floats, Grid, Volume
from pipeline.regions import Region, grown, inside

STEP_MM = 1.5
"""Edge of the cubes that a vertebra is registered on."""

MARGIN_MM = 12.0
"""What is looked at around a vertebra."""

FAR_MM = 8.0
"""Distances from a mask are counted up to here: what is far away says nothing."""

DICE_LOSS = 0.03
"""Loss of overlap up to which registration by voxels is preferred to that by masks."""

_METRIC_OF = {"CT": "correlation", "MR": "information"}


@dataclass(frozen=True)
class Rigid:
    """A motion from the earlier scan's patient space to the later one's, x, y, z, LPS."""

    rotation: Floats
    """(3, 3)"""
    shift_mm: Floats
    """(3,)"""

    def apply(self, points: Floats) -> Floats:
        """Points (..., 3) of the earlier scan in the later one."""
        return points @ self.rotation.T + self.shift_mm

    def inverse(self) -> Rigid:
        """The way back."""
        return Rigid(self.rotation.T, -self.rotation.T @ self.shift_mm)


STILL = Rigid(np.eye(3), np.zeros(3))
"""No motion."""


@dataclass(frozen=True)
class Vertebra:
    """One level in one scan."""

    region: Region
    """Its voxels."""
    volume: Volume
    """The scan."""

    @property
    def centroid_mm(self) -> Floats:
        """Its centre, x, y, z, LPS."""
        return self.volume.grid.to_lps(self.region.centroid)

    def points(self) -> Floats:
        """Its voxel centres, (n, 3)."""
        return self.volume.grid.to_lps(np.argwhere(self.region.mask) + self.region.start)


def register_vertebra(before: Vertebra, after: Vertebra, *, modality: str | None) -> tuple[Rigid, float]:
    """The motion of a vertebra, and the Dice overlap of its masks after it (1 is the best)."""
    start = Rigid(np.eye(3), after.centroid_mm - before.centroid_mm)
    best, overlap = start, dice(before, after, start)
    fixed, moving = _Crop.of(before), _Crop.of(after)
    by_mask = _optimised(fixed.distance, moving.distance, None, "squares", start, before.centroid_mm)
    if (found := dice(before, after, by_mask)) > overlap:
        best, overlap = by_mask, found
    metric = _METRIC_OF.get(modality or "")
    if metric is None:
        return best, overlap
    by_voxels = _optimised(fixed.voxels, moving.voxels, fixed.near, metric, best, before.centroid_mm)
    found = dice(before, after, by_voxels)
    return (by_voxels, found) if found >= overlap - DICE_LOSS else (best, overlap)


def dice(before: Vertebra, after: Vertebra, motion: Rigid) -> float:
    """Twice the common share over both, of what lies in the field of view of both scans."""
    forth = _share_inside(motion.apply(before.points()), after)
    back = _share_inside(motion.inverse().apply(after.points()), before)
    return 2.0 * forth * back / (forth + back) if forth + back > 0 else 0.0


def _share_inside(points: Floats, vertebra: Vertebra) -> float:
    index = np.rint(vertebra.volume.grid.to_index(points)).astype(np.int64)
    index = index[((index >= 0) & (index < vertebra.volume.grid.shape)).all(axis=1)]
    if not len(index):
        return 0.0
    local = index - vertebra.region.start.astype(np.int64)
    held = ((local >= 0) & (local < vertebra.region.crop.shape)).all(axis=1)
    z, y, x = local[held].T
    return float(np.count_nonzero(vertebra.region.crop[z, y, x] == vertebra.region.label)) / len(index)


@dataclass(frozen=True)
class _Crop:
    """The surroundings of a vertebra on cubes, for ITK."""

    voxels: sitk.Image
    """Its voxels."""
    distance: sitk.Image
    """Signed distance from its mask, cut off at `FAR_MM`."""
    near: sitk.Image
    """1 inside the mask and up to 3 mm around it."""

    @classmethod
    def of(cls, vertebra: Vertebra) -> _Crop:
        """The surroundings of a vertebra, `MARGIN_MM` wide where the volume reaches so far."""
        grid = vertebra.volume.grid
        margin = [int(np.ceil(MARGIN_MM / spacing)) for spacing in grid.spacing_mm]
        box = grown(vertebra.region.box, by=(margin[0], margin[1], margin[2]), shape=grid.shape)
        mask = np.zeros([s.stop - s.start for s in box], dtype=np.float32)
        mask[inside(vertebra.region.box, box)] = vertebra.region.mask
        origin = grid.to_lps([s.start for s in box])
        soft = _on_cubes(_image(mask, grid, origin))
        hard = sitk.BinaryThreshold(soft, 0.5, 2.0, 1, 0)
        distance = sitk.SignedMaurerDistanceMap(hard, squaredDistance=False, useImageSpacing=True)
        voxels = np.nan_to_num(vertebra.volume.voxels[box].astype(np.float32))
        return cls(
            voxels=_on_cubes(_image(voxels, grid, origin)),
            distance=sitk.Clamp(distance, sitk.sitkFloat32, -FAR_MM, FAR_MM),
            near=sitk.BinaryThreshold(distance, -1e6, 3.0, 1, 0),
        )


def _image(array: npt.NDArray[np.float32], grid: Grid, origin: Floats) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(s) for s in grid.spacing_mm[::-1]])
    image.SetOrigin([float(x) for x in origin])
    image.SetDirection([float(x) for x in grid.direction])
    return image


def _on_cubes(image: sitk.Image) -> sitk.Image:
    """The image on a grid of `STEP_MM` with the same corner and axes, linear."""
    size = [max(4, int(np.ceil(n * s / STEP_MM))) for n, s in zip(image.GetSize(), image.GetSpacing(), strict=True)]
    return sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), [STEP_MM] * 3, image.GetDirection(), 0.0
    )


def _optimised(
    fixed: sitk.Image, moving: sitk.Image, near: sitk.Image | None, metric: str, start: Rigid, centre: Floats
) -> Rigid:
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(x) for x in centre])
    transform.SetMatrix([float(x) for x in start.rotation.ravel()])
    transform.SetTranslation([float(x) for x in start.shift_mm + start.rotation @ centre - centre])
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=0.01, numberOfIterations=80, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-8
    )
    method.SetOptimizerScalesFromPhysicalShift()
    {
        "squares": method.SetMetricAsMeanSquares,
        "correlation": method.SetMetricAsCorrelation,
        "information": lambda: method.SetMetricAsMattesMutualInformation(32),
    }[metric]()
    if near is not None:
        method.SetMetricFixedMask(near)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # ITK: the two no longer overlap, or all samples are outside
        return start
    rotation = np.reshape(transform.GetMatrix(), (3, 3))
    shift = np.asarray(transform.GetTranslation()) + centre - rotation @ centre
    return Rigid(rotation, shift)
