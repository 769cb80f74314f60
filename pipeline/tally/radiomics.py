"""IBSI features of a lesion, where the recipe asks for them.

Features are those of the Image Biomarker Standardisation Initiative (Zwanenburg 2020, doi 10.1148/radiol.2020191145),
computed by MIRP (Zwanenburg 2024, doi 10.21105/joss.06413), which is checked against IBSI's reference values and is the
optional extra `radiomics`. Names are MIRP's: the family, then the feature, such as `stat_skew` or `cm_joint_entr`.

Shape, intensity and histogram features are of the source's own voxels. Textures need equal spacing in all directions
and are of the lesion resampled (linear) to cubes of `CUBE_MM`. Values fall into 32 bins between the lesion's lowest and
highest; co-occurrence looks one voxel far in 3-D, directions merged. Intensities are in the unit of the stored voxels:
the default set holds only features that do not depend on it. Moran's I and Geary's C (`morph_moran_i`,
`morph_geary_c`) take seconds per lesion. Features whose reproducibility matters should be confirmed on one's own scans.
"""

from __future__ import annotations

import difflib
import importlib
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from pipeline.errors import ConfigError
from pipeline.grid import Floats, Triple, Volume
from pipeline.regions import Bools, Region, grown, inside

DEFAULT_FEATURES: tuple[str, ...] = (
    "morph_sphericity",
    "morph_pca_elongation",
    "morph_pca_flatness",
    "morph_vol_dens_conv_hull",
    "stat_skew",
    "stat_kurt",
    "ih_entropy",
    "ih_uniformity",
    "cm_joint_entr",
    "cm_contrast",
    "cm_corr",
    "cm_inv_diff_mom",
    "rlm_sre",
    "rlm_rl_entr",
    "szm_sze",
    "szm_z_perc",
    "ngt_coarseness",
)
"""The set named `default`: shape, spread and texture, none of which depends on the unit of the voxels."""

CUBE_MM = {"PT": 3.0, "NM": 3.0}
"""Edge of the cubes that textures are computed on, by modality, mm; 1 mm elsewhere."""

N_BINS = 32
"""Bins of the histogram and of textures (fixed bin number)."""

SMALLEST_VOXELS = 8
"""Smaller lesions have no features: they are partial volume."""

Features = Callable[[Volume, Region], dict[str, float] | None]
"""Radiomics of one lesion by name; None where it is too small."""

_TEXTURES = ("cm_", "rlm_", "szm_", "dzm_", "ngt_", "ngl_")
_LOCK = threading.Lock()  # MIRP keeps its matrices in caches of the process


def features_of(
    choice: Sequence[str] | Literal["default"] | None, *, modality: str | None, n_bins: int = N_BINS
) -> Features | None:
    """What computes the chosen features; None where none are chosen.

    Raises:
        ConfigError: MIRP is not installed, or a name is unknown.
    """
    if choice is None:
        return None
    names = check_features(choice)
    cube_mm = CUBE_MM.get(modality or "", 1.0)

    def compute(volume: Volume, region: Region) -> dict[str, float] | None:
        """The features of one lesion by name; None where it is too small, or in one plane."""
        if region.n_voxels < SMALLEST_VOXELS or min(volume.grid.shape) == 1:
            return None
        values, mask = _crop(volume, region)
        spacing = volume.grid.spacing_mm
        plain = [name for name in names if not name.startswith(_TEXTURES)]
        textures = [name for name in names if name.startswith(_TEXTURES)]
        found = _computed(values, mask, spacing, plain, n_bins)
        if textures:
            cubes = _cubes(values, mask, spacing, cube_mm)
            found |= _computed(*cubes, (cube_mm, cube_mm, cube_mm), textures, n_bins)
        return {name: found[name] for name in names if name in found}

    return compute


