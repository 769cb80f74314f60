from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
from pydicom import dcmread

from pipeline.identity import Identity
from pipeline.index.given import with_given
from pipeline.index.references import MaskObject, attach
from pipeline.index.source_index import index_source
from pipeline.ingest import ingest_series
from pipeline.mask_sources import read_mask
from pipeline.series import MaskUris, SeriesEntry
from pipeline.store import Store
from pipeline.store.volumes import grid_of
from schemas.config import CohortConfig

IDENTITY = Identity(b"r" * 32)


def entry(**changes: object) -> SeriesEntry:
    known: dict[str, object] = {
        "series_key": "s", "study_key": "st", "patient_key": "p", "series_uid_key": IDENTITY.uid_key("1.2.3"),
        "version": "v", "ingest_id": "i", "kind": "dicom", "files": (),
    }  # fmt: skip
    return SeriesEntry(**(known | changes))  # type: ignore[arg-type]


def mask(uri: str, *labels: str, series: str = "1.2.3") -> MaskObject:
    return MaskObject(uri, json.dumps({"series": [series], "segments": [[label, "", ""] for label in labels]}))


def matched(*masks: MaskObject, of: SeriesEntry | None = None) -> MaskUris:
    return attach([of or entry()], masks, IDENTITY)[0].masks


def test_vertebrae_are_levels_and_all_else_lesions() -> None:
    found = matched(mask("a", "L1 vertebra", "L2 vertebra"), mask("b", "GTV_Mass"))
    assert found == MaskUris(lesions_uri="b", levels_uri="a")


@pytest.mark.parametrize("label", ["GTV_Mass_MR_T1", "Lesion L3", "mets T12", "MR_T2"])
def test_a_lesion_is_none_of_the_levels_that_its_name_holds(label: str) -> None:
    assert matched(mask("lesion", label)).lesions_uri == "lesion"


def test_of_several_none_is_chosen() -> None:
    masks = matched(mask("a", "GTV"), mask("b", "GTV"))
    assert masks.uris == []
    assert "2 masks" in str(masks.lesions_why)


def test_copies_of_one_object_are_one_mask() -> None:
    records = [json.dumps({"uid": uid, "series": ["1.2.3"], "segments": [["GTV", "", ""]]}) for uid in ("1", "1", "2")]
    first, copy, other = (MaskObject(uri, record) for uri, record in zip("bac", records, strict=True))
    assert matched(first, copy).lesions_uri == "a"
    assert matched(first, copy, other).lesions_uri is None


def test_the_manifest_comes_first() -> None:
    named = entry(masks=MaskUris(lesions_uri="mine"))
    assert matched(mask("a", "GTV"), of=named).lesions_uri == "mine"


def test_other_series_are_left_alone() -> None:
    assert matched(mask("a", "GTV", series="9.9")) == MaskUris()


def test_a_structure_set_finds_the_series_that_it_names(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "sarcoma_sts001_ct_pet_mr_rtstruct" / "CT"
    for path in sorted((folder / "image").iterdir())[:3]:
        shutil.copy(path, tmp_path)
    structures = dcmread(folder / "rtstruct" / "RS.dcm")
    structures.save_as(tmp_path / "structures")
    config = CohortConfig(source=str(tmp_path), store="unused")
    [series] = index_source(config, identity=IDENTITY).series
    assert series.masks.lesions_uri  # as it came, it names a series that is not there, in the same space

    structures.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3.4"
    structures.FrameOfReferenceUID, structures.StudyInstanceUID = "1.2.3.4", "1.2.3.5"
    structures.save_as(tmp_path / "structures")
    [series] = index_source(config, identity=IDENTITY).series
    assert series.masks == MaskUris()

    named = structures.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    named.SeriesInstanceUID = dcmread(path).SeriesInstanceUID
    structures.save_as(tmp_path / "structures")
    [series] = index_source(config, identity=IDENTITY).series
    assert series.masks == MaskUris(lesions_uri=str(tmp_path / "structures"))


def test_a_segmentation_finds_the_series_that_it_names(shared_data: Path, tmp_path: Path) -> None:
    for path in (shared_data / "seg_liver_spine_dcmqi" / "ct_image").iterdir():
        shutil.copy(path, tmp_path)
    shutil.copy(shared_data / "seg_liver_spine_dcmqi" / "dicom_seg" / "liver.dcm", tmp_path / "mask")
    config = CohortConfig(source=str(tmp_path), store="unused")
    [series] = index_source(config, identity=IDENTITY).series
    assert series.masks == MaskUris(lesions_uri=str(tmp_path / "mask"))
    shutil.copy(shared_data / "seg_liver_spine_dcmqi" / "dicom_seg" / "partial_overlaps.dcm", tmp_path / "another")
    [series] = index_source(config, identity=IDENTITY).series
    assert series.masks == MaskUris(lesions_why="2 masks of the source refer to this series, and none is chosen")


def test_a_mask_in_an_archive_is_found_read_and_known_again(shared_data: Path, tmp_path: Path) -> None:
    data = shared_data / "seg_liver_spine_dcmqi"
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as bundle:
        for path in [*sorted((data / "ct_image").glob("*.dcm")), data / "dicom_seg" / "liver.dcm"]:
            bundle.write(path, path.name)
    recipe = {"CT": {"lesions": {"model": "precomputed"}}}
    config = CohortConfig.model_validate({"source": str(tmp_path / "study.zip"), "store": "unused", "recipe": recipe})
    first = index_source(config, identity=IDENTITY)
    [series] = first.series
    assert series.masks.lesions_uri is not None
    row = ingest_series(series, store=Store.create(str(tmp_path / "store"), cohort="c"), shard="a", attempt="b",
                        config=config)  # fmt: skip
    grid = grid_of(row, tuple(row["shape"]))
    assert read_mask(series.masks.lesions_uri, grid=grid).instances.any()
    assert series.given_id is not None
    os.utime(tmp_path / "study.zip", ns=(0, 0))
    [again] = index_source(config, identity=IDENTITY, previous=first.files).series
    assert again.given_id == series.given_id, "by content"


def test_masks_of_a_server_are_known_by_their_names() -> None:
    uri = "dicomweb+http://127.0.0.1:9/dicom-web/studies/1/series/2/instances/3.4"
    recipes = CohortConfig.model_validate(
        {"source": "s", "store": "t", "recipe": {"CT": {"lesions": {"model": "precomputed"}}}}
    ).recipe
    scan = entry(modality="CT", masks=MaskUris(lesions_uri=uri))
    [given], [file] = with_given([scan], recipes, known={}, storage_options={})
    assert given.given_id is not None
    assert file.uri == uri
