"""An outside program as a model: real programs, good ones and bad ones."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ModelError, ScanError
from pipeline.masks import LesionMask
from pipeline.models.predictor import LesionSettings
from pipeline.models.registry import load
from schemas.reasons import Reason
from tests.pipeline.models.networks import small_scan, write_model

READ = "import sys, SimpleITK as s; i = s.ReadImage(sys.argv[1]); "


def _model(folder: Path, program: str, **changes: object) -> Path:
    command = [sys.executable, "-c", program, "{input}", "{output}"]
    return write_model(folder, format="command", command=command, **({"patch": None} | changes))


def _found(folder: Path, **settings: object) -> LesionMask:
    chosen = LesionSettings(**settings)  # type: ignore[arg-type]
    return load(str(folder)).lesions(small_scan(), modality="CT", within=None, settings=chosen)


def test_labels(tmp_path: Path) -> None:
    folder = _model(
        tmp_path, READ + "s.WriteImage(s.Cast(i > 100, s.sitkUInt8) * 7, sys.argv[2])", labels={7: "lesion"}
    )
    found = _found(folder)
    np.testing.assert_array_equal(found.instances > 0, small_scan().voxels > 100)
    assert found.score_max is None


def test_probabilities(tmp_path: Path) -> None:
    write = "s.WriteImage(s.Sigmoid(s.Cast(i, s.sitkFloat32), 50, 0, 1, 0), sys.argv[2])"
    found = _found(_model(tmp_path, READ + write), threshold=0.5)
    np.testing.assert_array_equal(found.instances > 0, small_scan().voxels >= 0)
    assert found.score_max is not None


def test_levels_by_a_ready_table(tmp_path: Path) -> None:
    write = "s.WriteImage(s.Cast(i > 0, s.sitkUInt8) * 27 + s.Cast(i < -200, s.sitkUInt8) * 5, sys.argv[2])"
    folder = _model(tmp_path, READ + write, task="levels", labels=None, label_table="totalsegmentator")
    levels = load(str(folder)).levels(small_scan(), modality="CT").levels
    np.testing.assert_array_equal(levels, np.where(small_scan().voxels > 0, 24, 0))


@pytest.mark.parametrize(
    ("program", "reason", "sentence"),
    [
        ("import sys; print('no licence'); sys.exit(3)", Reason.COMMAND_FAILED, "code 3: no licence"),
        ("pass", Reason.COMMAND_FAILED, "wrote no"),
        (READ + "s.WriteImage(i[:, :, :5] > 0, sys.argv[2])", Reason.MODEL_OUTPUT, "another grid"),
        (READ + "i.SetOrigin((0, 0, 0)); s.WriteImage(i > 0, sys.argv[2])", Reason.MODEL_OUTPUT, "another grid"),
        (READ + "s.WriteImage(s.Cast(i, s.sitkFloat32) * 1.5, sys.argv[2])", Reason.MODEL_OUTPUT, "neither labels"),
        (READ + "s.WriteImage(i * -1, sys.argv[2])", Reason.MODEL_OUTPUT, "negative"),
        ("import sys; open(sys.argv[2], 'w').write('x')", Reason.MODEL_OUTPUT, "no NIfTI"),
        (READ + "s.WriteImage(s.Compose(i > 0, i < 0), sys.argv[2])", Reason.MODEL_OUTPUT, "2 values for each voxel"),
        ("import os; os.kill(os.getpid(), 11)", Reason.COMMAND_FAILED, "was ended by SIGSEGV: it printed nothing"),
    ],
)
def test_bad_programs(tmp_path: Path, program: str, reason: Reason, sentence: str) -> None:
    with pytest.raises(ScanError, match=sentence) as caught:
        _found(_model(tmp_path, program))
    assert caught.value.reason == reason
    assert "\n" not in caught.value.sentence
    assert "spinetally-" not in caught.value.sentence


def test_values_beyond_every_label_are_background(tmp_path: Path) -> None:
    write = "s.WriteImage(s.Cast(i > 0, s.sitkUInt32) * 4000000000 + s.Cast(i < -200, s.sitkUInt32), sys.argv[2])"
    levels = load(str(_model(tmp_path, READ + write, task="levels", labels={1: "L1"}))).levels(
        small_scan(), modality="CT"
    )
    np.testing.assert_array_equal(levels.levels, np.where(small_scan().voxels < -200, 20, 0))


def test_a_hanging_program_is_ended_with_its_children(tmp_path: Path) -> None:
    mark = tmp_path / "alive"
    child = f"import time; [(open({str(mark)!r}, 'a').write('x'), time.sleep(0.1)) for _ in range(600)]"
    program = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    with pytest.raises(ScanError, match="ended after 3 s"):
        _found(_model(tmp_path, program, options={"timeout_s": 3}))
    size = mark.stat().st_size if mark.exists() else 0
    time.sleep(0.5)
    assert (mark.stat().st_size if mark.exists() else 0) == size


def test_a_greedy_program_fails(tmp_path: Path) -> None:
    program = "import time; time.sleep(1); x = bytearray(4 * 2**30)"
    with pytest.raises(ScanError, match="MemoryError"):
        _found(_model(tmp_path, program, options={"memory_mb": 1024}))


def test_no_such_program(tmp_path: Path) -> None:
    folder = write_model(tmp_path, format="command", patch=None, command=["no-such-program", "{input}", "{output}"])
    with pytest.raises(ModelError, match="cannot be started"):
        _found(folder)


def test_a_command_says_where_files_go(tmp_path: Path) -> None:
    folder = write_model(tmp_path, format="command", patch=None, command=["cp", "{input}"])
    with pytest.raises(ModelError, match=r"\{output\}"):
        load(str(folder))
