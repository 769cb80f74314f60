"""The network of ct-levels: a small 3-D U-Net on a 3 mm grid, whose first step takes 2x2x2 voxels into channels.

So every costly convolution runs on an eighth of the voxels; the head unpacks its channels to full resolution.
Batch normalisation is folded into the convolutions for inference, so a window's result depends on its own voxels only.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

CLASSES = ("background", "body", "posterior", "sacrum", "disc", "rib", "canal", "other_bone")
"""Meaning of the class channels, in order."""
N_CLASSES = len(CLASSES)
N_OUTPUTS = N_CLASSES + 4
"""Class scores, one centre score, and the offset to the vertebra's centre along z, y, x."""
OFFSET_MM = 20.0
"""Unit of the offset channels."""
SPACING_MM = 3.0
"""Edge of the network's voxels."""
STRIDE = 16
"""Every side of a window must be a multiple of this."""

_STEM = 16
_WIDTHS = (32, 64, 96, 96)


class _Conv(nn.Module):
    """Convolution, batch normalisation, leaky ReLU."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, 3, padding=1, bias=False)
        self.norm: nn.Module = nn.BatchNorm3d(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.1, inplace=True)

    def fold(self) -> None:
        """Take the normalisation into the convolution (inference only)."""
        if isinstance(self.norm, nn.BatchNorm3d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


def _pair(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(_Conv(n_in, n_out), _Conv(n_out, n_out))


class LevelsNetwork(nn.Module):
    """HU (n, 1, z, y, x) at 3 mm to (n, 12, z, y, x): class scores, centre score, offsets (see `N_OUTPUTS`)."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = _WIDTHS
        self.stem = nn.Conv3d(2, _STEM, 2, stride=2)
        self.down = nn.ModuleList([_pair(_STEM, a), _pair(a, b), _pair(b, c), _pair(c, d)])
        self.lift = nn.ModuleList([nn.Conv3d(b, a, 1), nn.Conv3d(c, b, 1), nn.Conv3d(d, c, 1)])
        self.up = nn.ModuleList([_pair(2 * a + _STEM, a), _Conv(2 * b, b), _Conv(2 * c, c)])
        self.head = nn.ConvTranspose3d(a, N_OUTPUTS, 2, stride=2)

    def forward(self, hu: Tensor) -> Tensor:
        """Scores and offsets of windows whose sides are multiples of `STRIDE`."""
        packed = self.stem(windows(hu).contiguous(memory_format=torch.channels_last_3d))
        skips: list[Tensor] = []
        x = packed
        for depth, block in enumerate(self.down):
            x = block(F.avg_pool3d(x, 2) if depth else x)
            skips.append(x)
        for depth in (2, 1, 0):
            raised = F.interpolate(self.lift[depth](x), scale_factor=2.0, mode="nearest")
            parts = [skips[depth], raised] + ([packed] if depth == 0 else [])
            x = self.up[depth](torch.cat(parts, dim=1))
        return self.head(x)

    def folded(self) -> LevelsNetwork:
        """The same network made ready for inference; it is changed in place."""
        self.eval()
        for module in self.modules():
            if isinstance(module, _Conv):
                module.fold()
        return channels_last(self)


def channels_last(network: LevelsNetwork) -> LevelsNetwork:
    """The network with its weights in the order of memory that is fastest on a CPU."""
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network


def windows(hu: Tensor) -> Tensor:
    """Two views of the HU as channels: soft tissue to spongy bone, and everything from air to cortex."""
    narrow = ((hu - 100.0) / 200.0).clamp(-1.5, 2.0)
    wide = ((hu - 200.0) / 600.0).clamp(-2.0, 2.0)
    return torch.cat([narrow, wide], dim=1)
