"""A real network of somebody else (brainchop's MeshNet, MIT licence): its weights converted, on its own MR.

It tells grey from white matter; the names of levels only stand in for these. The back door is the converted network on
the whole scan at once, in the order of axes that it was trained in, with neither grid, windows nor blending.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from pipeline.grid import Grid, Volume
from pipeline.models.registry import load
from tests.pipeline.models.networks import write_model

SIDE = 96
"""Voxels of 1 mm along each axis of the part that is looked at."""

WHITE, GREY = 20, 21
"""Numbers of L1 and L2, which stand for them."""


def _converted(folder: Path) -> torch.nn.Module:
    """TensorFlow.js layers to torch; kernels lie as (i, j, k, in, out), ours as (out, in, k, j, i)."""
    model = json.loads((folder / "model.json").read_text())
    numbers = np.fromfile(folder / "group1-shard1of1.bin", dtype="<f4")
    tensors, at = {}, 0
    for entry in (entry for group in model["weightsManifest"] for entry in group["weights"]):
        size = int(np.prod(entry["shape"]))
        tensors[entry["name"]] = torch.from_numpy(numbers[at : at + size].reshape(entry["shape"]).copy())
        at += size
    assert at == len(numbers)
    layers: list[torch.nn.Module] = []
    for layer in model["modelTopology"]["model_config"]["config"]["layers"]:
        settings = layer["config"]
        if layer["class_name"] == "Activation":
            layers.append(torch.nn.ReLU())
        if layer["class_name"] == "Conv3D":
            kernel = tensors[f"{settings['name']}/kernel"].permute(4, 3, 2, 1, 0)
            conv = torch.nn.Conv3d(
                kernel.shape[1], kernel.shape[0], tuple(kernel.shape[2:]), padding="same",
                dilation=tuple(settings["dilation_rate"]),
            )  # fmt: skip
            conv.weight.data, conv.bias.data = kernel.contiguous(), tensors[f"{settings['name']}/bias"]  # type: ignore[union-attr]
            layers.append(conv)
    return torch.nn.Sequential(*layers).eval().requires_grad_(False)


def _volume(image: sitk.Image) -> Volume:
    z, y, x = image.GetSize()[::-1]
    dz, dy, dx = image.GetSpacing()[::-1]
    grid = Grid((z, y, x), (dz, dy, dx), image.GetOrigin(), image.GetDirection())
    return Volume(sitk.GetArrayFromImage(image), grid)


@pytest.fixture(scope="module")
def head(shared_data: Path) -> sitk.Image:
    """A cube from the middle of the head, as it lies in the file."""
    image = sitk.ReadImage(shared_data / "model_brainchop_meshnet" / "t1_crop.nii.gz")
    low = [(size - SIDE) // 2 for size in image.GetSize()]
    return image[tuple(slice(start, start + SIDE) for start in low)]


@pytest.fixture(scope="module")
def network(shared_data: Path) -> torch.nn.Module:
    return _converted(shared_data / "model_brainchop_meshnet" / "model5_gw_ae")


@pytest.fixture(scope="module")
def expected(head: sitk.Image, network: torch.nn.Module) -> np.ndarray:
    """0, 1 or 2 at each voxel of the file."""
    values = torch.from_numpy(sitk.GetArrayFromImage(head).astype(np.float32) / 255)
    with torch.inference_mode():
        return network(values[None, None])[0].argmax(dim=0).numpy()


def _export(network: torch.nn.Module, path: Path) -> None:
    torch.export.save(torch.export.export(network, (torch.zeros(1, 1, SIDE, SIDE, SIDE),)), path)


def _onnx(network: torch.nn.Module, path: Path) -> None:
    torch.onnx.export(network, (torch.zeros(1, 1, SIDE, SIDE, SIDE),), path, dynamo=False)


def test_its_classes_are_tissues(head: sitk.Image, expected: np.ndarray) -> None:
    """On T1 white matter is brighter than grey, and both are much of the middle of a head."""
    voxels = sitk.GetArrayFromImage(head)
    shares = np.bincount(expected.ravel(), minlength=3) / expected.size
    assert shares[1] > 0.2
    assert shares[2] > 0.2
    assert np.median(voxels[expected == 1]) > 1.2 * np.median(voxels[expected == 2])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("format_", "name", "save"), [("torch_export", "m.pt2", _export), ("onnx", "m.onnx", _onnx)])
@pytest.mark.parametrize("turned", [None, "LPS"])
def test_same_masks_as_the_network_itself(
    tmp_path: Path,
    head: sitk.Image,
    network: torch.nn.Module,
    expected: np.ndarray,
    format_: str,
    name: str,
    save: Callable[[torch.nn.Module, Path], None],
    turned: str | None,
) -> None:
    save(network, tmp_path / name)
    folder = write_model(
        tmp_path, name="meshnet", format=format_, weights=name, task="levels", modality=["MR"], orientation="LIA",
        spacing_mm=[1.0, 1.0, 1.0], intensity={"divide": 255}, patch=[SIDE] * 3, labels={1: "L1", 2: "L2"},
    )  # fmt: skip
    seen = head if turned is None else sitk.DICOMOrient(head, turned)
    levels = load(str(folder)).levels(_volume(seen), modality="MR").levels
    truth = sitk.GetImageFromArray(np.array([0, WHITE, GREY], np.uint16)[expected])
    truth.CopyInformation(head)
    truth = truth if turned is None else sitk.DICOMOrient(truth, turned)
    for number in (WHITE, GREY):
        ours, theirs = levels == number, sitk.GetArrayFromImage(truth) == number
        assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.999
