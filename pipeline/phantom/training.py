"""Endless training patches: a random patient, posed at random, a random piece of the body, scanned somehow."""

from __future__ import annotations

import numpy as np

from pipeline.grid import Floats, Triple
from pipeline.phantom.anatomy import Phantom, draw_patient, render
from pipeline.phantom.appearance import Style
from pipeline.phantom.field_of_view import centred_grid
from pipeline.phantom.planning import plan_lesions
from pipeline.phantom.scanner import draw_scanner
from pipeline.phantom.shapes import rotation_xyz
from pipeline.phantom.spine import Spine


def draw_training_sample(
    rng_seed: int,
    patch_shape: tuple[int, int, int],
    spacing_mm: Triple,
    *,
    style: Style = Style.TRAINING,
    max_tilt_deg: float = 15.0,
    away: float = 0.1,
    lesions_per_patch: float = 2.0,
    min_contrast_hu: float = 100.0,
    min_lesion_mm3: float = 400.0,
) -> Phantom:
    """One patch in the orientation that the built-in networks see; only what lies in it is painted.

    The grid's direction is the identity in LPS: axis z runs from inferior to superior, y from anterior to posterior, x
    from right to left. The patient in it is tilted a little, as patients are.

    Args:
        rng_seed: same seed and arguments, same voxels.
        patch_shape: voxels along z, y, x.
        spacing_mm: along z, y, x.
        style: how wide appearance varies.
        max_tilt_deg: greatest angle of the patient about each axis.
        away: share of patches centred anywhere in the body instead of at the spine.
        lesions_per_patch: mean number of lesions planned (Poisson).
        min_contrast_hu: least difference of a lesion to trabecular bone.
        min_lesion_mm3: least volume of a lesion that lies wholly in the patch.
    """
    patient = draw_patient(rng_seed, style)
    rng = np.random.default_rng((rng_seed, 5))
    pitch, roll, yaw = (float(a) for a in rng.uniform(-max_tilt_deg, max_tilt_deg, 3))
    pose = rotation_xyz(pitch, roll, yaw)
    middle = pose @ _target(rng, patient.spine, away)
    grid = centred_grid((float(middle[0]), float(middle[1]), float(middle[2])), patch_shape, spacing_mm)
    plans = plan_lesions(
        rng, patient.spine, grid, patient.tissues, int(rng.poisson(lesions_per_patch)),
        min_contrast_hu=min_contrast_hu, min_lesion_mm3=min_lesion_mm3, pose=pose,
    )  # fmt: skip
    return render(patient, grid, plans, draw_scanner(rng, style, spacing_mm), seed=rng_seed, pose=pose)


def _target(rng: np.random.Generator, spine: Spine, away: float) -> Floats:
    """A point for the middle of a patch, in the patient's frame."""
    track = spine.track()
    # The upper levels are smaller: a uniform choice of height, not of level, so that each region gets its share.
    z = float(rng.uniform(track[0, 2] - 60, track[-1, 2] + 30))
    x, y = (float(np.interp(z, track[:, 2], track[:, axis])) for axis in (0, 1))
    spread = (130.0, 90.0, 0.0) if rng.random() < away else (35.0, 35.0, 0.0)
    return np.array([x, y, z]) + rng.uniform(-1, 1, 3) * np.array(spread)
