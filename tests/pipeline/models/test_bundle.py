"""MONAI bundles, held against MONAI itself: the same configuration on the same NIfTI, from loading to the mask."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser

from pipeline.errors import ModelError, ScanError
from pipeline.grid import Volume
from pipeline.models.predictor import LesionSettings
from pipeline.models.registry import load
from schemas.reasons import Reason
from tests.pipeline.models.networks import PATCH, SETTINGS, small_network, small_scan, write_model

NETWORK = {"_target_": "UNet", "spatial_dims": 3} | {key: value for key, value in SETTINGS.items() if key != "class"}


SCAN = small_scan(degrees=0)
"""Not oblique: there MONAI's `Spacingd` moves by a part of a voxel with the last digit of an affine."""


def _config() -> dict[str, Any]:
    window = {"a_min": -500, "a_max": 500, "b_min": -2.0, "b_max": 2.0, "clip": True}
    return {
        "imports": ["$import glob"],
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": NETWORK,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image"},
                {"_target_": "EnsureChannelFirstd", "keys": "image"},
                {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS", "labels": None},
                {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, 1.5], "mode": "bilinear"},
                {"_target_": "ScaleIntensityRanged", "keys": "image", **window},
            ],
        },
        "inferer": {
            "_target_": "SlidingWindowInferer", "roi_size": list(PATCH), "sw_batch_size": 1, "overlap": 0.5,
            "mode": "gaussian",
        },
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "softmax": True},
                {
                    "_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
                    "nearest_interp": False, "to_tensor": True,
                },
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
            ],
        },
        "output_dir": "$@bundle_root + '/eval'",
    }  # fmt: skip


