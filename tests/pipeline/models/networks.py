"""A small network for tests, saved in each format, and the scan it looks at."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import safetensors.torch
import torch
import yaml
from monai.networks.nets import UNet

from pipeline.grid import Grid, Volume

PATCH = (16, 16, 16)
SETTINGS = {"class": "UNet", "in_channels": 1, "out_channels": 2, "channels": [4, 8], "strides": [2], "norm": "batch"}


@functools.cache
def small_network() -> torch.nn.Module:
    """Taught within a second that lesion is where the neighbourhood is bright; the same weights in every process."""
    arguments = {key: value for key, value in SETTINGS.items() if key != "class"}
    with torch.random.fork_rng(), torch.inference_mode(False):
        torch.manual_seed(3)
        network = UNet(spatial_dims=3, **arguments)
        optimiser = torch.optim.Adam(network.parameters(), lr=0.02)
        for _ in range(60):
            coarse = torch.randn(2, 1, 5, 5, 5)
            values = torch.nn.functional.interpolate(coarse, size=PATCH, mode="trilinear")
            loss = torch.nn.functional.cross_entropy(network(values), (values[:, 0] > 0).long())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network.eval().requires_grad_(False)


def small_scan(seed: int = 0, *, degrees: float = 8) -> Volume:
    """Smooth noise on an oblique (by `degrees`), anisotropic grid with its axes in an unusual order (about PIR)."""
    coarse = torch.randn(1, 1, 7, 8, 6, generator=torch.Generator().manual_seed(seed))
    voxels = torch.nn.functional.interpolate(coarse, size=(20, 34, 28), mode="trilinear")[0, 0].numpy() * 300
    turn = np.deg2rad(degrees)
    direction = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]) @ np.array(
        [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    grid = Grid((20, 34, 28), (2.5, 1.0, 1.2), (-20.0, 35.0, 110.0), tuple(direction.ravel().tolist()))
    return Volume(voxels.astype(np.int16), grid)


def write_model(folder: Path, **changes: object) -> Path:
    """A model.yaml for the small network, with `changes`."""
    spec: dict[str, object] = {
        "name": "small",
        "version": "1",
        "task": "lesions",
        "modality": ["CT"],
        "spacing_mm": [1.5, 1.5, 1.5],
        "intensity": {"clip": [-500, 500], "divide": 250},
        "patch": list(PATCH),
        "labels": {1: "lesion"},
    }
    content = {key: value for key, value in (spec | changes).items() if value is not None}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(content))
    return folder


def save_safetensors(folder: Path) -> Path:
    safetensors.torch.save_file(small_network().state_dict(), folder / "model.safetensors")
    return write_model(folder, format="monai_network", weights="model.safetensors", network=SETTINGS)


def save_export(folder: Path) -> Path:
    program = torch.export.export(small_network(), (_example(),))
    torch.export.save(program, folder / "model.pt2")
    return write_model(folder, format="torch_export", weights="model.pt2")


def save_torchscript(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(small_network(), _example()).save(str(folder / "model.ts"))
    return write_model(folder, format="torchscript", weights="model.ts")


def save_onnx(folder: Path, *, dynamic: bool = False) -> Path:
    axes = {"x": {0: "n", 2: "z", 3: "y", 4: "x"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            small_network(), (_example(),), folder / "model.onnx", dynamo=False, input_names=["x"], dynamic_axes=axes
        )
    return write_model(folder, format="onnx", weights="model.onnx")


def save_openvino(folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        openvino.save_model(
            openvino.convert_model(small_network(), example_input=_example()),
            folder / "ir" / "model.xml",
            compress_to_fp16=False,
        )
    return write_model(folder, format="openvino", weights="ir/model.xml")


SAVERS: dict[str, Callable[[Path], Path]] = {
    "monai_network": save_safetensors,
    "torch_export": save_export,
    "torchscript": save_torchscript,
    "onnx": save_onnx,
    "openvino": save_openvino,
}


def _example() -> torch.Tensor:
    return torch.randn(1, 1, *PATCH, generator=torch.Generator().manual_seed(1))
