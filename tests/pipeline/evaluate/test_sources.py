"""Where the reference standard lies, and to which part of the cohort a scan belongs."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import ConfigError, SourceError
from pipeline.evaluate.from_cohort import cohort_truth
from pipeline.evaluate.sources import Assignment, TruthSource, assignments, read_points, source_id
from pipeline.evaluate.splits import check_splits
from pipeline.identity import Identity
from schemas.config import CohortConfig, Truth
from tests.pipeline.evaluate.little import LittleScan, truths

CROSSWALK = pa.table(
    {
        "series_key": ["k1", "k2", "k3"],
        "patient_id": ["P1", "P2", "P2"],
        "series": ["1.2.3", "1.2.4", "1.2.5"],
    }
)


def points_file(folder: Path, text: str) -> str:
    (folder / "points.csv").write_text(text)
    return str(folder / "points.csv")


def test_points_by_patient_and_by_series(tmp_path: Path) -> None:
    table = "patient_id,series,x,y,z,radius_mm\nP1,,1,2,3,4\nP1,,5,6,7,8\n,1.2.4,0,0,0,2.5\n,1.2.5,,,,\n"
    assert read_points(points_file(tmp_path, table), CROSSWALK) == {
        "k1": [(1, 2, 3, 4), (5, 6, 7, 8)],
        "k2": [(0, 0, 0, 2.5)],
        "k3": [],  # read, and no lesion
    }


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("P9,,1,2,3,4", "row 1 of the points names nobody"),
        ("P2,,1,2,3,4", "fits 2 series"),
        ("P1,,1,2,3,", "lacks x, y, z or radius_mm"),
        ("P1,,1,2,east,4", "lacks x, y, z or radius_mm"),
        ("P1,,1,2,3,-1", "radius of -1 mm"),
    ],
)
def test_rows_that_make_no_sense_are_named_without_saying_who(tmp_path: Path, row: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        read_points(points_file(tmp_path, f"patient_id,series,x,y,z,radius_mm\n{row}\n"), CROSSWALK)
    assert "P9" not in str(caught.value)
    with pytest.raises(SourceError, match="is not there"):
        read_points(str(tmp_path / "none.csv"), CROSSWALK)


def test_parts_have_four_names() -> None:
    clinical = pa.table(
        {
            "patient_key": ["a", "b", "c"],
            "study_key": ["s"] * 3,
            "series_key": ["1", "2", "3"],
            "split": [" Train", "external", None],
        }
    )
    assert [part.split for part in assignments(clinical, "split")] == ["train", "external", None]
    assert assignments(clinical.drop_columns(["split"]), "split") == []
    with pytest.raises(ConfigError, match="holds 'test'"):
        assignments(clinical.set_column(3, "split", pa.array(["test", None, None])), "split")


def test_identical_volumes_in_two_parts_are_refused() -> None:
    parts = [Assignment("1", "a", "train"), Assignment("2", "b", "external"), Assignment("3", "c", None)]
    check_splits(parts, {"1": "x", "2": "y", "3": "x"})
    check_splits(parts, {"1": None, "2": None})
    with pytest.raises(ConfigError, match="1 volumes are in more than one part"):
        check_splits(parts, {"1": "x", "2": "x"})
    with pytest.raises(ConfigError, match=r"1 patients \(a\)"):
        check_splits([*parts, Assignment("4", "a", "tune")], {})


def test_a_reference_is_known_again_until_its_file_or_its_scan_changes(tmp_path: Path) -> None:
    (source,) = truths(tmp_path, [LittleScan("a", "p")])
    first = source_id(source, version="v1")
    assert source_id(source, version="v1") == first
    assert source_id(source, version="v2") != first
    Path(str(source.uri)).write_bytes(b"something else")
    assert source_id(source, version="v1") != first
    gone = TruthSource("a", "s", "p", uri=str(tmp_path / "gone.nii"))
    assert source_id(gone) == source_id(gone)


def test_a_manifest_names_masks_parts_and_a_second_reader(tmp_path: Path, shared_data: Path) -> None:
    scan = shared_data / "spine_ct_vertebra_tptbox" / "sub-ct_label-22_ct.nii.gz"
    mask = shared_data / "spine_ct_vertebra_tptbox" / "sub-ct_seg-subreg_label-22_msk.nii.gz"
    header = "uri,patient_id,modality,site,split,drawn,drawn_again"
    (tmp_path / "cohort.csv").write_text(f"{header}\n{scan},P1,CT,north,external,{mask},{mask}\n")
    config = CohortConfig(
        source=str(tmp_path / "cohort.csv"),
        store=str(tmp_path / "store"),
        truth=Truth(masks="drawn", more_masks=["drawn_again"]),
    )
    found, parts = cohort_truth(config, identity=Identity.throwaway())
    assert [(t.reader, t.uri, t.split) for t in found] == [("1", str(mask), "external"), ("2", str(mask), "external")]
    assert len({t.series_key for t in found}) == 1
    assert [part.split for part in parts] == ["external"]
    (tmp_path / "plain.csv").write_text(f"uri,patient_id,truth_uri\n{scan},P1,{mask}\n")
    plain, none = cohort_truth(
        CohortConfig(source=str(tmp_path / "plain.csv"), store="x"), identity=Identity.throwaway()
    )
    assert [(t.split, t.uri) for t in plain] == [(None, str(mask))]
    assert none == []


def test_what_is_true_of_a_scan_that_cannot_be_read_is_kept_once(tmp_path: Path, shared_data: Path) -> None:
    """A broken file with a row of its own keeps its truth; one among the slices of a series does not double theirs."""
    folder = tmp_path / "series"
    folder.mkdir()
    for path in sorted((shared_data / "ct_body_spine_dicom_crlm1004" / "image").iterdir())[:4]:
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"nothing")
    (tmp_path / "cut_ct.nii.gz").write_bytes(b"nothing")
    rows = [
        "uri,patient_id,truth_uri",
        f"{folder},P1,one.nii.gz",
        "cut_ct.nii.gz,P2,two.nii.gz",
        "none_ct.nii,P3,three.nii",
    ]
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    found, _ = cohort_truth(CohortConfig(source=str(tmp_path / "cohort.csv"), store="x"), identity=Identity.throwaway())
    assert sorted(Path(str(t.uri)).name for t in found) == ["one.nii.gz", "three.nii", "two.nii.gz"]
    assert len({t.series_key for t in found}) == 3
