"""The engine against its peers, on the same weights, scans and threads, in turns: the rows of the README's table.

make bench                                  # all of it
pytest -m bench -s tests/bench/bench_engine.py -k monai
SPINETALLY_BENCH_SCALE=2 ...                # every axis twice as long; see tests/bench/engine_cases.py
"""

from __future__ import annotations

import cProfile
import json
import pstats
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import SimpleITK as sitk
import torch
from monai.inferers import SlidingWindowInferer
from scipy import ndimage
from torch.utils.flop_counter import FlopCounterMode

from pipeline.engine.axis_map import AxisMap, resample_axes
from pipeline.engine.reduce import Labels, reduce_slabs
from pipeline.engine.resample import model_grid, resample_image
from pipeline.engine.window import blended_slabs
from pipeline.grid import Grid, Volume
from pipeline.models.network import VoxelNetwork
from pipeline.models.registry import load
from tests.bench.engine_cases import (
    LEVELS,
    PEERS,
    REPEATS,
    ROOT,
    Run,
    dice,
    draw_ct,
    in_turns,
    needs_peers,
    ratio,
    run,
    show,
    sized,
    unet,
    versions,
    write_cts,
    write_monai_model,
    write_spec,
)

Record = Callable[[str, object], None]
SCANS = 6
SPACING = (2.5, 1.4, 1.4)
PATCH = 48
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def cts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six CTs."""
    return write_cts(tmp_path_factory.mktemp("cts") / "in", SCANS, sized(80, 144, 144), SPACING)


def _against(ours: Callable[[Path], Run], theirs: Callable[[Path], Run], folder: Path) -> Iterator[tuple[Run, Run]]:
    """Both sides in turns, each into a folder of its own that is the same in every turn."""
    for name in ("ours", "theirs"):
        (folder / name).mkdir()
    for _ in range(REPEATS):
        yield ours(folder / "ours"), theirs(folder / "theirs")


def _row(turns: list[tuple[Run, Run]]) -> str:
    mine, theirs = zip(*turns, strict=True)
    hours = [SCANS * 3600 / statistics.median(r.seconds for r in side) for side in (mine, theirs)]
    share = statistics.median(r.peak_mb for r in mine) / statistics.median(r.peak_mb for r in theirs)
    network = statistics.median(r.answer["network_share"] for r in mine)
    return (
        f"{ratio([r.seconds for r in theirs], [r.seconds for r in mine])}; {hours[0]:.0f} against {hours[1]:.0f} scans "
        f"an hour; peak memory {share:.2f} of theirs ({statistics.median(r.peak_mb for r in mine):.0f} MiB); network "
        f"at work in {network:.0%} of our time"
    )


@needs_peers()
@pytest.mark.parametrize("classes", [2, 25])
def test_end_to_end_against_nnunet(cts: Path, tmp_path: Path, classes: int, record_property: Record) -> None:
    folder = tmp_path / "model"
    run(
        [
            PEERS / "python",
            ROOT / "tests/bench/peers/nnunet_model.py",
            folder / "results",
            str(classes),
            "8",
            str(PATCH),
        ]
    )
    names = LEVELS[: classes - 1]
    write_spec(folder, format="nnunet", weights="results", labels=dict(enumerate(names, 1)))
    homes = {name: str(tmp_path) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}

    def ours(target: Path) -> Run:
        return run([sys.executable, "-m", "tests.bench.peers.ours", folder, cts, target])

    def theirs(target: Path) -> Run:
        words = "-f 0 --disable_tta -npp 1 -nps 1 -device cpu".split()
        program = [PEERS / "nnUNetv2_predict_from_modelfolder", "-m", folder / "results", "-i", cts, "-o", target]
        return run([*program, *words], **homes)

    turns = list(_against(ours, theirs, tmp_path))
    numbers = {i: i for i in range(1, classes)}
    alike = [
        dice(tmp_path / "ours" / f"scan{i}_0000.nii.gz", tmp_path / "theirs" / f"scan{i}.nii.gz", numbers)
        for i in range(SCANS)
    ]
    assert min(alike) > 0.99, alike
    show(f"folder of {SCANS} CTs against nnUNetv2_predict 2.8.1, {classes} classes",
         f"{_row(turns)}; Dice {min(alike):.4f} and more", record_property)  # fmt: skip


def test_end_to_end_against_a_monai_script(cts: Path, tmp_path: Path, record_property: Record) -> None:
    folder = write_monai_model(tmp_path / "model", PATCH)

    def ours(target: Path) -> Run:
        return run([sys.executable, "-m", "tests.bench.peers.ours", folder, cts, target])

    def theirs(target: Path) -> Run:
        return run([sys.executable, "-m", "tests.bench.peers.monai_tutorial", folder, cts, target])

    turns = list(_against(ours, theirs, tmp_path))
    names = [f"scan{i}_0000.nii.gz" for i in range(SCANS)]
    alike = [dice(tmp_path / "ours" / name, tmp_path / "theirs" / name, {20: 1}) for name in names]
    show(f"folder of {SCANS} CTs against a script as MONAI's tutorials have it ({versions('monai')})",
         f"{_row(turns)}; Dice {min(alike):.4f} and more", record_property)  # fmt: skip


def _on_each_backend(module: torch.nn.Module, patch: tuple[int, int, int]) -> dict[str, VoxelNetwork]:
    names = ("torch", "openvino")
    return {name: VoxelNetwork.made_by(lambda: (module, None), patch=patch, backend=name) for name in names}


def test_windows_per_second(record_property: Record) -> None:
    values = draw_ct(sized(96, 128, 128), 0).astype(np.float32) / 400
    module, patch = unet(), (PATCH,) * 3
    inferer = SlidingWindowInferer(roi_size=patch, sw_batch_size=1, overlap=0.5, mode="gaussian")
    image = torch.from_numpy(values)[None, None]
    networks = _on_each_backend(module, patch)

    def blended(backend: str) -> torch.Tensor:
        return torch.cat(list(blended_slabs(networks[backend], values, patch)), dim=1)

    with torch.inference_mode():
        reference = inferer(image, module)[0]
        for backend in networks:
            torch.testing.assert_close(blended(backend), reference, rtol=1e-3, atol=1e-3)
        seconds = in_turns({"monai": lambda: inferer(image, module)} | {b: lambda b=b: blended(b) for b in networks})
    for backend in networks:
        show(f"windows against SlidingWindowInferer ({versions('monai')}), ours on {backend}",
             ratio(seconds["monai"], seconds[backend]), record_property)  # fmt: skip


@needs_peers()
def test_scores_back_to_a_segmentation(tmp_path: Path, record_property: Record) -> None:
    target = sized(150, 256, 256)
    coarse = tuple(round(n / 2) for n in target)
    rng = np.random.default_rng(0)
    small = rng.normal(size=(8, *(n // 8 + 2 for n in coarse)))
    zoom = [n / s for n, s in zip(coarse, small.shape[1:], strict=True)]
    scores = np.stack([ndimage.zoom(one, zoom, order=1) for one in small]).astype(np.float32)
    np.save(tmp_path / "scores.npy", scores)
    run([PEERS / "python", ROOT / "tests/bench/peers/nnunet_model.py", tmp_path / "model", "8", "4", "32"])
    words = [PEERS / "python", ROOT / "tests/bench/peers/nnunet_export.py", tmp_path / "model", tmp_path / "scores.npy"]
    peer = subprocess.Popen(
        [str(word) for word in (*words, *target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    mine, theirs = [], []
    for turn in range(REPEATS + 1):
        seconds, peak, ours = _reduced(torch.from_numpy(scores), target)
        answer = _asked(peer)
        if turn:
            mine.append((seconds, peak))
            theirs.append((answer["seconds"], answer["peak_mb"]))
    peer.communicate()
    same = float((np.load(tmp_path / "peer.npy") == ours).mean())
    assert same > 0.999
    share = statistics.median(p for _, p in mine) / statistics.median(p for _, p in theirs)
    speed = ratio([s for s, _ in theirs], [s for s, _ in mine])
    show(f"8 classes back to {' x '.join(map(str, target))} against nnunetv2 2.8.1's export",
         f"{speed}; memory {share:.2f} of theirs; {same:.5f} of the voxels the same", record_property)  # fmt: skip


def _asked(peer: subprocess.Popen[str]) -> dict[str, float]:
    """One repetition of the peer; its libraries greet before their first answer."""
    if peer.stdin is None or peer.stdout is None:
        raise RuntimeError("the peer has no pipes")
    peer.stdin.write("go\n")
    peer.stdin.flush()
    for line in peer.stdout:
        if line.startswith("{"):
            return dict(json.loads(line))
    raise RuntimeError("the peer ended")


def _reduced(scores: torch.Tensor, target: tuple[int, ...]) -> tuple[float, float, np.ndarray]:
    """Seconds, MiB beyond what was there before, and the segmentation."""
    maps = [AxisMap.stretch(have, want) for have, want in zip(scores.shape[1:], target, strict=True)]
    Path("/proc/self/clear_refs").write_text("5")
    before, start = _peak_mb(), time.perf_counter()
    result = np.zeros(target, np.uint16)
    values = Labels(lambda k: np.arange(k, dtype=np.uint16))
    reduce_slabs(iter(torch.split(scores, 16, dim=1)), (maps[0], maps[1], maps[2]), [(values, result)])
    return time.perf_counter() - start, _peak_mb() - before, result


def _peak_mb() -> float:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def test_resampling_an_image(record_property: Record) -> None:
    shape = sized(150, 256, 256)
    voxels = draw_ct(shape, 0)
    grid = Grid((shape[0], shape[1], shape[2]), (1.0, 0.8, 0.8), (0.0, 0.0, 0.0), IDENTITY)
    coarse = model_grid(grid, spacing_mm=(1.5, 1.5, 1.5))
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.8, 0.8, 1.0))
    wanted = sitk.Image(coarse.shape[::-1], sitk.sitkFloat32)
    wanted.SetSpacing(coarse.spacing_mm[::-1])
    wanted.SetOrigin(coarse.origin_mm)
    zoom = [a / b for a, b in zip(coarse.shape, shape, strict=True)]
    floats = voxels.astype(np.float32)
    cubic = [AxisMap.stretch(n, m, "cubic") for n, m in zip(shape, coarse.shape, strict=True)]
    sides: dict[str, Callable[[], Any]] = {
        "linear": lambda: resample_image(voxels, grid, coarse),
        "cubic": lambda: resample_axes(voxels, cubic),
        "scipy zoom, order 1": lambda: ndimage.zoom(floats, zoom, order=1, mode="nearest", grid_mode=True),
        "scipy zoom, order 3": lambda: ndimage.zoom(floats, zoom, order=3, mode="nearest", grid_mode=True),
        "SimpleITK, linear": lambda: sitk.Resample(image, wanted, sitk.Transform(), sitk.sitkLinear, 0.0,
                                                   sitk.sitkFloat32),
    }  # fmt: skip
    inner = np.s_[2:-2, 2:-2, 2:-2]
    expected = sitk.GetArrayFromImage(sides["SimpleITK, linear"]())[inner]
    np.testing.assert_allclose(sides["linear"]()[inner], expected, atol=0.5)
    np.testing.assert_allclose(sides["cubic"](), sides["scipy zoom, order 3"](), atol=0.5)
    seconds = in_turns(sides)
    for name in list(sides)[2:]:
        ours = "cubic" if name.endswith("3") else "linear"
        show(f"resampling {' x '.join(map(str, shape))} to 1.5 mm, {ours}, against {name} "
             f"({versions('scipy', 'SimpleITK')})", ratio(seconds[name], seconds[ours]), record_property)  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # of torch.jit.trace, by which OpenVINO converts
def test_share_of_the_processors_peak(record_property: Record) -> None:
    module, patch = unet(), (PATCH,) * 3
    window = torch.randn(1, 1, *patch)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        module(window)
    flop, n = counter.get_total_flops(), 2048
    a, b = torch.randn(n, n), torch.randn(n, n)
    networks = _on_each_backend(module, patch)
    batches = {name: window.repeat(one.batch, 1, 1, 1, 1) for name, one in networks.items()}
    sides = {name: lambda name=name: networks[name](batches[name]) for name in networks}
    seconds = in_turns({"sgemm": lambda: a @ b} | sides)
    peak = 2 * n**3 / statistics.median(seconds["sgemm"])
    for name in networks:
        speed = flop * networks[name].batch / statistics.median(seconds[name])
        share = f"{speed / peak:.2f} of it ({speed / 1e9:.0f} against {peak / 1e9:.0f} GFLOP/s)"
        show(f"network on {name} against sgemm of {n}", share, record_property)
    show("what a window costs on OpenVINO, layer by layer", _layers(module, window), record_property)


def _layers(module: torch.nn.Module, window: torch.Tensor) -> str:
    """Shares of a window's time by kind of layer, and the two layers that take most, as OpenVINO counts them."""
    model = openvino.convert_model(module, example_input=window, input=[(list(window.shape), openvino.Type.f32)])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERF_COUNT": True}
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()
    kinds: Counter[str] = Counter()
    layers: Counter[str] = Counter()
    for _ in range(REPEATS + 1):
        request.infer([window.numpy()])
        for node in request.profiling_info:
            kinds[node.node_type] += node.real_time.total_seconds()
            layers[f"{node.node_type} {node.node_name.split('/')[0]}"] += node.real_time.total_seconds()
    total = kinds.total()
    named = [f"{name} {seconds / total:.0%}" for name, seconds in kinds.most_common(4)]
    slowest = [f"{name.removeprefix('__module.')} {seconds / total:.0%}" for name, seconds in layers.most_common(2)]
    return f"{', '.join(named)}; slowest: {', '.join(slowest)}"


