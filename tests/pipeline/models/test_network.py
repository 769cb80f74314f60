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
