from __future__ import annotations

import errno
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ScanError, ServiceError, SourceError
from pipeline.series import SeriesFile
from pipeline.sources.archives import SCHEME, SUFFIXES
from pipeline.sources.folder import list_folder
from pipeline.sources.listing import list_source
from pipeline.sources.opening import read_file, read_files
from schemas.config import CohortConfig
from schemas.reasons import Reason
from tests.servers import ObjectStorage


def config(source: Path | str, **options: Any) -> CohortConfig:
    return CohortConfig(source=str(source), store="unused", **options)


def write(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_linked_folders_are_entered_each_once(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "a")
    write(tmp_path / "root" / "b")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "root" / "again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "root")
    (tmp_path / "root" / "nowhere").symlink_to(tmp_path / "missing")
    assert [file.name for file in list_folder(tmp_path / "root")] == ["b", "again/a"]


def test_links_in_a_circle_and_what_goes_away_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    (tmp_path / "there").symlink_to(tmp_path / "back")
    (tmp_path / "back").symlink_to(tmp_path / "there")
    assert [file.name for file in list_folder(tmp_path)] == ["a"]
    for name in ("first", "second"):
        write(tmp_path / name / "file")
    listing = list_folder(tmp_path)
    assert next(listing).name == "a"
    shutil.rmtree(tmp_path / "second")
    assert [file.name for file in listing] == ["first/file"]


def test_hidden_files_and_stores_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "scans" / "a")
    write(tmp_path / "scans" / "._a")
    write(tmp_path / ".git" / "b")
    write(tmp_path / "store" / "store.json")
    write(tmp_path / "store" / "catalog" / "c")
    assert [file.name for file in list_folder(tmp_path)] == ["scans/a"]


def test_no_such_source_and_an_empty_one(tmp_path: Path) -> None:
    for source in (tmp_path / "missing", tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(SourceError):
            list_source(config(source))


def test_a_manifest_names_files_and_folders(tmp_path: Path) -> None:
    write(tmp_path / "data" / "one" / "a")
    write(tmp_path / "data" / "two.nii")
    manifest = write(
        tmp_path / "m.csv", "uri,site,lesions_uri\ndata/one,north,masks/1.nii\ndata/two.nii,south,\ngone,,\n"
    )
    listing = list_source(config(manifest))
    assert [file.name for file in listing.files] == ["data/one/a", "data/two.nii"]
    rows = [listing.rows[file.uri] for file in listing.files]
    assert [row.site for row in rows] == ["north", "south"]
    assert rows[0].masks.lesions_uri == str(tmp_path / "masks" / "1.nii")
    assert [row.number for row in listing.missing] == [3]


def test_two_rows_for_one_file_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.nii")
    manifest = write(tmp_path / "m.csv", "uri,site\na.nii,north\na.nii,south\n")
    with pytest.raises(SourceError, match="rows 1 and 2"):
        list_source(config(manifest))


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz", "tar.xz"])
def test_members_of_archives_are_files(tmp_path: Path, suffix: str) -> None:
    inside = write(tmp_path / "inside" / "one", "0123456789")
    archive = tmp_path / "source" / f"series.{suffix}"
    archive.parent.mkdir()
    if suffix == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.write(inside, "../../up/one")
    else:
        with tarfile.open(archive, f"w:{suffix.partition('.')[2]}") as tar:
            tar.add(inside, "../../up/one")
    [file] = list_source(config(archive.parent)).files
    assert file.uri.startswith(f"{SCHEME}{archive}!/")
    assert file.uri.endswith("up/one")
    assert file.size == 10
    assert read_file(file.uri, storage_options={}) == b"0123456789"
    assert read_file(file.uri, storage_options={}, start=2, end=5) == b"234"


def test_an_archive_that_changes_is_opened_again(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    for text in ("first", "second!"):
        with zipfile.ZipFile(archive, "w") as bundle:
            bundle.writestr("one", text)
        os.utime(archive, ns=(0, len(text)))
        assert read_file(f"{SCHEME}{archive}!/one", storage_options={}) == text.encode()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", ["", "no archive"])
def test_a_damaged_archive_is_one_file(tmp_path: Path, suffix: str, content: str) -> None:
    archive = write(tmp_path / f"bad{suffix}", content)
    [file] = list_source(config(tmp_path)).files
    assert file.uri == str(archive)
    with pytest.raises(ScanError) as caught:
        read_file(f"{SCHEME}{archive}!/one", storage_options={})
    assert caught.value.reason is Reason.UNREADABLE


def test_a_compressed_archive_whose_middle_is_spoilt_is_one_file(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.write_bytes(os.urandom(100_000))
    for kind in ("gz", "bz2", "xz"):
        archive = tmp_path / "source" / f"a.tar.{kind}"
        archive.parent.mkdir(exist_ok=True)
        with tarfile.open(archive, f"w:{kind}") as tar:  # type: ignore[call-overload]
            tar.add(inside, "one")
        data = bytearray(archive.read_bytes())
        data[50_000:50_100] = bytes(100)
        archive.write_bytes(data)
    assert [file.name for file in list_source(config(tmp_path / "source")).files] == [
        "a.tar.bz2", "a.tar.gz", "a.tar.xz",
    ]  # fmt: skip


def test_an_exclamation_mark_in_the_path_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "wow!").mkdir()
    with zipfile.ZipFile(tmp_path / "wow!" / "a.ZIP", "w") as bundle:
        bundle.writestr("b!/one", "0123")
    [file] = list_source(config(tmp_path)).files
    assert read_file(file.uri, storage_options={}) == b"0123"


def test_an_archive_that_may_not_be_read_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write(tmp_path / "a.zip")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(archive))

    monkeypatch.setattr("pipeline.sources.archives._fetched", refuse)
    assert [file.uri for file in list_source(config(tmp_path)).files] == [str(archive)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.ESTALE, errno.ENOTCONN, errno.EMFILE])
