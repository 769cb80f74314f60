"""SEG and SR, read by others: dcmqi gets every voxel and measurement back, dciodvfy finds no error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from pipeline.export import export_store
from pipeline.export.scans import Masks, find_scans, masks_of
from pipeline.export.source_images import source_addresses
from pipeline.query import connect, run_query
from pipeline.store import Store
from tests.pipeline.export.cases import RECIPE, store_of

SOURCES = {
    "axial CT": "ct_body_spine_dicom_crlm1004",
    "tilted CT": "ct_broken_dicom2nifti",
    "MR: double oblique, non-square, enhanced, JPEG 2000": "mr_dicom_variants_dicom2nifti",
    "enhanced CT": "enhanced_multiframe_pydicom_data",
    "CT, PET and MR": "sarcoma_sts001_ct_pet_mr_rtstruct",
}


@pytest.fixture(scope="module", params=list(SOURCES))
def exported(
    request: pytest.FixtureRequest, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, Path]:
    """A store of real series, and what was exported of it."""
    folder = tmp_path_factory.mktemp("export")
    store = store_of(shared_data / SOURCES[request.param], folder)
    summary = export_store(store, str(folder / "out"), kinds=["dicom"])
    assert summary.n_scans > 0
    assert set(summary.skipped) <= {"no_source_dicom"}, "only NIfTI files have no source images"
    assert summary.n_files == 3 * (summary.n_scans - summary.skipped.total()) > 0
    return store, folder / "out"


def masks(store: Store) -> dict[str, Masks]:
    """series_key to its masks."""
    with connect(store) as connection:
        found = {scan.series_key: masks_of(store, scan) for scan in find_scans(connection, None)}
    return {key: each for key, each in found.items() if each is not None}


def program(name: str) -> str:
    """One of dcmqi's programs."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: pip install dcmqi")
    return found


