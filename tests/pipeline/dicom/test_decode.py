from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless

from pipeline.dicom.decode import decode_by_library, is_lossy, is_native, native_frames
from pipeline.dicom.part10 import open_part10
from pipeline.dicom.quiet import quiet
from pipeline.dicom.reader import _REFUSED, _WANTED
from pipeline.errors import ScanError
from pipeline.sandbox import run_sandboxed
from schemas.reasons import Reason

MOSAICS = [f"transfer_syntax_mosaic_dcm_qa_ts/{n}.dcm" for n in range(1, 10)]
SLICES = [
    f"codec_zoo_pydicom/MR_small{name}.dcm"
    for name in ("", "_bigendian", "_expb", "_implicit", "_jp2klossless", "_jpeg_ls_lossless", "_padded", "_RLE")
]


def frames(data: bytes) -> np.ndarray:
    with quiet():
        part = open_part10(data, wanted=_WANTED, refused=_REFUSED)
        return native_frames(part, data) if is_native(part) else decode_by_library(data)


@pytest.mark.parametrize("names", [MOSAICS, SLICES], ids=["mosaic", "slice"])
def test_the_same_picture_in_many_lossless_encodings(shared_data: Path, names: list[str]) -> None:
    pictures = [frames((shared_data / name).read_bytes()) for name in names]
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


@pytest.mark.parametrize("name", [SLICES[0], SLICES[3], MOSAICS[1], "codec_zoo_pydicom/examples_overlay.dcm"])
def test_native_pixels_equal_pydicom(shared_data: Path, name: str) -> None:
    data = (shared_data / name).read_bytes()
    np.testing.assert_array_equal(frames(data)[0], dcmread(BytesIO(data)).pixel_array)


def test_an_enhanced_object_in_five_encodings(shared_data: Path) -> None:
    folder = shared_data / "enhanced_multiframe_pydicom_data"
    names = ("", "_RLE", "_big_endian", "_jpeg_2k_lossless", "_jpeg_ls_lossless")
    pictures = [frames((folder / f"emri_small{name}.dcm").read_bytes()) for name in names]
    assert pictures[0].shape == (10, 64, 64)
    for picture in pictures[1:]:
        np.testing.assert_array_equal(picture, pictures[0])


def test_a_damaged_encoding_is_not_read_as_something_else(shared_data: Path) -> None:
    name = "enhanced_multiframe_pydicom_data/emri_small_jpeg_2k_lossless_too_short.dcm"
    with pytest.raises(ScanError) as caught:
        frames((shared_data / name).read_bytes())
    assert caught.value.reason in {Reason.UNREADABLE, Reason.TRUNCATED}


@pytest.mark.parametrize(
    ("name", "lossy"),
    [
        ("codec_zoo_pydicom/JPEG2000.dcm", True),
        ("codec_zoo_pydicom/JPEG-lossy.dcm", True),
        ("codec_zoo_pydicom/MR_small_jp2klossless.dcm", False),
        ("codec_zoo_pydicom/MR_small_RLE.dcm", False),
    ],
)
def test_loss_is_marked(shared_data: Path, name: str, lossy: bool) -> None:
    part = open_part10((shared_data / name).read_bytes(), wanted=_WANTED, refused=_REFUSED)
    assert is_lossy(part.dataset, part.transfer_syntax) is lossy


def test_the_sandbox_gives_what_the_decoder_gives(shared_data: Path) -> None:
    data = (shared_data / "codec_zoo_pydicom/MR_small_RLE.dcm").read_bytes()
    head, pixels = run_sandboxed("pixels", {}, data, seconds=60, memory_mb=4096)
    np.testing.assert_array_equal(np.frombuffer(pixels, head["dtype"]).reshape(head["shape"]), frames(data))


def bomb(shared_data: Path) -> bytes:
    """A small file that asks for 65500 x 65500 pixels."""
    dataset = dcmread(shared_data / "codec_zoo_pydicom/MR_small_RLE.dcm")
    dataset.Rows = dataset.Columns = 65500
    file = BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def test_a_bomb_costs_itself_only(shared_data: Path) -> None:
    with pytest.raises(ScanError) as caught:
        run_sandboxed("pixels", {}, bomb(shared_data), seconds=60, memory_mb=500)
    assert caught.value.reason in {Reason.OUT_OF_MEMORY, Reason.UNREADABLE, Reason.DECODE_CRASHED}
    data = (shared_data / "codec_zoo_pydicom/MR_small_RLE.dcm").read_bytes()
    assert run_sandboxed("pixels", {}, data, seconds=60, memory_mb=500)[0]["shape"] == [1, 64, 64]


def test_a_deflated_bomb_costs_itself_only(shared_data: Path) -> None:
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    dataset = dcmread(shared_data / "codec_zoo_pydicom/MR_small.dcm")
    dataset.PixelData = bytes(2**30)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    file = BytesIO()
    dataset.save_as(file)
    assert len(file.getvalue()) < 2**21
    part = open_part10(file.getvalue(), wanted=_WANTED, refused=_REFUSED)
    assert part.dataset.Rows == 64
    with pytest.raises(ScanError) as caught:
        run_sandboxed("pixels", {}, file.getvalue(), seconds=60, memory_mb=500)
    assert caught.value.reason is Reason.OUT_OF_MEMORY


def test_compression_made_here_is_read_back(shared_data: Path) -> None:
    dataset = dcmread(shared_data / "codec_zoo_pydicom/CT_small.dcm")
    plain = dataset.pixel_array.copy()
    for syntax in (RLELossless, JPEG2000Lossless):
        dataset = dcmread(shared_data / "codec_zoo_pydicom/CT_small.dcm")
        dataset.compress(syntax)
        file = BytesIO()
        dataset.save_as(file)
        np.testing.assert_array_equal(frames(file.getvalue())[0], plain)