def check_features(choice: Sequence[str] | Literal["default"]) -> tuple[str, ...]:
    """The names that a choice stands for; to be asked before anything runs.

    Raises:
        ConfigError: MIRP is not installed, or a name is unknown.
    """
    known = _known()
    names = DEFAULT_FEATURES if choice == "default" else tuple(choice)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"; near it are {', '.join(near)}" if near else ""
            raise ConfigError(f"radiomics: {name!r} is no IBSI feature of MIRP{hint}; or say `radiomics: default`")
    return names


def _known() -> set[str]:
    return {feature.abbr_name for feature in _generate(None, N_BINS)}


def _generate(names: Iterable[str] | None, n_bins: int) -> list[Any]:
    settings = _mirp("settings.feature_parameters").FeatureExtractionSettingsClass(
        by_slice=False,
        no_approximation=False,
        base_feature_families="all",
        base_discretisation_method="fixed_bin_number",
        base_discretisation_n_bins=n_bins,
        ivh_discretisation_method="none",
    )
    return list(_mirp("_features.feature_generator").generate_features(settings, names and list(names)))


def _mirp(module: str) -> Any:
    try:
        return importlib.import_module(f"mirp.{module}")
    except ImportError as error:
        raise ConfigError(
            "radiomics: the recipe asks for features, which need MIRP 2.7; "
            "install it with `pip install 'spinetally[radiomics]'`, or leave `radiomics` out"
        ) from error


def _computed(values: Floats, mask: Bools, spacing: Triple, names: list[str], n_bins: int) -> dict[str, float]:
    """Features by name; those that are not defined for this lesion (a flat one has no third axis) are left out."""
    if not names or not mask.any():
        return {}
    with _LOCK:
        image, region = _as_mirp(values, mask, spacing)
        features = _generate(names, n_bins)
        try:
            for feature in features:
                feature.compute(image=image, mask=region)
        finally:
            for feature in features:
                feature.clear_cache()
    figures = {feature.abbr_name: float(feature.value) for feature in features if feature.value is not None}
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _as_mirp(values: Floats, mask: Bools, spacing: Triple) -> tuple[Any, Any]:
    grid = {
        "image_spacing": spacing,
        "image_origin": (0.0, 0.0, 0.0),
        "image_orientation": np.eye(3),
        "image_dimensions": values.shape,
        "image_modality": "generic",
    }
    image = _mirp("_images.generic_image").GenericImage(image_data=values, **grid)
    region = _mirp("_masks.base_mask").BaseMask(roi_name="lesion", image_data=mask, **grid)
    region.roi_intensity, region.roi_morphology = region.roi.copy(), region.roi.copy()
    return image, region


def _crop(volume: Volume, region: Region) -> tuple[Floats, Bools]:
    """The lesion with a margin of one voxel, which surfaces and interpolation need."""
    box = grown(region.box, by=(1, 1, 1), shape=volume.grid.shape)
    values = np.nan_to_num(volume.voxels[box].astype(np.float64))
    mask = np.zeros(values.shape, dtype=np.bool_)
    mask[inside(region.box, box)] = region.mask
    return values, mask


def _cubes(values: Floats, mask: Bools, spacing: Triple, cube_mm: float) -> tuple[Floats, Bools]:
    """Values and mask (where half of a voxel's weight is inside) on cubes, linear, centred on the same place."""
    sizes = [max(1, math.ceil(n * s / cube_mm)) for n, s in zip(values.shape, spacing, strict=True)]
    places = [
        (np.arange(size) - (size - 1) / 2) * cube_mm / s + (n - 1) / 2
        for size, n, s in zip(sizes, values.shape, spacing, strict=True)
    ]
    at = np.meshgrid(*places, indexing="ij")
    resampled = ndimage.map_coordinates(values, at, order=1, mode="nearest")
    # not `constant`: 0 from the centres of the outermost voxels on, it would cut a lesion at a face of the volume
    share = ndimage.map_coordinates(mask.astype(np.float64), at, order=1, mode="grid-constant")
    return resampled, share >= 0.5
