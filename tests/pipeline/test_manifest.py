from __future__ import annotations

import io
from datetime import date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import SourceError
from pipeline.manifest import ManifestRow, parse_manifest


def parse(text: str, **options: object) -> list[ManifestRow]:
    return parse_manifest(text.encode(), uri="/cohort/m.csv", **({"clinical": []} | options))  # type: ignore[arg-type]


def test_what_a_row_says() -> None:
    [row] = parse(
        "uri,patient_id,study_date,site,modality,levels_uri,age,secret\nct/1.nii,007,2020-03-04,north,pet,l.nii,61,x\n",
        clinical=["age"],
    )
    assert row.uri == "/cohort/ct/1.nii"
    assert (row.patient_id, row.study_date, row.site, row.modality) == ("007", date(2020, 3, 4), "north", "PT")
    assert row.masks.levels_uri == "/cohort/l.nii"
    assert row.clinical == {"age": 61}


def test_empty_cells_are_missing() -> None:
    [row] = parse("uri,patient_id,modality,lesions_uri\n/data/1.nii,,,\n")
    assert row.uri == "/data/1.nii"
    assert (row.patient_id, row.modality, row.masks.lesions_uri) == (None, None, None)


def test_addresses_of_services_stay() -> None:
    assert parse("uri\ns3://bucket/scan/\n")[0].uri == "s3://bucket/scan"
    [row] = parse_manifest(b"uri\nscan/1\n", uri="s3://bucket/lists/m.csv", clinical=[])
    assert row.uri == "s3://bucket/lists/scan/1"


def test_parquet_with_real_dates() -> None:
    table = pa.table({"uri": ["a"], "study_date": [datetime(2021, 1, 2)], "truth": ["t.nii"]})
    file = io.BytesIO()
    pq.write_table(table, file)
    [row] = parse_manifest(file.getvalue(), uri="/c/m.parquet", clinical=[], truth="truth")
    assert row.study_date == date(2021, 1, 2)
    assert row.masks.truth_uri == "/c/t.nii"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file\na.nii\n", "uri"),
        ("uri\n\n,\n", "no `uri`|cannot be read"),
        ("uri,study_date\na.nii,yesterday\n", "row 1 .*study_date"),
        ("uri\na,b,c\n", "cannot be read"),
    ],
)
def test_what_is_wrong_is_said(text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        parse(text)


def test_a_clinical_column_that_is_not_there() -> None:
    with pytest.raises(SourceError, match="tumour"):
        parse("uri\na.nii\n", clinical=["tumour"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("uri,site\na.nii,Doe^Jane,1941\n", "expected 2 columns, got 3"),
        ("Doe^Jane.nii,1941-02-03\nb.nii,1950-01-01\n", "no column 'uri' among its 2.*first line"),
        ("URL,patient_id\na.nii,Doe^Jane\n", "'url'"),
        ("uri;patient_id\na.nii;Doe^Jane\n", "separated by commas"),
        ("uri,uri\na.nii,Doe^Jane\n", "'uri' twice"),
        ("", "empty"),
    ],
)
def test_what_is_wrong_is_said_without_what_stands_there(text: str, said: str) -> None:
    with pytest.raises(SourceError, match=said) as caught:
        parse(text)
    assert not any(word in str(caught.value) for word in ("Doe", "1941"))


def test_another_encoding_is_named() -> None:
    with pytest.raises(SourceError, match="UTF-8"):
        parse_manifest("uri,site\na.nii,Köln\n".encode("latin-1"), uri="m.csv", clinical=[])


def test_a_value_may_hold_a_line_break() -> None:
    assert [row.name for row in parse('uri,note\na.nii,"one\ntwo"\nb.nii,\n')] == ["a.nii", "b.nii"]


def test_numbers_with_gaps_are_no_strangers_of_one_name() -> None:
    file = io.BytesIO()
    pq.write_table(pa.table({"uri": ["a", "b"], "patient_id": pa.array([7.0, float("nan")])}), file)
    rows = parse_manifest(file.getvalue(), uri="m.parquet", clinical=[])
    assert [row.patient_id for row in rows] == ["7", None]
