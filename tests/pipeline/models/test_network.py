"""What a network does where a GPU's memory runs out, with a GPU's error and no GPU; and one network at a time."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from pipeline.errors import ScanError
from pipeline.models.network import VoxelNetwork
from schemas.reasons import Reason

CPU = torch.device("cpu")


class SmallGpu:
    """Doubles windows, so many at a time."""

    def __init__(self, most: int) -> None:
        self.most, self.batches = most, list[int]()

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(windows))
        if len(windows) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return 2 * windows


def test_the_batch_is_halved_until_it_fits_and_stays_so() -> None:
    gpu = SmallGpu(most=2)
    network = VoxelNetwork(gpu, device=CPU, backend="torch", batch=8)
    windows = torch.rand(8, 1, 2, 3, 4)
    torch.testing.assert_close(network(windows), 2 * windows)
    assert gpu.batches == [8, 4, 2, 2, 4, 2, 2]
    assert network.batch == 2


def test_a_window_that_never_fits_is_a_row_with_its_reason() -> None:
    network = VoxelNetwork(SmallGpu(most=0), device=CPU, backend="torch", batch=4)
    with pytest.raises(ScanError, match="one window alone") as caught:
        network(torch.rand(4, 1, 2, 2, 2))
    assert caught.value.reason is Reason.OUT_OF_MEMORY


def test_half_precision_runs_in_half_and_answers_in_full() -> None:
    """On the CPU, for want of a GPU: that it is right, not that it is fast."""
    torch.manual_seed(0)
    seen: list[torch.dtype] = []
    module = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3, padding=1), torch.nn.InstanceNorm3d(8), torch.nn.ReLU(), torch.nn.Conv3d(8, 3, 1)
    )
    module[0].register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    windows = torch.rand(2, 1, 8, 8, 8)
    full = VoxelNetwork.made_by(lambda: (module, None), patch=(8, 8, 8), backend="torch")(windows)
    half = VoxelNetwork.made_by(lambda: (module, None), patch=(8, 8, 8), backend="torch-bfloat16")
    got = half(windows)
    assert half.backend == "torch-bfloat16"
    assert seen == [torch.float32, torch.bfloat16]
    assert got.dtype == torch.float32
    assert 0 < float((got - full).abs().max() / (full.max() - full.min())) < 0.02


def test_one_at_a_time_on_a_device() -> None:
    inside, most = [0], [0]

    def run(windows: torch.Tensor) -> torch.Tensor:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.02)
        inside[0] -= 1
        return windows

    networks = [VoxelNetwork(run, device=CPU, backend="torch") for _ in range(2)]
    threads = [threading.Thread(target=networks[n % 2], args=(torch.rand(1, 1, 2, 2, 2),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


@pytest.mark.parametrize("size", [16, 72])
def test_windows_side_by_side_give_what_each_alone_gives(size: int) -> None:
    """Small ones run two at a time, larger ones one after the other; a batch may hold any number."""
    torch.manual_seed(0)
    module = torch.nn.Conv3d(1, 3, 3, padding=1).eval()
    network = VoxelNetwork.made_by(lambda: (module, None), patch=(size,) * 3, backend="openvino")
    assert network.batch == (2 if size == 16 else 1)
    windows = torch.rand(5, 1, size, size, size)
    together = network(windows)
    for kept, window in zip(together, windows, strict=True):
        torch.testing.assert_close(kept, module(window[None])[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network(window[None])[0], kept, rtol=1e-4, atol=1e-5)


def test_memory_that_runs_out_is_not_the_networks_fault() -> None:
    def run(windows: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="allocate memory"):  # no ScanError: `process_scan` knows it by its words
        VoxelNetwork(run, device=CPU, backend="torch")(torch.rand(1, 1, 2, 2, 2))
