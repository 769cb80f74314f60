"""A planted patient, looked for everywhere but in `private/`: tables, attributes, names, logs, Prefect's own data."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from pydicom import dcmread

PLANTED = {
    "PatientName": "Qxzname^Jane",
    "PatientID": "Qxzid77",
    "IssuerOfPatientID": "Qxzissuer",
    "PatientBirthDate": "19410203",
    "InstitutionName": "Qxzclinic North",
    "ClinicalTrialSiteID": "Qxztrial",
    "OperatorsName": "Qxzoperator",
    "DeviceSerialNumber": "Qxzserial",
    "StudyDescription": "Qxzstudy",
    "SeriesDescription": "Qxzseries",
    "ProtocolName": "Qxzprotocol",
    "DeidentificationMethod": "by Qxzmethod",
    "StudyDate": "20110511",
}
WORDS = ("qxz", "19410203", "1941-02-03", "20110511", "2011-05-11")


def write_source(shared_data: Path, folder: Path) -> None:
    """A good CT, one that is cut short, garbage, and a scan and a text whose names are all they have."""
    folder.mkdir(parents=True)
    for patient in range(2):
        for number, path in enumerate(sorted((shared_data / "seg_liver_spine_dcmqi/ct_image").iterdir())):
            dataset = dcmread(path)
            for keyword, value in PLANTED.items():
                setattr(dataset, keyword, value)
            dataset.PatientID = f"Qxzid{patient}"
            target = folder / f"Qxzname_{patient}_{number}.dcm"
            dataset.save_as(target)
            if patient:
                target.write_bytes(target.read_bytes()[:-5000])
    (folder / "Qxzname_broken.dcm").write_bytes(bytes(128) + b"DICM" + b"Qxzname" * 40)
    (folder / "Qxzname_letter.txt").write_text("Qxzname")
    (folder / "Qxzname_ct.nii.gz").write_bytes(b"\x1f\x8b" + b"Qxzname" * 10)
    shutil.copy(shared_data / "spine_ct_vertebra_tptbox/sub-ct_label-22_ct.nii.gz", folder / "sub-Qxzname_ct.nii.gz")


def shown_by(store: Path) -> str:
    """All that a store shows, decoded; of arrays their attributes, for compressed voxels hold any letters."""
    shown = ""
    for path in sorted(store.rglob("*")):
        if path.is_relative_to(store / "private") or not path.is_file():
            continue
        shown += str(path.relative_to(store))
        if path.suffix == ".parquet":
            table = pq.read_table(io.BytesIO(path.read_bytes()))
            shown += str(table.schema.metadata) + str(table.to_pylist())
        elif "/c/" not in str(path):
            shown += path.read_text()
    return shown


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_planted_patient_is_nowhere_but_in_private(tmp_path: Path, shared_data: Path) -> None:
    write_source(shared_data, tmp_path / "Qxzname" / "scans")
    cohort = {
        "cohort": "canary",
        "source": "./Qxzname/scans",
        "store": "./store",
        "recipe": {"CT": {"lesions": {"model": "precomputed"}}},
        "select": [{"name": "no_qq", "excludes": {"series_description": "qq"}}],
    }
    (tmp_path / "cohort.yaml").write_text(yaml.safe_dump(cohort))
    home = tmp_path / "home"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(home), "HOME": str(home), "COLUMNS": "200"}
    home.mkdir()
    said = ""
    for command in (["index"], ["run"], ["run", "--json"], ["status"], ["retry"]):
        call = [sys.executable, "-c", "from flows.cli import main; main()", command[0], "cohort.yaml", *command[1:]]
        ended = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        said += ended.stdout + ended.stderr
    said += "".join(path.read_bytes().decode("latin-1") for path in home.rglob("*") if path.is_file())
    shown = shown_by(tmp_path / "store")
    assert "truncated" in shown
    assert "unreadable" in shown
    for word in WORDS:
        assert word not in said.lower(), word
        assert word not in shown.lower(), word
    private = b"".join(path.read_bytes() for path in (tmp_path / "store/private").rglob("*") if path.is_file())
    assert b"Qxz" in private, "it was there to be found"
