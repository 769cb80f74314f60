"""One suite that every format of network passes: the same network gives the same masks, whatever file it came from.

The back door is MONAI's own sliding window between SimpleITK's own resampling, which shares nothing with the code
under test.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.inferers.utils import sliding_window_inference

from pipeline.engine.detect import SCORE_UNIT
from pipeline.engine.resample import model_grid
from pipeline.errors import ModelError, ScanError
from pipeline.grid import Grid, Volume
from pipeline.masks import LesionMask, LevelMask
from pipeline.models.classes import Classes
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.registry import find_spec, load
from schemas.reasons import Reason
from tests.pipeline.models.networks import PATCH, SAVERS, save_onnx, save_safetensors, small_network, small_scan
from tests.pipeline.models.networks import write_model as write

BACKENDS = [(name, backend) for name in SAVERS for backend in ("torch", "openvino")]
BACKENDS = [(name, backend) for name, backend in BACKENDS if backend == "openvino" or name not in ("onnx", "openvino")]


THRESHOLD = 0.5


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def _lesions(model: Predictor, threshold: float, **settings: object) -> LesionMask:
    chosen = LesionSettings(threshold=threshold, **settings)  # type: ignore[arg-type]
    return model.lesions(small_scan(), modality="CT", within=None, settings=chosen)


def _image(voxels: np.ndarray, grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(grid.spacing_mm[::-1])
    image.SetOrigin(grid.origin_mm)
    image.SetDirection(grid.direction)
    return image


def _resampled(image: sitk.Image, grid: Grid) -> np.ndarray:
    interpolator = sitk.ResampleImageFilter()
    interpolator.SetSize(grid.shape[::-1])
    interpolator.SetOutputSpacing(grid.spacing_mm[::-1])
    interpolator.SetOutputOrigin(grid.origin_mm)
    interpolator.SetOutputDirection(grid.direction)
    interpolator.SetInterpolator(sitk.sitkLinear)
    interpolator.SetUseNearestNeighborExtrapolator(True)
    return sitk.GetArrayFromImage(interpolator.Execute(image))


@pytest.fixture(scope="module")
def logits() -> tuple[torch.Tensor, Grid]:
    """What other people's code makes of the scan, on the model's grid."""
    scan = small_scan()
    grid = model_grid(scan.grid, spacing_mm=(1.5, 1.5, 1.5))
    values = np.clip(_resampled(_image(scan.voxels.astype(np.float32), scan.grid), grid), -500, 500) / 250
    with torch.inference_mode():
        blended = sliding_window_inference(
            torch.from_numpy(values)[None, None], PATCH, 1, small_network(), overlap=0.5, mode="gaussian"
        )
    return blended[0], grid


@pytest.fixture(scope="module")
def expected(logits: tuple[torch.Tensor, Grid]) -> np.ndarray:
    """The probability of lesion on the scan's grid."""
    return _resampled(_image(torch.softmax(logits[0], 0)[1].numpy(), logits[1]), small_scan().grid)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {name: tmp_path_factory.mktemp(name) for name in SAVERS}
    return {name: SAVERS[name](folder) for name, folder in folders.items()}


def _open(folder: Path, backend: str = "auto") -> Predictor:
    return load(str(folder), backend=backend, trust=True)


@pytest.mark.parametrize(("name", "backend"), BACKENDS)
def test_same_network_same_masks(folders: dict[str, Path], expected: np.ndarray, name: str, backend: str) -> None:
    found = _lesions(_open(folders[name], backend), THRESHOLD)
    truth = expected >= THRESHOLD
    assert 0.1 < truth.mean() < 0.9, "the test's own network says one thing everywhere"
    assert _dice(found.instances > 0, truth) > 0.999
    assert found.score_max is not None
    assert found.score_max.max() == pytest.approx(expected.max(), abs=0.02)
    first = _lesions(_open(folders["monai_network"], "torch"), THRESHOLD)
    assert _dice(found.instances > 0, first.instances > 0) > 0.9999


def test_the_spec_is_cheap_and_its_digest_holds_the_weights(tmp_path: Path) -> None:
    save_safetensors(tmp_path)
    spec, digest = find_spec(str(tmp_path))
    assert spec.name == "small"
    weights = tmp_path / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, (1, 1))
    assert find_spec(str(tmp_path))[1] != digest
    with pytest.raises(ModelError, match="has changed since the recipe was made"):
        load(str(tmp_path), expected_digest=digest)


def test_opened_once_per_process(folders: dict[str, Path]) -> None:
    assert _open(folders["monai_network"]) is _open(folders["monai_network"])


def test_only_inside_vertebrae(folders: dict[str, Path]) -> None:
    scan = small_scan()
    levels = np.zeros(scan.grid.shape, dtype=np.uint16)
    levels[8:12, 10:20, 8:20] = 20
    settings = LesionSettings(threshold=THRESHOLD)
    model = _open(folders["monai_network"])
    found = model.lesions(scan, modality="CT", within=LevelMask(levels), settings=settings).instances > 0
    everywhere = model.lesions(scan, modality="CT", within=None, settings=settings).instances > 0
    assert found.any()
    assert not found[:4].any()
    assert (found[9:11, 12:18, 10:18] == everywhere[9:11, 12:18, 10:18]).mean() > 0.99
    nothing = LevelMask(np.zeros_like(levels))
    assert not model.lesions(scan, modality="CT", within=nothing, settings=settings).instances.any()


