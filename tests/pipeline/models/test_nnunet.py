"""nnU-Net results folders, held against what nnunetv2 2.8.1 itself predicts with them on a real CT.

The folders and predictions are made by `python -m tests.pipeline.models.make_nnunet_golden`.
"""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from pipeline.errors import ModelError, ScanError
from pipeline.grid import Grid, Volume
from pipeline.masks import LevelMask
from pipeline.models.formats.nnunet.plans import read_json, read_plan
from pipeline.models.formats.nnunet.preprocessing import prepare
from pipeline.models.predictor import LesionSettings, Predictor
from pipeline.models.registry import load
from tests.pipeline.models.networks import small_scan, write_model

GOLDEN = Path(__file__).parent / "nnunet_golden"


@pytest.fixture(scope="module")
def torso(shared_data: Path) -> Volume:
    image = sitk.ReadImage(shared_data / "torso_ct_totalsegmentator" / "example_ct.nii.gz")
    z, y, x = image.GetSize()[::-1]
    dz, dy, dx = image.GetSpacing()[::-1]
    return Volume(sitk.GetArrayFromImage(image), Grid((z, y, x), (dz, dy, dx), image.GetOrigin(), image.GetDirection()))


def _model(folder: Path, name: str, **changes: object) -> Path:
    if not (folder / "results").exists():
        shutil.copytree(GOLDEN / name, folder / "results")
    return write_model(folder, format="nnunet", weights="results", spacing_mm=None, labels=None, **changes)


def _mask(model: Predictor, volume: Volume, **settings: object) -> np.ndarray:
    chosen = LesionSettings(threshold=0.5, **settings)  # type: ignore[arg-type]
    return model.lesions(volume, modality="CT", within=None, settings=chosen).instances > 0


@pytest.mark.parametrize("name", ["plain", "residual"])
def test_as_nnunet_itself(tmp_path: Path, torso: Volume, name: str) -> None:
    theirs = np.load(GOLDEN / name / "segmentation.npz")["segmentation"] > 0
    ours = _mask(load(str(_model(tmp_path, name))), torso)
    assert theirs.mean() > 0.003
    assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) >= 0.999


def test_levels_as_labels(tmp_path: Path, torso: Volume) -> None:
    theirs = np.load(GOLDEN / "plain" / "segmentation.npz")["segmentation"] > 0
    folder = _model(tmp_path, "plain", task="levels")
    dataset = json.loads((folder / "results" / "dataset.json").read_text())
    dataset["labels"] = {"background": 0, "vertebrae_L3": 1}
    (folder / "results" / "dataset.json").write_text(json.dumps(dataset))
    levels = load(str(folder)).levels(torso, modality="CT").levels
    assert set(np.unique(levels)) == {0, 22}
    assert 2 * ((levels > 0) & theirs).sum() / ((levels > 0).sum() + theirs.sum()) >= 0.999


def test_folds_are_averaged(tmp_path: Path) -> None:
    names = {"both": None, "first": [0], "second": [1]}
    scores = {}
    for name, folds in names.items():
        folder = tmp_path / name
        folder.mkdir()
        model = load(str(_model(folder, "plain", options={"folds": folds} if folds else {})))
        settings = LesionSettings()
        scores[name] = model.scores(small_scan(), modality="CT", within=None, settings=settings)  # type: ignore[attr-defined]
    low, high = np.minimum(scores["first"], scores["second"]), np.maximum(scores["first"], scores["second"])
    assert (high.astype(int) - low).max() > 100
    assert (scores["both"] >= low - 1.0).all()
    assert (scores["both"] <= high + 1.0).all()


def test_mirroring_and_vertebrae(tmp_path: Path) -> None:
    model = load(str(_model(tmp_path, "residual")))
    scan = small_scan()
    levels = np.zeros(scan.grid.shape, np.uint16)
    levels[5:9, 5:15, 5:15] = 20
    found = model.lesions(
        scan, modality="CT", within=LevelMask(levels), settings=LesionSettings(threshold=0.01, flips=True)
    )
    assert not found.instances[14:].any()


