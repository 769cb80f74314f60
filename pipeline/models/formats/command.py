"""An outside program (TotalSegmentator, SPINEPS, a container) that reads a NIfTI and writes one.

`command: [TotalSegmentator, -i, "{input}", -o, "{output}", --ml]` is started without a shell, in an empty folder of
its own that is removed afterwards. `{input}` is the scan as `input.nii.gz`, `{output}` the file `output.nii.gz` that it
must write: labels, or for lesions also probabilities from 0 to 1. `options`: `timeout_s` (3600), `memory_mb` (no
limit), `device_lock` (true: it runs alone on the worker's device).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import resource
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
import torch

from pipeline.engine.detect import lesions_from_mask, lesions_from_scores
from pipeline.engine.reduce import SCORE_TYPE, SCORE_UNIT
from pipeline.errors import ModelError, ScanError
from pipeline.grid import Grid, Volume
from pipeline.masks import LABEL_TYPE, LesionMask, LevelMask
from pipeline.models.classes import Classes
from pipeline.models.device import occupy
from pipeline.models.place import Place
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.voxelwise import check_use, limited
from schemas.label_tables import LABEL_TABLES
from schemas.model import ModelSpec
from schemas.model_options import CommandOptions
from schemas.reasons import Reason

_GRID_TOLERANCE = 1e-3
"""Largest distance between a corner of the output's grid and the scan's, in voxels."""


def open_model(spec: ModelSpec, place: Place) -> Predictor:
    """The program as a model; nothing is started yet.

    Raises:
        ModelError: no `command`, one without {input} or {output}, or one from object storage without `trust`.
    """
    if not spec.command or not all(any(part in word for word in spec.command) for part in ("{input}", "{output}")):
        raise ModelError(
            f"model {spec.name!r}: `command` must be a list with {{input}} and {{output}} in it, such as "
            '[TotalSegmentator, -i, "{input}", -o, "{output}", --ml]'
        )
    if place.remote and not place.trust:
        raise ModelError(
            f"model {spec.name!r} comes from object storage and would start the program {spec.command[0]!r}: set "
            "`trust: true` beside `model` in the cohort file if you want that"
        )
    return CommandModel(spec, Classes.of(spec), place.device)


class CommandModel:
    """An outside program under the contract of `Predictor`."""

    def __init__(self, spec: ModelSpec, classes: Classes, device: torch.device) -> None:
        self.spec = spec
        self.classes = classes
        self._device = device
        self._options = CommandOptions.of(spec.options)

    def levels(self, volume: Volume, *, modality: str, flips: bool = False) -> LevelMask:  # noqa: ARG002
        """The labels that the program wrote, by the model's table."""
        check_use(self.spec, modality, "levels")
        labels = _whole_numbers(self._output(volume))
        self._check_table(labels)
        values = np.zeros(max(self.classes.levels) + 1, dtype=LABEL_TYPE)
        for number, level in self.classes.levels.items():
            values[number] = level
        return LevelMask(values[np.where(labels < len(values), labels, 0)], anchor="model")

    def lesions(
        self, volume: Volume, *, modality: str, within: LevelMask | None, settings: LesionSettings
    ) -> LesionMask:
        """The lesions that the program marked: its lesion labels, or its probabilities above the threshold."""
        check_use(self.spec, modality, "lesions")
        output = self._output(volume)
        if np.array_equal(output, np.rint(output)):
            marked = np.isin(_whole_numbers(output), self.classes.lesions)
            scores = limited(np.where(marked, SCORE_TYPE(SCORE_UNIT), SCORE_TYPE(0)), within, volume.grid)
            return lesions_from_mask(scores > 0, volume.grid, min_volume_mm3=settings.min_volume_mm3)
        if output.min() < 0 or output.max() > 1:
            raise ScanError(
                Reason.MODEL_OUTPUT, "the program wrote neither labels (whole numbers) nor probabilities (0 to 1)"
            )
        scores = limited(np.rint(output * SCORE_UNIT).astype(SCORE_TYPE), within, volume.grid)
        return lesions_from_scores(
            scores,
            volume.grid,
            threshold=settings.threshold,
            min_volume_mm3=settings.min_volume_mm3,
            keep_candidates=settings.keep_candidates,
        )

    def _check_table(self, labels: npt.NDArray[np.int64]) -> None:
        """Refuse values that the model's `label_table` does not know: they come from another program, or version."""
        if self.spec.label_table is None:
            return
        strange = set(np.unique(labels).tolist()) - LABEL_TABLES[self.spec.label_table].known - {0}
        if strange:
            raise ScanError(
                Reason.MODEL_OUTPUT,
                f"the program wrote the value {min(strange)}, which label_table {self.spec.label_table!r} does not "
                "know: name the table of that program, or give `labels`",
            )

    def _output(self, volume: Volume) -> npt.NDArray[np.float64]:
        """What the program makes of a volume, [z, y, x] on its grid."""
        with tempfile.TemporaryDirectory(prefix="spinetally-") as folder:
            source, target = Path(folder) / "input.nii.gz", Path(folder) / "output.nii.gz"
            sitk.WriteImage(_image(volume), source)
            names = {"{input}": str(source), "{output}": str(target)}
            words = [re.sub(r"\{(input|output)\}", lambda m: names[m[0]], word) for word in self.spec.command or []]
            lock = occupy(self._device) if self._options.device_lock else contextlib.nullcontext()
            with lock:
                self._run(words, folder)
            return _read(target, volume.grid)

    def _run(self, words: list[str], folder: str) -> None:
        timeout = self._options.timeout_s
        log = Path(folder) / "log.txt"
        with log.open("wb") as file:
            process = _started(words, folder, file, self._options.memory_mb)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise ScanError(
                    Reason.COMMAND_FAILED,
                    f"the program {words[0]!r} was ended after {timeout:g} s; raise `options: {{timeout_s: ...}}` if "
                    "it needs longer",
                ) from None
            finally:
                _end(process)
        if code != 0:
            last = _last_line(log).replace(folder, "")
            how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with code {code}"
            raise ScanError(Reason.COMMAND_FAILED, f"the program {words[0]!r} {how}: {last}")