def _bundle(folder: Path, config: dict[str, Any] | None = None, **changes: object) -> Path:
    for name in ("configs", "models"):
        (folder / "bundle" / name).mkdir(parents=True, exist_ok=True)
    (folder / "bundle" / "configs" / "inference.json").write_text(json.dumps(config or _config()))
    channels = {"0": "background", "1": "lesion"}
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": channels}}}}
    (folder / "bundle" / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.save(small_network().state_dict(), folder / "bundle" / "models" / "model.pt")
    return write_model(folder, format="monai_bundle", weights="bundle", labels=None, patch=None, **changes)


def _write(volume: Volume, path: Path) -> Path:
    image = sitk.GetImageFromArray(volume.voxels)
    image.SetSpacing(volume.grid.spacing_mm[::-1])
    image.SetOrigin(volume.grid.origin_mm)
    image.SetDirection(volume.grid.direction)
    sitk.WriteImage(image, path)
    return path


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """MONAI's own run of the configuration, [z, y, x]."""
    path = _write(SCAN, tmp_path_factory.mktemp("scan") / "scan.nii.gz")
    config = _config()
    config["device"] = "cpu"
    config["postprocessing"]["transforms"].pop()
    parser = ConfigParser(config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about readers that are not installed
        before, after, inferer = (parser.get_parsed_content(n) for n in ("preprocessing", "postprocessing", "inferer"))
    data = before({"image": str(path)})
    with torch.inference_mode():
        data["pred"] = inferer(data["image"][None], small_network())[0]
    return np.asarray(after(data)["pred"][0]).transpose(2, 1, 0) > 0


def test_as_monai_itself(tmp_path: Path, expected: np.ndarray) -> None:
    model = load(str(_bundle(tmp_path)))
    found = model.lesions(SCAN, modality="CT", within=None, settings=LesionSettings(threshold=0.5))
    mask = found.instances > 0
    assert 0.1 < expected.mean() < 0.9
    assert 2 * (mask & expected).sum() / (mask.sum() + expected.sum()) > 0.998
    assert found.score_max is not None


def test_levels_by_the_bundles_own_labels(tmp_path: Path, expected: np.ndarray) -> None:
    folder = _bundle(tmp_path, task="levels")
    text = (folder / "model.yaml").read_text()
    (folder / "model.yaml").write_text(text + "labels: {1: L2}\n")
    levels = load(str(folder)).levels(SCAN, modality="CT").levels
    assert set(np.unique(levels)) == {0, 21}
    assert 2 * ((levels > 0) & expected).sum() / ((levels > 0).sum() + expected.sum()) > 0.998


def test_what_follows_the_threshold_is_honoured(tmp_path: Path, expected: np.ndarray) -> None:
    config = _config()
    largest = {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "connectivity": 3}
    config["postprocessing"]["transforms"].insert(3, largest)
    model = load(str(_bundle(tmp_path, config)))
    found = model.lesions(SCAN, modality="CT", within=None, settings=LesionSettings())
    assert found.instances.max() == 1
    assert found.score_max is None


@pytest.mark.parametrize(
    ("part", "change", "sentence"),
    [
        ("network_def", {"_target_": "scripts.net.MyNet"}, "'scripts.net.MyNet'"),
        ("network_def", {"_target_": "os.system", "command": "true"}, "'os.system'"),
        ("inferer", {"_target_": "download_url", "url": "http://x"}, "'download_url'"),
        ("inferer", "$__import__('os').system('true')", "expression"),
        ("inferer", "@elsewhere", "expression"),
        ("network_def", "%other.json#network", "expression"),
    ],
)
def test_what_is_not_monais_own_needs_trust(tmp_path: Path, part: str, change: object, sentence: str) -> None:
    config = _config() | {part: change, "elsewhere": "$1 + 1"}
    with pytest.raises(ModelError, match=sentence) as caught:
        load(str(_bundle(tmp_path, config)))
    assert "trust: true" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_trusted_bundle_brings_its_own_code(tmp_path: Path, expected: np.ndarray) -> None:
    config = _config() | {"network_def": {**NETWORK, "_target_": "bundle_scripts.net.Mine"}}
    folder = _bundle(tmp_path, config)
    scripts = folder / "bundle" / "bundle_scripts"
    scripts.mkdir()
    (scripts / "__init__.py").touch()
    (scripts / "net.py").write_text("from monai.networks.nets import UNet\nclass Mine(UNet): pass\n")
    model = load(str(folder), trust=True)
    found = model.lesions(SCAN, modality="CT", within=None, settings=LesionSettings()).instances > 0
    assert 2 * (found & expected).sum() / (found.sum() + expected.sum()) > 0.998


def test_a_missing_script_is_one_line(tmp_path: Path) -> None:
    config = _config() | {"network_def": {"_target_": "no_such_scripts.net.Mine"}}
    with pytest.raises(ModelError, match="network_def cannot be made") as caught:
        load(str(_bundle(tmp_path, config)), trust=True)
    assert "\n" not in str(caught.value)


def test_another_inferer_is_refused(tmp_path: Path) -> None:
    config = _config() | {"inferer": {"_target_": "SaliencyInferer", "cam_name": "CAM", "target_layers": "a"}}
    with pytest.raises(ModelError, match="SaliencyInferer"):
        load(str(_bundle(tmp_path, config)))


def test_a_bundle_without_weights_or_configuration(tmp_path: Path) -> None:
    folder = _bundle(tmp_path)
    (folder / "bundle" / "models" / "model.pt").unlink()
    with pytest.raises(ModelError, match=r"neither model\.safetensors nor model\.pt"):
        load(str(folder))
    (folder / "bundle" / "configs" / "inference.json").unlink()
    with pytest.raises(ModelError, match=r"no configs/inference\.json"):
        load(str(folder))


@pytest.mark.parametrize("reference", ["@steps", "$@steps", "@more::steps"])
def test_transforms_by_reference(tmp_path: Path, expected: np.ndarray, reference: str) -> None:
    config = _config()
    steps = config["preprocessing"]["transforms"]
    config |= {"steps": steps, "more": {"steps": steps}}
    config["preprocessing"] = {"_target_": "Compose", "transforms": reference}
    found = load(str(_bundle(tmp_path, config))).lesions(SCAN, modality="CT", within=None, settings=LesionSettings())
    mask = found.instances > 0
    assert 2 * (mask & expected).sum() / (mask.sum() + expected.sum()) > 0.998


def test_a_result_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    """Mirrored, with the scan's own number of voxels: only the affine tells."""
    config = _config()
    config["preprocessing"]["transforms"][2]["axcodes"] = "ASR"
    del config["preprocessing"]["transforms"][3]
    config["postprocessing"]["transforms"] = config["postprocessing"]["transforms"][:1]
    model = load(str(_bundle(tmp_path, config)))
    with pytest.raises(ScanError, match=r"another grid .* it lacks `Invertd`"):
        model.lesions(SCAN, modality="CT", within=None, settings=LesionSettings())


def test_a_transform_that_fails_is_one_line(tmp_path: Path) -> None:
    config = _config()
    config["preprocessing"]["transforms"].append({"_target_": "Resized", "keys": "image", "spatial_size": [1, 2]})
    with pytest.raises(ScanError, match="the bundle's Resized fails on this scan") as caught:
        load(str(_bundle(tmp_path, config))).lesions(SCAN, modality="CT", within=None, settings=LesionSettings())
    assert caught.value.reason == Reason.MODEL_OUTPUT
    assert "\n" not in caught.value.sentence


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sigma_scale": 0.25}, "sigma_scale 0.25 is not supported; 0.125 is"),
        ({"padding_mode": "replicate"}, "padding_mode replicate is not supported; constant is"),
        ({"roi_size": [16, 16]}, "three sizes from 1 up"),
    ],
)
def test_an_inferer_that_would_give_other_numbers(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    config = _config()
    config["inferer"] |= change
    with pytest.raises(ModelError, match=sentence):
        load(str(_bundle(tmp_path, config)))


def test_channels_without_background(tmp_path: Path) -> None:
    """By its metadata channel 0 is a class: what it marks is class 1."""
    folder = _bundle(tmp_path)
    channels = {"0": "lesion_lytic", "1": "lesion_blastic"}
    metadata = {"network_data_format": {"outputs": {"pred": {"channel_def": channels}}}}
    (folder / "bundle" / "configs" / "metadata.json").write_text(json.dumps(metadata))
    config = _config()
    config["postprocessing"]["transforms"][0] = {"_target_": "Activationsd", "keys": "pred", "sigmoid": True}
    config["postprocessing"]["transforms"][2] = {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.5}
    (folder / "bundle" / "configs" / "inference.json").write_text(json.dumps(config))
    model = load(str(folder))
    assert model.classes.names == {1: "lesion_lytic", 2: "lesion_blastic"}  # type: ignore[attr-defined]
    found = model.lesions(SCAN, modality="CT", within=None, settings=LesionSettings()).instances > 0
    assert found.mean() > 0.9, "the network's two channels are bright and dark places"