@pytest.mark.parametrize("normalisation", ["ZScoreNormalization", "RescaleTo01Normalization", "NoNormalization"])
@pytest.mark.parametrize("inside_mask", [True, False])
def test_other_normalisations(normalisation: str, inside_mask: bool) -> None:
    plans = read_json(GOLDEN / "plain" / "plans.json")
    settings = plans["configurations"]["3d_fullres"]
    settings |= {
        "normalization_schemes": [normalisation],
        "use_mask_for_norm": [inside_mask],
        "spacing": [1.2, 2.5, 1.0],
    }
    plans["transpose_forward"] = [2, 0, 1]
    scan = small_scan()
    scan.voxels[scan.voxels == 0] = 1
    voxels = np.pad(scan.voxels[2:-2], ((2, 2), (0, 0), (0, 0)))
    prepared = prepare(Volume(voxels, scan.grid), read_plan(plans, "3d_fullres"))
    assert prepared.values.shape == (28, 16, 34)
    seen = scan.voxels[2:-2].astype(float)
    expected = {
        "ZScoreNormalization": (seen - seen.mean()) / seen.std(),
        "RescaleTo01Normalization": (seen - seen.min()) / np.ptp(seen),
        "NoNormalization": seen,
    }[normalisation]
    np.testing.assert_allclose(prepared.values, expected.transpose(2, 0, 1), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(prepared.part(voxels), scan.voxels[2:-2].transpose(2, 0, 1))


def _plans(**changes: object) -> dict[str, object]:
    plans = read_json(GOLDEN / "plain" / "plans.json")
    plans["configurations"]["3d_fullres"] |= changes
    return plans


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"patch_size": [64, 64], "spacing": [1.0, 1.0]}, "2-D or a cascade"),
        ({"previous_stage": "3d_lowres"}, "2-D or a cascade"),
        ({"resampling_fn_data": "resample_torch"}, "resample_torch"),
        ({"inherits_from": "nothing"}, "no configuration 'nothing'"),
        ({"patch_size": None}, "lacks or distorts a part of '3d_fullres'"),
        ({"spacing": [0, 1, 1]}, r"spacing \[0, 1, 1\]"),
        ({"normalization_schemes": ["RGBTo01Normalization"]}, "'RGBTo01Normalization' is not supported"),
        ({"normalization_schemes": []}, "lacks or distorts"),
    ],
)
def test_plans_that_are_not_supported(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_plan(_plans(**changes), "3d_fullres")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image_reader_writer": "Tiff3DIO"}, "reader 'Tiff3DIO' is not supported; SimpleITKIO"),
        ({"transpose_forward": [0, 0, 1]}, r"transpose \(0, 0, 1\)"),
    ],
)
def test_plans_that_cannot_be_meant(change: dict[str, object], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        read_plan(_plans() | change, "3d_fullres")


def test_a_reader_that_reorients() -> None:
    readers = {name: read_plan(_plans() | {"image_reader_writer": name}, "3d_fullres").reorients for name in (
        "SimpleITKIO", "NibabelIO", "SimpleITKIOWithReorient", "NibabelIOWithReorient")}  # fmt: skip
    assert list(readers.values()) == [False, False, True, True]


def test_a_fold_of_all_data_is_not_averaged_with_those_of_the_cross_validation(tmp_path: Path) -> None:
    folder = _model(tmp_path, "plain")
    (folder / "results" / "fold_0").rename(folder / "results" / "fold_all")
    scan = small_scan()
    masks = [_mask(load(str(folder), options=o), scan) for o in ({}, {"folds": [1]}, {"folds": "all"})]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert not np.array_equal(masks[0], masks[2])


def test_folds_of_several_configurations(tmp_path: Path) -> None:
    folder = _model(tmp_path, "plain")
    path = folder / "results" / "fold_1" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["init_args"]["configuration"] = "3d_lowres"
    torch.save(content, path)
    with pytest.raises(ModelError, match="several configurations: 3d_fullres, 3d_lowres"):
        load(str(folder))


def test_labels_of_the_first_nnunet(tmp_path: Path) -> None:
    folder = _model(tmp_path, "plain")
    dataset = json.loads((folder / "results" / "dataset.json").read_text())
    dataset["labels"] = {"0": "background", "1": "lesion"}
    (folder / "results" / "dataset.json").write_text(json.dumps(dataset))
    with pytest.raises(ModelError, match="as nnU-Net v2 has it"):
        load(str(folder))


def test_plans_of_older_versions() -> None:
    old = {
        "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 32, "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [2] * 6, "n_conv_per_stage_decoder": [2] * 5,
        "conv_kernel_sizes": [[3, 3, 3]] * 6, "pool_op_kernel_sizes": [[1, 1, 1]] + [[2, 2, 2]] * 5,
    }  # fmt: skip
    plans = _plans(**old)
    del plans["configurations"]["3d_fullres"]["architecture"]  # type: ignore[index]
    plan = read_plan(plans, "3d_fullres")
    assert plan.architecture == "PlainConvUNet"
    assert plan.network["features_per_stage"] == [32, 64, 128, 256, 320, 320]


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('ran')",))


def test_a_checkpoint_with_code_needs_trust(tmp_path: Path) -> None:
    folder = _model(tmp_path, "residual")
    torch.save({"network_weights": _Evil()}, folder / "results" / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(ModelError, match="trust: true"):
        load(str(folder))


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("plans.json", b"{", "no JSON"),
        ("dataset.json", b'{"channel_names": {"0": "CT", "1": "PET"}}', "takes 2 images"),
        ("fold_0/checkpoint_final.pth", b"x" * 100, "trust: true|no checkpoint"),
        ("fold_0/checkpoint_final.pth", pickle.dumps({}), "no checkpoint|trust"),
        ("fold_0/checkpoint_final.pth", None, "no fold_"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, file: str, content: bytes | None, sentence: str) -> None:
    folder = _model(tmp_path, "residual")
    path = folder / "results" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence) as caught:
        load(str(folder))
    assert "\n" not in str(caught.value)


def test_weights_of_another_network(tmp_path: Path) -> None:
    folder = _model(tmp_path, "residual")
    shutil.copy(GOLDEN / "plain" / "fold_0" / "checkpoint_final.pth", folder / "results" / "fold_0")
    with pytest.raises(ModelError, match="do not fit its network"):
        load(str(folder))


def test_modality_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="made for CT"):
        load(str(_model(tmp_path, "residual"))).lesions(
            small_scan(), modality="MR", within=None, settings=LesionSettings()
        )