def _started(words: list[str], folder: str, log: IO[bytes], memory_mb: float | None) -> subprocess.Popen[bytes]:
    """The program in a session of its own, so that it can be ended with all that it starts."""
    try:
        process = subprocess.Popen(
            words, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as failure:
        raise ModelError(f"the program {words[0]!r} cannot be started: {failure.strerror}") from failure
    if memory_mb is not None:
        most = int(memory_mb * 2**20)
        with contextlib.suppress(ProcessLookupError):  # it has ended already
            resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what still runs of the program's session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(log: Path) -> str:
    """The last line that the program printed, at most 200 characters."""
    lines = log.read_bytes()[-4000:].decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it printed nothing"


def _image(volume: Volume) -> sitk.Image:
    image = sitk.GetImageFromArray(np.ascontiguousarray(volume.voxels))
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    return image


def _read(path: Path, grid: Grid) -> npt.NDArray[np.float64]:
    """What the program wrote, on the scan's own grid."""
    if not path.is_file():
        raise ScanError(Reason.COMMAND_FAILED, "the program ended well and wrote no {output}")
    try:
        image = sitk.ReadImage(path)
    except RuntimeError as failure:
        raise ScanError(Reason.MODEL_OUTPUT, "what the program wrote is no NIfTI that can be read") from failure
    if (values_each := image.GetNumberOfComponentsPerPixel()) != 1:
        raise ScanError(Reason.MODEL_OUTPUT, f"the program wrote {values_each} values for each voxel; one is needed")
    z, y, x = image.GetSize()[::-1] if image.GetDimension() == 3 else (0, 0, 0)
    found = Grid((z, y, x), image.GetSpacing()[::-1], image.GetOrigin(), image.GetDirection())
    if found.shape != grid.shape or _corner_distance(found, grid) > _GRID_TOLERANCE:
        raise ScanError(
            Reason.MODEL_OUTPUT,
            f"the program wrote another grid, {image.GetSize()[::-1]} voxels of {image.GetSpacing()[::-1]} mm; the "
            f"scan has {grid.shape} of {grid.spacing_mm} mm",
        )
    values: npt.NDArray[np.float64] = sitk.GetArrayFromImage(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ScanError(Reason.MODEL_OUTPUT, "the program wrote values that are not finite")
    return values


def _corner_distance(a: Grid, b: Grid) -> float:
    """The largest distance between the corners of two grids, in voxels of the second."""
    corners = np.array(list(itertools.product(*((0, n - 1) for n in b.shape))))
    return float(np.abs(b.to_index(a.to_lps(corners)) - corners).max())


def _whole_numbers(output: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    labels = np.rint(output).astype(np.int64)
    if labels.min(initial=0) < 0 or np.abs(output - labels).max(initial=0) > 1e-3:
        raise ScanError(Reason.MODEL_OUTPUT, "the program wrote negative or fractional values where labels are needed")
    return labels
