from __future__ import annotations

from struct import pack
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.uid import MRImageStorage, generate_uid

from pipeline.dicom.diffusion import private_diffusion, private_diffusion_of_group
from pipeline.dicom.frames import frames_of

SIEMENS, GE, PHILIPS = (0x19, "SIEMENS MR HEADER"), (0x43, "GEMS_PARM_01"), (0x2001, "Philips Imaging DD 001")
UIH = (0x65, "Image Private Header")


def weighted(vendor: tuple[int, str], element: int, vr: str, value: Any, *, block: int = 0) -> Dataset:
    dataset = Dataset()
    dataset.ScanningSequence = ["EP", "SE"]
    for number in range(block):  # others that were there first
        dataset.private_block(vendor[0], f"OTHER {number}", create=True)
    dataset.private_block(*vendor, create=True).add_new(element, vr, value)
    return dataset


@pytest.mark.parametrize(
    ("vendor", "element", "vr", "value", "expected"),
    [
        (SIEMENS, 0x0C, "IS", "800", 800.0),
        (SIEMENS, 0x0C, "UN", b"50", 50.0),
        (GE, 0x39, "IS", [1000, 8, 0, 0], 1000.0),
        (GE, 0x39, "IS", [1_000_000_050, 8, 0, 0], 50.0),
        (GE, 0x39, "UN", b"1000001000\\8\\0\\0", 1000.0),
        (PHILIPS, 0x03, "FL", 600.0, 600.0),
        (PHILIPS, 0x03, "UN", pack("<f", 600.0), 600.0),
        (UIH, 0x09, "FD", 800.0, 800.0),
        (UIH, 0x09, "UN", pack("<d", 800.0), 800.0),
        (SIEMENS, 0x0C, "UN", b"\xff\xfe", None),
        (PHILIPS, 0x03, "UN", b"\0", None),
    ],
)
@pytest.mark.parametrize("block", [0, 2])
def test_b_values_as_vendors_write_them(
    vendor: tuple[int, str], element: int, vr: str, value: Any, expected: float | None, block: int
) -> None:
    found = private_diffusion(weighted(vendor, element, vr, value, block=block))
    assert found == ({} if expected is None else {"DiffusionBValue": expected})


def test_where_ge_uses_the_element_for_something_else() -> None:
    dataset = weighted(GE, 0x39, "IS", [1000, 8, 0, 0])
    dataset.ScanningSequence = "GR"
    assert private_diffusion(dataset) == {}


def test_no_private_element_no_b_value() -> None:
    assert private_diffusion(Dataset()) == {}


def test_private_b_values_and_directions_tell_volumes_apart(maker: Any) -> None:
    series = generate_uid()

    def weigh(dataset: Dataset, b_value: int, direction: list[float]) -> None:
        dataset.Modality, dataset.SOPClassUID = "MR", MRImageStorage
        dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
        block = dataset.private_block(*SIEMENS, create=True)
        block.add_new(0x0C, "IS", str(b_value))
        block.add_new(0x0E, "FD", direction)

    weights = [(0, [0.0, 0.0, 0.0]), (800, [1.0, 0.0, 0.0]), (800, [0.0, 1.0, 0.0])]
    for seed, (b_value, direction) in enumerate(weights):
        maker.write(count=3, series=series, seed=seed, change=lambda d, _, b=b_value, g=direction: weigh(d, b, g))
    rows = maker.ingest()
    assert [row["status"] for row in rows] == ["ok"] * 3
    assert {row["part_reason"] for row in rows} == {"gradient"}
    assert sorted(row["diffusion_b_value"] for row in rows) == [0.0, 800.0, 800.0]
    assert sorted(str(row.get("sequence_class")) for row in rows) == ["DWI", "DWI", "None"]


def private_sequence(*items: Dataset) -> Dataset:
    group = Dataset()
    group.private_block(0x2005, "Philips MR Imaging DD 005", create=True).add_new(0x0F, "SQ", list(items))
    return group


def public(b_value: float) -> Dataset:
    item = Dataset()
    item.DiffusionBValue, item.DiffusionGradientOrientation = b_value, [0.0, 0.0, 1.0]
    return item


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        (weighted(SIEMENS, 0x0C, "IS", "800"), 800.0),
        (weighted(UIH, 0x09, "FD", 600.0), 600.0),
        (private_sequence(public(500.0)), 500.0),
        (private_sequence(Dataset(), weighted(PHILIPS, 0x03, "FL", 400.0)), 400.0),
        (private_sequence(), None),
        (Dataset(), None),
    ],
)
def test_functional_groups_that_lost_the_macro_of_diffusion(group: Dataset, expected: float | None) -> None:
    assert private_diffusion_of_group(group).get("DiffusionBValue") == expected
    enhanced = Dataset()
    enhanced.PerFrameFunctionalGroupsSequence = [group]
    assert frames_of(enhanced)[0].traits.get("b_value") == expected


def test_components_of_enhanced_objects_and_a_direction_without_a_b_value() -> None:
    macro, direction, kind = Dataset(), Dataset(), Dataset()
    direction.DiffusionGradientOrientation = [1.0, 0.0, 0.0]
    macro.DiffusionGradientDirectionSequence = [direction]
    kind.FrameType, kind.ComplexImageComponent = ["ORIGINAL", "PRIMARY", "OTHER", "NONE"], "PHASE"
    group = Dataset()
    group.MRDiffusionSequence, group.MRImageFrameTypeSequence = [macro], [kind]
    enhanced = Dataset()
    enhanced.PerFrameFunctionalGroupsSequence = [group]
    [frame] = frames_of(enhanced)
    assert (frame.traits["component"], frame.traits["gradient"]) == (1.0, "1.0\\0.0\\0.0")
    assert "b_value" not in frame.traits