STAGES = {
    "resample and normalise": "prepare",
    "network": "__call__",
    "blend windows": "blended_slabs",
    "reduce back to the scan": "reduce_slabs",
}


def test_where_the_seconds_of_a_scan_go(tmp_path: Path, record_property: Record) -> None:
    folder = write_monai_model(tmp_path / "model", PATCH)
    model: Any = load(str(folder), device="cpu")
    shape = sized(80, 144, 144)
    volume = Volume(draw_ct(shape, 0), Grid((shape[0], shape[1], shape[2]), SPACING, (0.0, 0.0, 0.0), IDENTITY))
    model.levels(volume, modality="CT")
    profile = cProfile.Profile()
    start = time.perf_counter()
    profile.runcall(model.levels, volume, modality="CT")
    total = time.perf_counter() - start
    spent = dict.fromkeys(STAGES, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        for name, wanted in STAGES.items():
            if function == wanted and ("network.py" in file or function != "__call__") and "pipeline" in file:
                spent[name] = max(spent[name], cumulative)
    spent["reduce back to the scan"] -= spent["blend windows"]
    spent["blend windows"] -= spent["network"]
    spent["rest"] = total - sum(spent.values())
    parts = [f"{name} {seconds:.2f} s ({seconds / total:.0%})" for name, seconds in spent.items()]
    show(f"where the {total:.2f} s of one scan of {' x '.join(map(str, shape))} go", "; ".join(parts), record_property)