def test_candidates_and_volume_limit(folders: dict[str, Path]) -> None:
    found = _lesions(_open(folders["monai_network"]), THRESHOLD, min_volume_mm3=1e9)
    assert not found.instances.any()
    assert {row["why_not"] for row in found.candidates} >= {"min_volume"}


def test_levels_by_class(logits: tuple[torch.Tensor, Grid], tmp_path: Path) -> None:
    save_safetensors(tmp_path)
    content = (tmp_path / "model.yaml").read_text()
    (tmp_path / "model.yaml").write_text(content.replace("task: lesions", "task: levels").replace("lesion", "L3"))
    found = _open(tmp_path).levels(small_scan(), modality="CT")
    assert set(np.unique(found.levels)) == {0, 22}
    background, level = (_resampled(_image(scores.numpy(), logits[1]), small_scan().grid) for scores in logits[0])
    assert _dice(found.levels > 0, level > background) > 0.99


def test_a_lesion_is_no_hole_in_its_level(tmp_path: Path) -> None:
    """Of a network with classes of both kinds: where lesion wins, the level is the best of the others."""
    scores = torch.tensor([[0.0, 0.0, 9.0], [3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 4.0, 1.0]])  # [classes, voxels]
    spec = find_spec(str(_both(tmp_path)))[0]
    classes = Classes.of(spec)
    kept = classes.level_scores(scores)
    assert classes.level_values(len(kept))[kept.argmax(dim=0)].tolist() == [22, 23, 0]
    assert classes.lesion_probability(scores)[0].argmax() == 1
    without = Classes.of(spec.model_copy(update={"activation": "sigmoid"}))
    kept = without.level_scores(scores[1:])
    assert without.level_values(len(kept))[kept.argmax(dim=0)].tolist() == [22, 23, 0]


def _both(folder: Path) -> Path:
    return write(folder, format="onnx", weights=None, task="both", labels={1: "L3", 2: "L4", 3: "lesion"})


def test_flips_average(folders: dict[str, Path]) -> None:
    model = _open(folders["monai_network"])
    scan = small_scan()
    both = [
        model.scores(scan, modality="CT", within=None, settings=LesionSettings(flips=flips))  # type: ignore[attr-defined]
        for flips in (False, True)
    ]
    assert np.abs(both[0].astype(int) - both[1]).max() > 0.01 * SCORE_UNIT
    mirrored = Volume(np.ascontiguousarray(scan.voxels[:, :, ::-1]), scan.grid)
    again = model.scores(mirrored, modality="CT", within=None, settings=LesionSettings(flips=True))  # type: ignore[attr-defined]
    assert again.shape == both[1].shape


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": {}}, "no class named 'lesion'"),
        ({"network": {"class": "NoSuchNet"}}, "MONAI has no network 'NoSuchNet'"),
        ({"sha256": "0" * 64}, "sha256"),
        ({"weights": "other.safetensors"}, "not there"),
        ({"weights": "../model.safetensors"}, "beside it"),
        ({"format": "builtin"}, "only models that come with spinetally"),
        ({"spacing": [1, 1, 1]}, "did you mean 'spacing_mm'"),
    ],
)
def test_a_wrong_spec_is_one_line(tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    save_safetensors(tmp_path)
    spec: dict[str, object] = {"format": "monai_network", "weights": "model.safetensors"}
    spec["network"] = {"class": "UNet", "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2]}
    write(tmp_path, **(spec | changes))
    with pytest.raises(ModelError, match=sentence) as caught:
        load(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    save_safetensors(tmp_path)
    network = {"class": "UNet", "in_channels": 1, "out_channels": 2, "channels": [4, 16], "strides": [2]}
    write(tmp_path, format="monai_network", weights="model.safetensors", network=network)
    with pytest.raises(ModelError, match="do not fit its network"):
        load(str(tmp_path))


def test_dynamic_axes_need_a_patch(tmp_path: Path) -> None:
    save_onnx(tmp_path, dynamic=True)
    write(tmp_path, format="onnx", weights="model.onnx", patch=None)
    with pytest.raises(ModelError, match="dynamic axes"):
        load(str(tmp_path))


def test_another_modality_is_unfit(folders: dict[str, Path]) -> None:
    with pytest.raises(ScanError) as caught:
        _open(folders["onnx"]).lesions(small_scan(), modality="MR", within=None, settings=LesionSettings())
    assert caught.value.reason == Reason.MODEL_UNFIT


def test_more_labels_than_channels(tmp_path: Path) -> None:
    save_safetensors(tmp_path)
    text = (tmp_path / "model.yaml").read_text().replace("1: lesion", "5: lesion")
    (tmp_path / "model.yaml").write_text(text)
    with pytest.raises(ScanError, match="2 channels"):
        load(str(tmp_path)).lesions(small_scan(), modality="CT", within=None, settings=LesionSettings())


def test_unknown_model_names_the_known() -> None:
    with pytest.raises(ModelError, match="precomputed"):
        find_spec("builtin/none-such")