def test_what_is_no_fault_of_the_file_is_a_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    archive = tmp_path / "Doe^Jane.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(write(tmp_path / "inside"), "one")

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code), str(archive))

    monkeypatch.setattr("pipeline.sources.archives._copied", fail)
    for call in (
        lambda: list_source(config(archive)),
        lambda: read_file(f"{SCHEME}{archive}!/one", storage_options={}),
    ):
        with pytest.raises(ServiceError) as caught:
            call()
        assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("said", [0, 4, 10, 50])
def test_files_of_another_size_than_when_they_were_listed_are_read_whole(tmp_path: Path, said: int) -> None:
    paths = [write(tmp_path / name, text) for name, text in (("a", "0123456789"), ("b", "abc"), ("c", "x" * 5000))]
    read = read_files([SeriesFile(str(path), said) for path in paths], {})
    assert [bytes(content) for content in read] == [path.read_bytes() for path in paths]


def test_an_archive_with_a_password_says_so(tmp_path: Path) -> None:
    archive = tmp_path / "locked.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("one", "0123456789")
    data = bytearray(archive.read_bytes())
    data[6] |= 1  # the flag of encryption, in the local header and in the directory
    data[data.index(b"PK\1\2") + 8] |= 1
    archive.write_bytes(data)
    [file] = list_source(config(tmp_path)).files
    with pytest.raises(ScanError, match="password") as caught:
        read_file(file.uri, storage_options={})
    assert caught.value.reason is Reason.UNREADABLE


def test_a_tar_with_names_that_are_no_utf_8(tmp_path: Path) -> None:
    inside = write(tmp_path / "inside" / "one", "0123456789")
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(inside, b"M\xfcller".decode("utf-8", "surrogateescape"))
    [file] = list_source(config(tmp_path / "a.tar")).files
    file.uri.encode()
    assert read_file(file.uri, storage_options={}) == b"0123456789"


def test_a_file_that_went_away_does_not_name_itself(tmp_path: Path) -> None:
    with pytest.raises(ScanError) as caught:
        read_file(str(tmp_path / "Doe^Jane.dcm"), storage_options={})
    assert "Doe" not in str(caught.value)


def test_a_prefix_of_an_object_storage(object_storage: ObjectStorage) -> None:
    filesystem = object_storage.filesystem()
    filesystem.mkdir("listing")
    contents = {f"scans/p{n}/f{n}": f"content {n}".encode() for n in range(20)}
    for name, content in contents.items():
        filesystem.pipe_file(f"listing/{name}", content)
    filesystem.pipe_file("listing/scans/store/store.json", b"{}")
    filesystem.pipe_file("listing/scans/store/catalog/x", b"")
    options = object_storage.storage_options
    files = list_source(config("s3://listing/scans", storage_options=options)).files
    assert {f"scans/{file.name}": file.size for file in files} == {n: len(c) for n, c in contents.items()}
    assert all(file.stamp for file in files)
    read = read_files([SeriesFile(file.uri, file.size) for file in files], options)
    assert list(read) == [contents[f"scans/{file.name}"] for file in files]
    with pytest.raises(SourceError):
        list_source(config("s3://listing/nothing", storage_options=options))


def test_a_manifest_of_the_imaging_data_commons(shared_data: Path) -> None:
    from pipeline.manifest import parse_manifest

    data = (shared_data / "idc_index_rows" / "spine_mets_ct_seg.csv").read_bytes()
    rows = parse_manifest(data, uri="/m/spine_mets_ct_seg.csv", clinical=["Manufacturer"])
    assert len(rows) == 110
    assert rows[0].uri == "s3://idc-open-data/6779edaa-1080-425f-9584-c2f4dbe2a640"
    assert rows[1].clinical == {"Manufacturer": "SIEMENS"}
    without = data.replace(b"series_aws_url", b"another_name")
    assert [row.uri for row in parse_manifest(without, uri="/m/x.csv", clinical=[])] == [row.uri for row in rows]
