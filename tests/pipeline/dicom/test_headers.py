from __future__ import annotations

import errno
import json
import warnings
from io import BytesIO
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from pipeline.dicom.elements import Incomplete, Unusual
from pipeline.dicom.headers import Header, fast_record, looks_like_dicom, read_header, record_of
from pipeline.dicom.part10 import read_header_by_pydicom
from pipeline.dicom.quiet import quiet
from pipeline.errors import ServiceError


def dicom_files(folder: Path) -> list[Path]:
    return [p for p in sorted(folder.rglob("*")) if p.is_file() and looks_like_dicom(p.read_bytes()[:132])]


def by_pydicom(data: bytes) -> tuple[str, str]:
    with quiet():
        return record_of(read_header_by_pydicom(BytesIO(data)))


def test_the_fast_way_gives_what_pydicom_gives(shared_data: Path) -> None:
    fast = 0
    for path in dicom_files(shared_data):
        data = path.read_bytes()
        try:
            record = fast_record(data)
        except (Unusual, Incomplete):  # an object without pixels ends where the file does
            continue
        fast += 1
        assert record == by_pydicom(data), path.name
    assert fast > 250  # nearly all of them are ordinary


@pytest.mark.parametrize(
    "name",
    [
        "codec_zoo_pydicom/CT_small.dcm",
        "codec_zoo_pydicom/MR_small_implicit.dcm",
        "sarcoma_sts001_ct_pet_mr_rtstruct/PET/image/000022.dcm",
        "transfer_syntax_mosaic_dcm_qa_ts/1.dcm",
    ],
)
def test_the_fast_way_never_disagrees_on_damaged_files(shared_data: Path, name: str) -> None:
    data = (shared_data / name).read_bytes()[:12000]

    @settings(max_examples=150)
    @given(st.integers(0, 2**32))
    def damage(seed: int) -> None:
        random = Random(seed)
        damaged = bytearray(data)
        for _ in range(random.randint(1, 4)):
            damaged[random.randrange(132, len(damaged))] = random.randrange(256)
        try:
            record = fast_record(bytes(damaged))
        except (Unusual, Incomplete):
            return
        assert record == by_pydicom(bytes(damaged))

    damage()


def test_more_is_read_where_the_header_is_long(shared_data: Path) -> None:
    data = (shared_data / "ct_body_spine_dicom_crlm1004" / "image" / "1-14.dcm").read_bytes()
    whole = read_header(BytesIO(data), start=data, size=len(data))
    assert read_header(BytesIO(data), start=data[:400], size=len(data)) == whole
    assert whole[0] == "dicom"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sarcoma_sts001_ct_pet_mr_rtstruct/CT/rtstruct/RS.dcm", "not_image"),
        ("seg_liver_spine_dcmqi/dicom_seg/liver.dcm", "not_image"),
        ("seg_liver_spine_dcmqi/sr_example/sr.dcm", "not_image"),
        ("seg_liver_spine_dcmqi/sr_example/rwvm.dcm", "not_image"),
        ("codec_zoo_pydicom/rtstruct.dcm", "not_image"),
        ("enhanced_multiframe_pydicom_data/eCT_Supplemental.dcm", "dicom"),
    ],
)
def test_what_is_an_image(shared_data: Path, name: str, kind: str) -> None:
    data = (shared_data / name).read_bytes()
    assert read_header(BytesIO(data), start=data[:4096], size=len(data))[0] == kind


def test_functional_groups_give_a_frame_each(shared_data: Path) -> None:
    data = (
        shared_data / "mr_dicom_variants_dicom2nifti/philips_enhanced_multiframe/IM-0001-0170-0001.dcm"
    ).read_bytes()
    header = Header.from_json(read_header(BytesIO(data), start=data, size=len(data))[1])
    assert [frame.number for frame in header.frames] == list(range(8))
    assert len({frame.position for frame in header.frames}) == 8
    assert header.common["attributes"]["EchoTime"] == pytest.approx(3.2, abs=3)
    assert header.common["attributes"]["PixelSpacing"] == [1.0, 1.0]


def test_names_do_not_reach_the_record(shared_data: Path) -> None:
    data = (shared_data / "codec_zoo_pydicom/CT_small.dcm").read_bytes()
    _, record = read_header(BytesIO(data), start=data, size=len(data))
    assert "CompressedSamples" not in record
    assert json.loads(record.splitlines()[1])["patient_id"] == "1CT1"


@pytest.mark.parametrize("error", [ServiceError("the storage is away"), OSError(errno.EIO, "Input/output error")])
def test_a_storage_that_goes_away_is_no_damaged_header(shared_data: Path, error: OSError) -> None:
    class Lost(BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 200:
                raise error
            return super().read(size)

    data = (shared_data / "enhanced_multiframe_pydicom_data/emri_small_big_endian.dcm").read_bytes()
    with pytest.raises(OSError) as caught:  # noqa: PT011 - whichever it was
        read_header(Lost(data), start=data, size=len(data))
    assert caught.value is error


def test_values_that_are_not_allowed_are_told_nobody(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    dataset = dcmread(shared_data / "codec_zoo_pydicom/CT_small.dcm")
    with quiet():
        dataset.StudyInstanceUID, dataset.StudyDate, dataset.PatientID = "1.Doe^Jane", "Doe^Jane", "Doe^Jane" * 20
        file = BytesIO()
        dataset.save_as(file)
    data = file.getvalue()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_header(BytesIO(data), start=data, size=len(data))[0] == "dicom"
        assert read_header(BytesIO(data), start=data[:400], size=len(data))[0] == "dicom"
    assert "Doe" not in caplog.text
