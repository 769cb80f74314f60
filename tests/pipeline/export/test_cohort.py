"""Tables and NIfTI masks of a store, and what is said where there is nothing to write."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import SimpleITK as sitk

from pipeline.errors import RequestError
from pipeline.export import export_store
from pipeline.export.dicom_objects import REASONS
from pipeline.export.scans import find_scans, masks_of, with_lesions
from pipeline.grid import Grid
from pipeline.query import connect, describe
from pipeline.store import Store
from tests.pipeline.export.cases import RECIPE, store_of
from tests.pipeline.query.rows import add_scans, add_series, lesion, scan, series
from tests.servers import ObjectStorage


@pytest.fixture(scope="module")
def nifti(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Path]:
    """A store of an oblique, left-handed NIfTI scan, and where it is exported to."""
    folder = tmp_path_factory.mktemp("nifti")
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 500, (9, 12, 15)).astype(np.int16))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-10.0, 20.0, 300.0))
    turn = np.array([[0.8, 0.6, 0.0], [-0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]) @ np.diag([1.0, 1.0, -1.0])
    image.SetDirection(turn.ravel())
    (folder / "in").mkdir()
    sitk.WriteImage(image, str(folder / "in" / "scan_ct.nii.gz"))
    return store_of(folder / "in", folder), folder / "out"


def test_masks_come_back_from_nifti(nifti: tuple[Store, Path]) -> None:
    store, out = nifti
    summary = export_store(store, str(out), kinds=["nifti"])
    assert (summary.n_scans, summary.n_files) == (1, 2)
    with connect(store) as connection:
        (found,) = find_scans(connection, None)
    masks = masks_of(store, found)
    assert masks is not None
    for name, wanted in (("lesion", masks.lesions), ("vert", masks.levels)):
        (path,) = out.rglob(f"*_seg-{name}_msk.nii.gz")
        assert path.parts[-5:-1] == (
            "derivatives", f"spinetally-{RECIPE}", f"sub-{found.patient_key}", f"ses-{found.study_key}",
        )  # fmt: skip
        image = sitk.ReadImage(str(path))
        assert np.array_equal(sitk.GetArrayFromImage(image), wanted)
        grid = Grid(image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection())
        assert np.allclose(grid.affine, masks.grid.affine, atol=1e-4)
    document = json.loads((out / f"derivatives/spinetally-{RECIPE}/dataset_description.json").read_text())
    assert document["DatasetType"] == "derivative"


def test_a_nifti_scan_has_no_dicom_and_the_reason_is_written(nifti: tuple[Store, Path], tmp_path: Path) -> None:
    summary = export_store(nifti[0], str(tmp_path), kinds=["dicom"])
    assert dict(summary.skipped) == {"no_source_dicom": 1}
    with (tmp_path / "exported.csv").open() as file:
        (line,) = csv.DictReader(file)
    assert (line["kind"], line["path"], line["reason"]) == ("dicom", "", "no_source_dicom")
    assert line["reason"] in REASONS


def test_a_source_that_is_gone_is_said(nifti: tuple[Store, Path], tmp_path: Path) -> None:
    store, _ = nifti
    path = store.list("private/crosswalk")[0]
    before = store.read(path)
    rows = store.read_table(path)
    gone = [["/nowhere/1.dcm"]] * rows.num_rows
    try:
        store.write_table(path, rows.set_column(rows.column_names.index("uris"), rows.schema.field("uris"), [gone]))
        assert dict(export_store(store, str(tmp_path), kinds=["dicom"]).skipped) == {"source_gone": 1}
    finally:
        store.write(path, before)


def test_tables_are_the_views(nifti: tuple[Store, Path], tmp_path: Path) -> None:
    summary = export_store(nifti[0], str(tmp_path), kinds=["tables"])
    lesions = pq.read_table(tmp_path / "tables" / "lesions.parquet")
    assert lesions.num_rows == summary.rows["lesions"] == 3
    with (tmp_path / "tables" / "lesions.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["lesion_id"]) for line in lines] == lesions["lesion_id"].to_pylist()
    assert json.loads(lines[0]["centroid_mm"]) == lesions["centroid_mm"][0].as_py()
    assert pq.read_table(tmp_path / "tables" / "dictionary.parquet").equals(describe())
    assert "failures" not in summary.rows, "a view without rows makes no file"
    assert not (tmp_path / "tables" / "failures.csv").exists()


def test_large_tables_are_cut_into_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.export import tables

    monkeypatch.setattr(tables, "PART_ROWS", 2)
    store = Store.create(str(tmp_path / "store"), cohort="test")
    add_series(store, series("p1-s1-a"), series("p2-s1-a"))
    add_scans(store, scan("p1-s1-a", [lesion(n) for n in (1, 2, 3)]), scan("p2-s1-a", [lesion(1), lesion(2)]))
    add_scans(store, scan("p1-s1-a", [lesion(1)], recipe_id="r2"))
    assert export_store(store, str(tmp_path / "out"), kinds=["tables"], recipe_ids=["r1"]).rows["lesions"] == 5
    parts = sorted((tmp_path / "out" / "tables").glob("lesions*.parquet"))
    assert sum(pq.read_metadata(part).num_rows for part in parts) == 5
    assert len(parts) > 1


def test_export_goes_to_an_object_storage(nifti: tuple[Store, Path], object_storage: ObjectStorage) -> None:
    bucket = object_storage.new_bucket()
    export_store(nifti[0], f"s3://{bucket}/out", kinds=["nifti"], storage_options=object_storage.storage_options)
    found = object_storage.filesystem().find(f"{bucket}/out")
    assert sum(path.endswith("_msk.nii.gz") for path in found) == 2


def test_a_destination_that_cannot_be_written_is_a_wrong_request(nifti: tuple[Store, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="destination"):
        export_store(nifti[0], str(tmp_path / "file" / "out"), kinds=["tables"])


def test_lesions_come_in_portions_each_with_its_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(str(tmp_path / "store"), cohort="test")
    names = [f"p{number}-s1-a" for number in range(5)]
    add_series(store, *map(series, names))
    for recipe_id in ("r1", "r2"):
        found = [scan(name, [lesion(1 + i) for i in range(n)], recipe_id=recipe_id) for n, name in enumerate(names)]
        add_scans(store, *[row | {"labels_uri": "x"} for row in found])
    monkeypatch.setattr("pipeline.export.scans.PORTION", 3)
    with connect(store) as connection:
        given = list(with_lesions(connection, find_scans(connection, None)))
    assert len(given) == 10
    for each, lesions in given:
        assert [row["lesion_id"] for row in lesions] == list(range(1, 1 + int(each.series_key[1])))
        assert {(row["recipe_id"], row["series_key"]) for row in lesions} <= {(each.recipe_id, each.series_key)}
