"""A phantom cohort as an archive would hand it over: DICOM of two sites, with follow-ups and damage, and the truth.

<folder>/dicom/<patient>/<study>/<series>/0001.dcm ...   what `spinetally run` reads
<folder>/truth/<patient>_<study>_{lesions,levels}.nii.gz  masks on the grid of the series
<folder>/manifest.csv                                    a row per series
<folder>/truth.csv                                       a row per lesion and study
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.grid import Volume
from pipeline.phantom.anatomy import Patient, Phantom, draw_patient, render
from pipeline.phantom.appearance import Style
from pipeline.phantom.dicom import DicomStudy, write_series
from pipeline.phantom.field_of_view import extent_of_levels, grid_of
from pipeline.phantom.follow_up import change_lesions
from pipeline.phantom.lesions import LesionPlan, PhantomLesion
from pipeline.phantom.planning import plan_lesions
from pipeline.phantom.protocols import LOCALIZER, PRIMARIES, ROLES, SITES, Role, Site
from pipeline.phantom.shapes import rotation_xyz
from pipeline.phantom.truth import CohortTruth, LesionTruth, SeriesTruth, write_mask, write_rows

Progress = Callable[[int, int], None]
"""Called with the number of series written and of all."""


def write_cohort(
    folder: Path,
    *,
    n_patients: int = 6,
    seed: int = 0,
    sites: tuple[Site, Site] = SITES,
    progress: Progress | None = None,
) -> CohortTruth:
    """Write a cohort; same seed, same bytes.

    Args:
        folder: made where it is missing; files of an earlier cohort in it are overwritten.
        n_patients: at least 1. Six give two sites, two patients with two studies, one without lesions, one
            localizer, one series with a cut file and one with a gap.
        seed: decides anatomy, lesions and noise.
        sites: the first is internal, the second external; coarser ones make a smaller cohort.
        progress: called after each series.

    Raises:
        ValueError: fewer than one patient.
    """
    if n_patients < 1:
        raise ValueError(f"a cohort needs at least 1 patient, not {n_patients}: ask for more")
    roles = [ROLES[i % len(ROLES)] for i in range(n_patients)]
    total = sum(1 + role.followed + role.localizer + 2 * role.damaged for role in roles)
    series: list[SeriesTruth] = []
    lesions: list[LesionTruth] = []
    for index, role in enumerate(roles):
        for row, found in _write_patient(folder, index, role, seed, sites[role.site]):
            series.append(row)
            lesions.extend(found)
            if progress:
                progress(len(series), total)
    write_rows(folder / "manifest.csv", SeriesTruth, series)
    write_rows(folder / "truth.csv", LesionTruth, lesions)
    return CohortTruth(folder, folder / "dicom", folder / "manifest.csv", tuple(series), tuple(lesions))


Written = tuple[SeriesTruth, list[LesionTruth]]


def _write_patient(folder: Path, index: int, role: Role, seed: int, site: Site) -> Iterator[Written]:
    rng = np.random.default_rng((seed, index, 7))
    patient = _draw_ordinary(rng)
    study = _first_study(rng, index, patient)
    tumour = str(rng.choice(PRIMARIES)) if role.lesions[1] else "none"
    count = int(rng.integers(role.lesions[0], role.lesions[1] + 1))
    plans: dict[str, LesionPlan] = {}
    changes: dict[str, str] = {}
    for number in range(1, 2 + role.followed):
        scan = _Scan(folder, site, study, patient, tumour, role, rng)
        if number == 1:
            plans = {f"{study.patient_id}-{i}": plan for i, plan in enumerate(scan.plan(count), 1)}
            changes = dict.fromkeys(plans, "first")
        else:
            plans, changes = change_lesions(rng, patient, scan.grid, plans, prefix=study.patient_id, pose=scan.pose)
        phantom = scan.render(tuple(plans.values()))
        yield scan.write_volume(phantom, list(plans), changes)
        if number == 1 and role.localizer:
            yield scan.write_localizer(phantom), []
        if number == 1 and role.damaged:
            yield from ((row, []) for row in scan.write_damaged(phantom))
        days = np.timedelta64(int(rng.integers(80, 200)), "D")
        date = np.datetime64(f"{study.date[:4]}-{study.date[4:6]}-{study.date[6:]}") + days
        study = replace(study, number=number + 1, date=str(date).replace("-", ""))


def _draw_ordinary(rng: np.random.Generator) -> Patient:
    """A patient with the usual 24 vertebrae: with one more or less, no field of view without both ends can be named."""
    while True:
        patient = draw_patient(int(rng.integers(2**31)), Style.REALISTIC)
        if [v.number for v in patient.spine.vertebrae] == list(range(1, 25)):
            return patient


def _first_study(rng: np.random.Generator, index: int, patient: Patient) -> DicomStudy:
    height = 1.7 * patient.spine.scale
    return DicomStudy(
        patient_id=f"PH{index + 1:03d}",
        patient_name=f"PHANTOM^{index + 1:03d}",
        patient_sex=str(rng.choice(["M", "F"])),
        patient_age=int(rng.integers(45, 80)),
        patient_weight_kg=round(24.0 * height * height * patient.torso.girth, 1),
        patient_height_m=round(height, 2),
        date=f"{int(rng.integers(2018, 2024))}{int(rng.integers(1, 13)):02d}{int(rng.integers(1, 29)):02d}",
        time=f"{int(rng.integers(8, 18)):02d}{int(rng.integers(60)):02d}00",
    )


class _Scan:
    """One examination of one patient, on its way to files."""

    def __init__(
        self, folder: Path, site: Site, study: DicomStudy, patient: Patient, tumour: str, role: Role,
        rng: np.random.Generator,
    ) -> None:  # fmt: skip
        self.folder, self.site, self.study, self.patient, self.tumour = folder, site, study, patient, tumour
        self.acquisition = replace(site.acquisition, contrast_agent="IODINE" if patient.tissues.aorta > 90 else None)
        self.seed = int(rng.integers(2**31))
        self.rng = rng
        extent = extent_of_levels(patient.spine, *role.levels, (165.0, 165.0))
        shift = rng.uniform(-6, 6, 3) if study.number > 1 else np.zeros(3)
        middle = np.round(np.asarray(extent.middle) + shift, 1)
        self.grid = grid_of(replace(extent, middle=(middle[0], middle[1], middle[2])), site.spacing_mm)
        self.pose = rotation_xyz(*rng.uniform(-2, 2, 3))

    def plan(self, count: int) -> tuple[LesionPlan, ...]:
        """Places and kinds of `count` lesions within this scan's field of view, large and dense enough to be seen."""
        return plan_lesions(
            self.rng, self.patient.spine, self.grid, self.patient.tissues, count,
            min_contrast_hu=140.0, min_lesion_mm3=600.0, pose=self.pose,
        )  # fmt: skip

    def render(self, plans: tuple[LesionPlan, ...]) -> Phantom:
        """The scan as its scanner sees it, with the planned lesions."""
        return render(self.patient, self.grid, plans, self.site.scanner, seed=self.seed, pose=self.pose)

    def write_volume(self, phantom: Phantom, tracks: list[str], changes: dict[str, str]) -> Written:
        """Write the scan as DICOM and its masks as NIfTI.

        Args:
            phantom: the scan with its masks.
            tracks: name of each planned lesion over the patient's studies, by the place of its plan.
            changes: name to what became of it since the study before.

        Returns:
            The scan's row of the manifest and a row per lesion.
        """
        row = self._row("1_spine", masks=True)
        uid = write_series(
            self.folder / row.uri,
            phantom.volume,
            self.study,
            acquisition=self.acquisition,
            number=1,
            description="Spine",
        )
        for mask, uri in ((phantom.lesions, row.lesions_uri), (phantom.levels, row.levels_uri)):
            write_mask(self.folder / uri, Volume(mask, phantom.volume.grid))
        found = [self._lesion(row, uid, lesion, tracks[lesion.plan], changes) for lesion in phantom.lesion_table]
        return row, found

    def _lesion(
        self, row: SeriesTruth, uid: str, lesion: PhantomLesion, track: str, changes: dict[str, str]
    ) -> LesionTruth:
        x, y, z = (round(c, 2) for c in lesion.centre_mm)
        return LesionTruth(
            patient_id=row.patient_id,
            study_date=row.study_date,
            uri=row.uri,
            series_uid=uid,
            instance=lesion.instance,
            track=track,
            change=changes[track],
            kind=lesion.kind,
            level=lesion.level,
            x_mm=x,
            y_mm=y,
            z_mm=z,
            volume_mm3=round(lesion.volume_mm3, 1),
            contrast_hu=round(lesion.contrast_hu, 1),
        )

    def write_localizer(self, phantom: Phantom) -> SeriesTruth:
        """A projection from the front, as a scanner takes it to plan its scan."""
        row = self._row("2_localizer")
        z, _, x = self.grid.shape
        image = phantom.volume.voxels.mean(axis=1)[::-1].reshape(1, z, x)
        top = self.grid.to_lps((z - 1, 0, 0))
        direction = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)
        spacing = (5.0, self.grid.spacing_mm[0], self.grid.spacing_mm[2])
        flat = replace(
            self.grid, shape=(1, z, x), spacing_mm=spacing, direction=direction, origin_mm=(top[0], top[1], top[2])
        )
        write_series(
            self.folder / row.uri, Volume(image, flat), self.study, acquisition=self.acquisition, number=2,
            description="Scout", image_type=LOCALIZER,
        )  # fmt: skip
        return row

    def write_damaged(self, phantom: Phantom) -> Iterator[SeriesTruth]:
        """Two short repeats: one whose transfer broke off within a file, one that lacks a slice."""
        part = Volume(phantom.volume.voxels[:20], replace(self.grid, shape=(20, *self.grid.shape[1:])))
        for number, name, missing, cut in ((3, "3_cut", (), (11,)), (4, "4_gap", (8,), ())):
            row = self._row(name)
            write_series(
                self.folder / row.uri, part, self.study, acquisition=self.acquisition, number=number,
                description="Spine repeat", missing=missing, cut=cut,
            )  # fmt: skip
            yield row

    def _row(self, series: str, *, masks: bool = False) -> SeriesTruth:
        study = f"{self.study.patient_id}/{self.study.number}"
        mask = f"truth/{study.replace('/', '_')}" if masks else ""
        date = self.study.date
        return SeriesTruth(
            uri=f"dicom/{study}/{series}",
            patient_id=self.study.patient_id,
            study_date=f"{date[:4]}-{date[4:6]}-{date[6:]}",
            site=self.site.name,
            modality="CT",
            lesions_uri=mask and f"{mask}_lesions.nii.gz",
            levels_uri=mask and f"{mask}_levels.nii.gz",
            primary_tumour=self.tumour,
            split=self.site.split,
        )
