"""DICOM SEG written by highdicom from known masks."""

from __future__ import annotations

import copy
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from pipeline.errors import ScanError
from pipeline.grid import Grid
from pipeline.mask_sources import read_as_drawn, read_mask
from schemas.reasons import Reason
from schemas.spine import level_number


def describe(number: int, label: str) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )


def write_seg(folder: Path, sources: list[pydicom.Dataset], masks: np.ndarray, labels: list[str], kind: str) -> str:
    """A SEG of masks [frame, row, column, segment] on source images."""
    segmentation = hd.seg.Segmentation(
        source_images=sources,
        pixel_array=masks,
        segmentation_type=kind,
        segment_descriptions=[describe(number, label) for number, label in enumerate(labels, 1)],
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="none",
        manufacturer_model_name="none",
        software_versions="0",
        device_serial_number="0",
        max_fractional_value=100,
    )
    segmentation.save_as(folder / "seg.dcm")
    return str(folder / "seg.dcm")


@pytest.fixture(scope="module")
def sources(liver: Path) -> list[pydicom.Dataset]:
    datasets = [pydicom.dcmread(path) for path in sorted((liver / "ct_image").iterdir())]
    for dataset in datasets:
        dataset.PatientName = "Phantom^Anon"  # highdicom refuses a name without a caret and an empty character set
        dataset.SpecificCharacterSet = "ISO_IR 100"
    return datasets


def masks_for(sources: list[pydicom.Dataset], n_segments: int) -> np.ndarray:
    """Boxes side by side, each on the last two images only."""
    masks = np.zeros((len(sources), 512, 512, n_segments), dtype=np.uint8)
    for segment in range(n_segments):
        masks[1:, 100:120, 100 + 30 * segment : 130 + 30 * segment, segment] = 1
    return masks


def on_grid(masks: np.ndarray, sources: list[pydicom.Dataset]) -> np.ndarray:
    """[z, y, x] with segment numbers; the images lie from the top down, the grid ascends."""
    numbered = (masks * np.arange(1, masks.shape[-1] + 1)).sum(axis=-1)
    order = np.argsort([float(source.ImagePositionPatient[2]) for source in sources])
    return numbered[order]


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_every_kind_of_segmentation_gives_its_segments(
    tmp_path: Path, sources: list[pydicom.Dataset], liver_grid: Grid, kind: str
) -> None:
    masks = masks_for(sources, 3)
    pixels = masks.astype(np.float32) if kind == "FRACTIONAL" else masks
    if kind == "LABELMAP":
        pixels = (masks * np.arange(1, 4, dtype=np.uint8)).sum(axis=-1).astype(np.uint8)
    read = read_mask(write_seg(tmp_path, sources, pixels, ["a", "b", "c"], kind), grid=liver_grid)
    np.testing.assert_array_equal(read.instances, on_grid(masks, sources))
    assert read.volume_change is None


def test_frames_on_a_tilted_scan_lie_where_its_images_lie(tmp_path: Path, sources: list[pydicom.Dataset]) -> None:
    tilted = [copy.deepcopy(source) for source in sources]
    for number, source in enumerate(tilted):
        x, y, z = source.ImagePositionPatient
        source.ImagePositionPatient = [x - 2.0 * number, y + 3.0 * number, z]
    masks = masks_for(tilted, 1)
    labels, grid = read_as_drawn(write_seg(tmp_path, tilted, masks, ["a"], "BINARY"))
    found = grid.to_lps(np.argwhere(labels))
    for source in tilted[1:]:
        x, y, z = source.ImagePositionPatient
        step = float(source.PixelSpacing[0])
        here = found[np.abs(found[:, 2] - z) < 0.1]
        assert len(here) == 20 * 30
        np.testing.assert_allclose(here.mean(axis=0)[:2], [x + 114.5 * step, y + 109.5 * step], atol=step / 2)


def test_a_fractional_segmentation_is_refused(tmp_path: Path, sources: list[pydicom.Dataset], liver_grid: Grid) -> None:
    uri = write_seg(tmp_path, sources, masks_for(sources, 1).astype(np.float32) * 0.5, ["a"], "FRACTIONAL")
    with pytest.raises(ScanError, match="fractional") as caught:
        read_mask(uri, grid=liver_grid)
    assert caught.value.reason is Reason.MASK_VALUES


def test_segments_name_their_levels_or_are_refused(
    tmp_path: Path, sources: list[pydicom.Dataset], liver_grid: Grid
) -> None:
    labels = ["T12 vertebra", "vertebrae_L1", "Sacrum"]
    levels = read_mask(
        write_seg(tmp_path, sources, masks_for(sources, 3), labels, "BINARY"), grid=liver_grid, kind="levels"
    )
    assert np.unique(levels.levels).tolist() == [0, level_number("T12"), level_number("L1"), level_number("SACRUM")]
    uri = write_seg(tmp_path, sources, masks_for(sources, 2), ["T12", "liver"], "BINARY")
    with pytest.raises(ScanError, match="name no level") as caught:
        read_mask(uri, grid=liver_grid, kind="levels")
    assert "liver" not in caught.value.sentence
    assert read_mask(uri, grid=liver_grid, kind="levels", segments="T12").levels.any()


def test_a_segmentation_that_says_nothing_of_its_place_is_refused(
    liver: Path, liver_grid: Grid, tmp_path: Path
) -> None:
    seg = pydicom.dcmread(liver / "dicom_seg" / "liver.dcm")
    del seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    seg.save_as(tmp_path / "seg.dcm")
    with pytest.raises(ScanError, match="how its planes lie") as caught:
        read_mask(str(tmp_path / "seg.dcm"), grid=liver_grid)
    assert caught.value.reason is Reason.MASK_GRID
