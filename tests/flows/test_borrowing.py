"""Levels that an MR takes from the CT of its study, by the frame of reference, and takes again when they change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom.uid import MRImageStorage, generate_uid

from flows.launch import launch
from flows.prepare import look
from flows.stages import Stages
from pipeline.query import run_query
from tests.flows import fakes
from tests.flows.cohorts import config_of, write_manifest
from tests.pipeline.dicom.conftest import image

pytestmark = pytest.mark.usefixtures("prefect_server")

ORIGIN, SPACING, SLICES = (-10.0, 20.0, -30.0), (0.7, 0.8, 2.0), 9
RECIPE = {"CT": {"levels": {"model": "precomputed"}}, "MR": {"levels": {"from": "CT"}}}


def _write_series(folder: Path, modality: str, study: str, frame: str) -> None:
    folder.mkdir(parents=True)
    series, random = generate_uid(), np.random.default_rng(len(modality + folder.name))
    for number in range(SLICES):
        position = np.add(ORIGIN, (0, 0, SPACING[2] * number))
        pixels = random.integers(0, 2000, (6, 8)).astype(np.int16)
        dataset = image(number, pixels=pixels, position=position, series=series, study=study)
        dataset.FrameOfReferenceUID = frame
        if modality == "MR":
            dataset.Modality, dataset.SOPClassUID = "MR", MRImageStorage
            dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
            del dataset.RescaleSlope, dataset.RescaleIntercept
        dataset.save_as(folder / f"{number}.dcm", enforce_file_format=True)


def _write_levels(path: Path) -> None:
    """Two unnamed vertebrae, one above the other."""
    levels = np.zeros((SLICES, 6, 8), np.uint8)
    levels[5:8, 1:5, 1:6], levels[1:4, 1:5, 1:6] = 101, 102
    mask = sitk.GetImageFromArray(levels)
    mask.SetOrigin(ORIGIN)
    mask.SetSpacing(SPACING)
    sitk.WriteImage(mask, path)


class Cohort:
    """A CT with levels, an MR of the same place, and one of another frame of reference."""

    def __init__(self, folder: Path, cluster: str) -> None:
        self.folder, self.cluster = folder, cluster
        study, frame = generate_uid(), generate_uid()
        _write_series(folder / "ct", "CT", study, frame)
        _write_series(folder / "mr", "MR", study, frame)
        _write_series(folder / "other", "MR", study, generate_uid())
        _write_levels(folder / "levels.nii.gz")
        self.name("V1=L1")

    def name(self, anchor: str) -> None:
        """Give the name of a vertebra in the manifest."""
        ct = {"uri": "ct", "levels_uri": "levels.nii.gz", "level_anchor": anchor}
        write_manifest(self.folder, [ct, *({"uri": n, "levels_uri": "", "level_anchor": ""} for n in ("mr", "other"))])

    def config(self, **more: Any) -> Any:
        return config_of(self.folder, cluster=self.cluster, **({"recipe": RECIPE} | more))

    def ask(self, sql: str) -> list[dict[str, Any]]:
        return run_query(self.config().store, sql).to_pylist()

    def levels(self) -> dict[str, list[list[str]]]:
        """The names of the levels seen, of each scan of a modality."""
        rows = self.ask(
            "SELECT s.modality, list_sort(list(v.level)) AS levels FROM vertebrae v JOIN series s USING (series_key) "
            "WHERE v.assessed = 'full' GROUP BY s.modality, v.series_key, v.recipe_id ORDER BY s.modality"
        )
        return {m: [row["levels"] for row in rows if row["modality"] == m] for m in ("CT", "MR")}


@pytest.fixture
def cohort(tmp_path: Path, cluster_address: str) -> Cohort:
    return Cohort(tmp_path, cluster_address)


def test_through_the_frame_of_reference_and_again_when_they_change(cohort: Cohort) -> None:
    assert launch(cohort.config())["processed"] == 3
    assert cohort.levels() == {"CT": [["L1", "L2"]], "MR": [["L1", "L2"]]}
    lost = cohort.ask("SELECT reason_code AS r, reason FROM scans WHERE status != 'ok'")
    assert [row["r"] for row in lost] == ["mask_missing"]
    assert "none with this frame of reference has levels" in lost[0]["reason"]
    assert look(cohort.config()).work == ()
    cohort.name("V1=T12")
    again = launch(cohort.config(), stages=Stages(ingest=fakes.never))
    assert (again["processed"], again["done_before"]) == (2, 1), "the CT, and the MR that took its levels"
    assert cohort.levels() == {"CT": [["L1", "T12"]], "MR": [["L1", "T12"]]}
    assert look(cohort.config()).work == ()


def test_a_run_that_ended_between_the_two_is_made_good(cohort: Cohort) -> None:
    launch(cohort.config())
    cohort.name("V1=T12")
    ct = {"CT": RECIPE["CT"]}
    assert launch(cohort.config(recipe=ct))["processed"] == 1, "as if the run had ended after the CT"
    assert cohort.levels()["MR"] == [["L1", "L2"]]
    assert launch(cohort.config())["processed"] == 1
    assert cohort.levels()["MR"] == [["L1", "T12"]]


def test_old_levels_are_not_measured_again(cohort: Cohort) -> None:
    launch(cohort.config())
    cohort.name("V1=T12")
    typed = {"CT": RECIPE["CT"], "MR": {**RECIPE["MR"], "type_rule": {"dense_hu": 150}}}
    launch(cohort.config(recipe=typed))
    newest = cohort.ask(
        "SELECT list_sort(list(v.level)) AS levels FROM vertebrae v JOIN scans s USING (recipe_id, series_key) "
        "WHERE s.modality = 'MR' AND v.assessed = 'full' GROUP BY s.recipe_id, s.finished_at "
        "ORDER BY s.finished_at DESC"
    )
    assert newest[0]["levels"] == ["L1", "T12"]
