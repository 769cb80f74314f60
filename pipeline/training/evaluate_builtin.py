"""Print the tables of the models' cards: `python -m pipeline.training.evaluate_builtin --n 20 --seed 1`.

Phantoms are drawn afresh, as the two sites of the phantom cohort scan them, with spines of every count (six or four
lumbar vertebrae, thirteen or eleven thoracic ones as often as they are drawn). A real CT is given as
`--real CT [LEVELS]`: a file and a mask of level numbers, if there is one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from pipeline.grid import Grid, Volume
from pipeline.masks import LevelMask
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.registry import load
from pipeline.phantom.anatomy import Phantom, draw_patient, render
from pipeline.phantom.appearance import Style
from pipeline.phantom.canvas import Part
from pipeline.phantom.field_of_view import extent_of_levels, grid_of
from pipeline.phantom.planning import plan_lesions
from pipeline.phantom.protocols import ROLES, SITES, Site
from pipeline.training.figures import LesionFigures, LevelFigures, lesion_figures, level_figures
from schemas.spine import level_name


@dataclass(frozen=True)
class Result:
    """Figures of one scan."""

    levels: LevelFigures
    """Of the predicted levels."""
    lesions: LesionFigures
    """On the predicted levels."""
    lesions_true_levels: LesionFigures
    """On the true levels: the detector by itself."""
    seconds: float
    """Of both models."""


def draw_scan(seed: int, site: Site) -> Phantom:
    """A fresh phantom as a site scans it; lesions of 0.5 ml and more that differ by at least 120 HU."""
    rng = np.random.default_rng((seed, 11))
    patient = draw_patient(seed, Style.REALISTIC)
    names = {v.name for v in (*patient.spine.vertebrae, patient.spine.sacrum)}
    fitting = [role for role in ROLES if set(role.levels) <= names]
    role = fitting[int(rng.integers(len(fitting)))]
    grid = grid_of(extent_of_levels(patient.spine, *role.levels, (165.0, 165.0)), site.spacing_mm)
    plans = plan_lesions(
        rng, patient.spine, grid, patient.tissues, int(rng.integers(0, 6)), min_contrast_hu=120.0, min_lesion_mm3=500.0
    )
    return render(patient, grid, plans, site.scanner, seed=seed)


def evaluate(phantom: Phantom, levels_model: Predictor, lesions_model: Predictor) -> Result:
    """Both models on one phantom."""
    settings = LesionSettings(threshold=lesions_model.spec.threshold, min_volume_mm3=lesions_model.spec.min_volume_mm3)
    volume, mm3 = phantom.volume, phantom.volume.grid.voxel_mm3
    started = time.perf_counter()
    levels = levels_model.levels(volume, modality="CT")
    lesions = lesions_model.lesions(volume, modality="CT", within=levels, settings=settings)
    seconds = time.perf_counter() - started
    true_levels = known_levels(phantom)
    by_truth = lesions_model.lesions(volume, modality="CT", within=true_levels, settings=settings)
    truth = (phantom.lesions, phantom.levels)
    return Result(
        level_figures(levels, phantom.levels, voxel_mm3=mm3),
        lesion_figures(lesions, levels, *truth, voxel_mm3=mm3),
        lesion_figures(by_truth, true_levels, *truth, voxel_mm3=mm3),
        seconds,
    )


def known_levels(phantom: Phantom) -> LevelMask:
    """The truth as a model would give it."""
    vertebra = np.isin(phantom.parts, (Part.BODY, Part.ARCH))
    parts = np.where(vertebra, phantom.parts, 0).astype(np.uint8)
    return LevelMask(phantom.levels.astype(np.uint16), parts, "mask")


def report(name: str, results: list[Result]) -> Iterator[str]:
    """Lines of a table for some scans."""
    levels, n = [r.levels for r in results], len(results)
    true, apart, named = (sum(getattr(f, k) for f in levels) for k in ("n_true", "n_apart", "n_named"))
    dice, single = (np.nanmean([getattr(f, k) for f in levels]) for k in ("dice", "mean_dice"))
    wrong, invented = (sum(getattr(f, k) for f in levels) for k in ("n_wrong", "n_invented"))
    yield f"{name}: {n} scans, {np.mean([r.seconds for r in results]):.1f} s each"
    yield f"  vertebrae: Dice {dice:.3f}, each alone {single:.3f}; told apart {apart} of {true}; invented {invented}"
    yield f"  names: {named} of {apart} named, {wrong} wrong"
    for kind in ("lesions", "lesions_true_levels"):
        figures: list[LesionFigures] = [getattr(r, kind) for r in results]
        total, found, false, right, on_named = (
            sum(getattr(f, k) for f in figures) for k in ("n_true", "n_found", "n_false", "n_level_right", "n_named")
        )
        yield (
            f"  {kind.replace('_', ' on ', 1).replace('_', ' ')}: {found} of {total} found "
            f"({found / max(1, total):.2f}), {false / n:.2f} false a scan; "
            f"level right {right} of {on_named} named ({found - on_named} unnamed)"
        )


def read_volume(path: Path) -> Volume:
    """A file or a folder of DICOM, as SimpleITK reads it."""
    reader = sitk.ImageSeriesReader()
    files = reader.GetGDCMSeriesFileNames(str(path)) if path.is_dir() else [str(path)]
    image = sitk.ReadImage(files if path.is_dir() else files[0])
    voxels = sitk.GetArrayFromImage(image)
    z, y, x = voxels.shape
    across, down, up = image.GetSpacing()
    return Volume(voxels, Grid((z, y, x), (up, down, across), image.GetOrigin(), image.GetDirection()))


def report_real(path: Path, truth: Path | None, levels_model: Predictor, lesions_model: Predictor) -> Iterator[str]:
    """Lines for one real CT."""
    volume = read_volume(path)
    levels = levels_model.levels(volume, modality="CT")
    settings = LesionSettings(threshold=lesions_model.spec.threshold, min_volume_mm3=lesions_model.spec.min_volume_mm3)
    lesions = lesions_model.lesions(volume, modality="CT", within=levels, settings=settings)
    names = [level_name(int(n)) for n in np.unique(levels.levels) if n]
    yield f"{path.name}: levels {' '.join(names) or 'none'}; names rest on {levels.anchor or 'nothing (unnumbered)'}"
    yield f"  lesions {int(lesions.instances.max())}, further candidates {len(lesions.candidates)}"
    if truth is not None:
        figures = level_figures(levels, read_volume(truth).voxels.astype(np.int64), voxel_mm3=volume.grid.voxel_mm3)
        yield (
            f"  Dice {figures.dice:.3f}, each by itself {figures.mean_dice:.3f}; told apart {figures.n_apart} of "
            f"{figures.n_true}; named {figures.n_named}, wrong {figures.n_wrong}; invented {figures.n_invented}"
        )


def main() -> None:
    """Parse the command line, run both models, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="phantoms, half for each site")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first one; training uses others")
    parser.add_argument("--real", action="append", nargs="+", type=Path, default=[], metavar="CT", help="CT [LEVELS]")
    args = parser.parse_args()
    models = load("builtin/ct-levels"), load("builtin/ct-lesions")
    results: dict[str, list[Result]] = {site.name: [] for site in SITES}
    for i in range(args.n):
        site = SITES[i % len(SITES)]
        results[site.name].append(evaluate(draw_scan(500_000 + args.seed * 1000 + i, site), *models))
    for name, some in results.items():
        if some:
            print("\n".join(report(f"site {name}", some)))
    for paths in args.real:
        print("\n".join(report_real(paths[0], paths[1] if len(paths) > 1 else None, *models)))


if __name__ == "__main__":
    main()