def read_back(path: Path, folder: Path) -> dict[int, sitk.Image]:
    """Segment number to its image, by dcmqi."""
    folder.mkdir()
    command = [program("segimage2itkimage"), "--inputDICOM", str(path), "--outputDirectory", str(folder), "-t", "nrrd"]
    done = subprocess.run([*command, "--prefix", "s"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {int(found.stem.split("-")[1]): sitk.ReadImage(str(found)) for found in folder.glob("s-*.nrrd")}


def voxels_of(image: sitk.Image, masks: Masks) -> set[tuple[int, ...]]:
    """The voxels of a segment as indices of the scan's own grid; they must lie on its voxels."""
    index = np.argwhere(sitk.GetArrayFromImage(image))
    direction = np.reshape(image.GetDirection(), (3, 3)) * np.asarray(image.GetSpacing())
    points = index[:, ::-1] @ direction.T + np.asarray(image.GetOrigin())
    on_grid = masks.grid.to_index(points)
    assert np.abs(on_grid - np.round(on_grid)).max(initial=0) < 1e-3
    return set(map(tuple, np.round(on_grid).astype(int)))


def segments(exported: tuple[Store, Path], name: str) -> list[tuple[str, Path]]:
    """Series and SEG, of lesions or of levels."""
    return [(path.parent.name, path) for path in sorted(exported[1].rglob(f"*_{name}.seg.dcm"))]


def test_lesions_come_back_voxel_by_voxel(exported: tuple[Store, Path], tmp_path: Path) -> None:
    known = masks(exported[0])
    for number, (series_key, path) in enumerate(segments(exported, "lesions")):
        wanted = known[series_key]
        assert wanted.lesions is not None
        images = read_back(path, tmp_path / str(number))
        assert sorted(images) == [1, 2, 3]
        for label, image in images.items():
            assert voxels_of(image, wanted) == set(map(tuple, np.argwhere(wanted.lesions == label)))


def test_levels_come_back_with_their_names(exported: tuple[Store, Path], tmp_path: Path) -> None:
    known = masks(exported[0])
    for number, (series_key, path) in enumerate(segments(exported, "levels")):
        wanted = known[series_key]
        assert wanted.levels is not None
        images = read_back(path, tmp_path / str(number))
        described = {int(s.SegmentNumber): s for s in pydicom.dcmread(path).SegmentSequence}
        for label, level in ((1, 20), (2, 28)):
            assert voxels_of(images[label], wanted) == set(map(tuple, np.argwhere(wanted.levels == level)))
        types = [described[n].SegmentedPropertyTypeCodeSequence[0] for n in (1, 2)]
        assert [(t.CodeValue, t.CodingSchemeDesignator) for t in types] == [
            ("66794005", "SCT"),
            ("T13", "99SPINETALLY"),
        ]


def test_measurements_come_back(exported: tuple[Store, Path], tmp_path: Path) -> None:
    for number, path in enumerate(sorted(exported[1].rglob("*.sr.dcm"))):
        folder, written = tmp_path / str(number), tmp_path / f"{number}.json"
        folder.mkdir()
        command = [program("tid1500reader"), "--inputDICOM", str(path), "--outputMetadata", str(written)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-2000:]
        groups = {group["TrackingIdentifier"]: group for group in json.loads(written.read_text())["Measurements"]}
        question = f"SELECT * FROM lesions WHERE series_key = '{path.parent.name}'"  # noqa: S608
        seg = pydicom.dcmread(str(path).replace(".sr.dcm", ".seg.dcm"))
        uids = {int(s.SegmentNumber): str(s.TrackingUID) for s in seg.SegmentSequence}
        for lesion in run_query(exported[0], question).to_pylist():
            group = groups[f"lesion-{lesion['lesion_id']}"]
            assert group["TrackingUniqueIdentifier"] == uids[lesion["lesion_id"]]
            assert group["segmentationSOPInstanceUID"] == seg.SOPInstanceUID
            assert group["ReferencedSegment"] == lesion["lesion_id"]
            assert group["Finding"]["CodeValue"] == "52988006", "a lesion, never a metastasis"
            assert ("FindingSite" in group) == (lesion["level"] != "none"), "outside all vertebrae is not in the spine"
            site = seg.SegmentSequence[lesion["lesion_id"] - 1].get("AnatomicRegionSequence")
            assert bool(site) == ("FindingSite" in group)
            assert _measures(group) == pytest.approx(_expected(lesion), rel=1e-6)


def _measures(group: dict[str, Any]) -> dict[tuple[str, str], float]:
    return {
        (item["quantity"]["CodeValue"], item.get("derivationModifier", {}).get("CodeValue", "")): float(item["value"])
        for item in group["measurementItems"]
    }


def _expected(lesion: dict[str, Any]) -> dict[tuple[str, str], float]:
    columns = {
        ("118565006", ""): "volume_mm3",
        ("103339001", ""): "long_axis_mm",
        ("103340004", ""): "short_axis_mm",
        ("112031", "373098007"): "hu_mean",
        ("112031", "56851009"): "hu_max",
        ("126401", "373098007"): "suv_mean",
        ("126401", "56851009"): "suv_max",
    }
    return {code: lesion[column] for code, column in columns.items() if lesion[column] is not None}


def complaints(checker: str, path: str) -> set[str]:
    """What dciodvfy calls an error."""
    done = subprocess.run([checker, "-new", path], capture_output=True, text=True, check=False)
    return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}


def test_dciodvfy_finds_no_error_that_the_source_has_not(exported: tuple[Store, Path]) -> None:
    checker = shutil.which("dciodvfy")
    if checker is None:
        pytest.skip("dciodvfy is not installed: apt install dicom3tools")
    addresses = source_addresses(exported[0])
    for path in sorted(exported[1].rglob("*.dcm")):
        assert complaints(checker, str(path)) <= complaints(checker, addresses[path.parent.name][0])


def test_objects_belong_to_the_source(exported: tuple[Store, Path], shared_data: Path) -> None:
    for path in sorted(exported[1].rglob("*.dcm")):
        made = pydicom.dcmread(path, stop_before_pixels=True)
        assert made.StudyInstanceUID
        assert made.SeriesInstanceUID.startswith("2.25.")
        assert made.ContentDate == "20260101", "the time of the result, not of the export"
        assert made.DeviceSerialNumber == RECIPE
        assert RECIPE[:8] in made.SeriesDescription, "an archive shows the series of all recipes beside each other"
        assert len(made.SeriesDescription) <= 64
        if made.Modality == "SEG":
            derived = made.ContentDescription.endswith("(gantry_tilt)")
            assert derived == ("derived" in made.ContentDescription)


def test_the_same_export_is_the_same_object(exported: tuple[Store, Path], tmp_path: Path) -> None:
    store, first = exported
    export_store(store, str(tmp_path / "again"), kinds=["dicom"])
    for path in sorted(first.rglob("*.dcm")):
        assert (tmp_path / "again" / path.relative_to(first)).read_bytes() == path.read_bytes()


def test_a_label_map_holds_the_same_voxels(exported: tuple[Store, Path], tmp_path: Path) -> None:
    import highdicom

    export_store(exported[0], str(tmp_path), kinds=["dicom"], segmentation="LABELMAP")
    known = masks(exported[0])
    for path in sorted(tmp_path.rglob("*_lesions.seg.dcm")):
        made = highdicom.seg.segread(path)
        assert made.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
        volume = made.get_volume(combine_segments=True)
        wanted = known[path.parent.name]
        index = np.argwhere(volume.array)
        points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        on_grid = np.round(wanted.grid.to_index(points)).astype(int)
        found = {(*map(int, place), int(volume.array[tuple(i)])) for place, i in zip(on_grid, index, strict=True)}
        assert wanted.lesions is not None
        expected = np.argwhere(wanted.lesions)
        assert found == {(*map(int, place), int(wanted.lesions[tuple(place)])) for place in expected}
