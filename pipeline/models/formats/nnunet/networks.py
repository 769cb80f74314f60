"""The two U-Nets that nnU-Net v2 plans, with the names that its checkpoints give their weights.

Written anew from the papers and the layout of the checkpoints: Isensee et al., Nature Methods 2021 (plain), and
Isensee et al., MICCAI 2024, arXiv 2404.09556 (residual encoder). The package that nnU-Net takes them from needs another
build of torch than a CPU has.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pipeline.errors import ModelError

Sizes = Sequence[int]


def unet(architecture: str, settings: dict[str, Any], *, channels: int, classes: int) -> nn.Module:
    """The network of a plan.

    Args:
        architecture: PlainConvUNet or ResidualEncoderUNet.
        settings: `arch_kwargs` of the plans.
        channels: of the input.
        classes: output channels.

    Raises:
        ModelError: another architecture, or a part that these two do not have.
    """
    if architecture not in ("PlainConvUNet", "ResidualEncoderUNet"):
        raise ModelError(
            f"nnU-Net network {architecture!r} is not PlainConvUNet or ResidualEncoderUNet, which are supported"
        )
    for key, wanted in (("norm_op", "InstanceNorm3d"), ("nonlin", "LeakyReLU"), ("conv_op", "Conv3d")):
        if str(settings.get(key) or wanted).rpartition(".")[2] != wanted:
            raise ModelError(f"nnU-Net network with {key} {settings[key]!r} is not supported; {wanted} is")
    stages = len(settings["strides"])
    parts = _Parts(bool(settings.get("conv_bias", False)), dict(settings.get("norm_op_kwargs") or {}))
    encoder = (_PlainEncoder if architecture == "PlainConvUNet" else _ResidualEncoder)(
        parts, channels, _Shape.of(settings, stages)
    )
    decoder = _Decoder(parts, _Shape.of(settings, stages), classes)
    return nn.Sequential(OrderedDict(encoder=encoder, decoder=decoder))


class _Parts:
    """Makes the blocks that both networks are built of."""

    def __init__(self, bias: bool, norm: dict[str, Any]) -> None:
        self.bias = bias
        self.norm = norm

    def conv(self, n_in: int, n_out: int, kernel: Sizes, stride: Sizes = (1, 1, 1), **how: bool) -> nn.Sequential:
        """Convolution, instance norm and, unless `active` is false, leaky ReLU."""
        padding = [(k - 1) // 2 for k in kernel]
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["conv"] = nn.Conv3d(n_in, n_out, tuple(kernel), tuple(stride), padding, bias=how.get("bias", self.bias))  # type: ignore[arg-type]
        layers["norm"] = nn.InstanceNorm3d(n_out, **self.norm)
        if how.get("active", True):
            layers["nonlin"] = nn.LeakyReLU(inplace=True)
        return nn.Sequential(layers)

    def stack(self, count: int, n_in: int, n_out: int, kernel: Sizes, stride: Sizes = (1, 1, 1)) -> nn.Sequential:
        """Convolutions one after the other; the first has the stride."""
        first = self.conv(n_in, n_out, kernel, stride)
        convs = nn.Sequential(first, *(self.conv(n_out, n_out, kernel) for _ in range(count - 1)))
        return nn.Sequential(OrderedDict(convs=convs))


class _Shape:
    """Features, kernels, strides and numbers of blocks by stage."""

    def __init__(self, features: Sizes, kernels: list[Sizes], strides: list[Sizes], blocks: Sizes, up: Sizes) -> None:
        self.features, self.kernels, self.strides, self.blocks, self.up = features, kernels, strides, blocks, up

    @classmethod
    def of(cls, settings: dict[str, Any], stages: int) -> _Shape:
        """From `arch_kwargs` of the plans, where one number may stand for all stages or for all three axes."""

        def triples(values: Any) -> list[Sizes]:
            each = [values] * stages if isinstance(values, int) else values
            return [[one] * 3 if isinstance(one, int) else one for one in each]

        def numbers(values: Any, count: int) -> Sizes:
            return [values] * count if isinstance(values, int) else list(values)

        blocks = settings["n_conv_per_stage"] if "n_conv_per_stage" in settings else settings["n_blocks_per_stage"]
        return cls(
            numbers(settings["features_per_stage"], stages),
            triples(settings["kernel_sizes"]),
            triples(settings["strides"]),
            numbers(blocks, stages),
            numbers(settings["n_conv_per_stage_decoder"], stages - 1),
        )


class _PlainEncoder(nn.Module):
    """Stacks of convolutions; gives the features of every stage."""

    def __init__(self, parts: _Parts, channels: int, shape: _Shape) -> None:
        super().__init__()
        ins = [channels, *shape.features[:-1]]
        blocks = zip(shape.blocks, ins, shape.features, shape.kernels, shape.strides, strict=True)
        self.stages = nn.Sequential(*(nn.Sequential(parts.stack(*block)) for block in blocks))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features from the finest to the coarsest stage."""
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class _ResidualEncoder(_PlainEncoder):
    """A stem, then residual blocks."""

    def __init__(self, parts: _Parts, channels: int, shape: _Shape) -> None:
        nn.Module.__init__(self)
        self.stem = parts.stack(1, channels, shape.features[0], shape.kernels[0])
        ins = [shape.features[0], *shape.features[:-1]]
        stages = []
        for count, n_in, n_out, kernel, stride in zip(
            shape.blocks, ins, shape.features, shape.kernels, shape.strides, strict=True
        ):
            first = _Block(parts, n_in, n_out, kernel, stride)
            blocks = nn.Sequential(first, *(_Block(parts, n_out, n_out, kernel, (1, 1, 1)) for _ in range(count - 1)))
            stages.append(nn.Sequential(OrderedDict(blocks=blocks)))
        self.stages = nn.Sequential(*stages)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features from the finest to the coarsest stage."""
        return super().forward(self.stem(x))


class _Block(nn.Module):
    """Two convolutions and what went in, added; where the size changes, that is pooled and projected (ResNet-D)."""

    def __init__(self, parts: _Parts, n_in: int, n_out: int, kernel: Sizes, stride: Sizes) -> None:
        super().__init__()
        self.conv1 = parts.conv(n_in, n_out, kernel, stride)
        self.conv2 = parts.conv(n_out, n_out, kernel, active=False)
        self.nonlin2 = nn.LeakyReLU(inplace=True)
        skip: list[nn.Module] = []
        if any(step != 1 for step in stride):
            skip.append(nn.AvgPool3d(tuple(stride), tuple(stride)))  # type: ignore[arg-type]
        if n_in != n_out:
            skip.append(parts.conv(n_in, n_out, (1, 1, 1), bias=False, active=False))
        self.skip = nn.Sequential(*skip)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        found: torch.Tensor = self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x))
        return found


class _Decoder(nn.Module):
    """Back up from stage to stage; only the finest stage's scores are given."""

    def __init__(self, parts: _Parts, shape: _Shape, classes: int) -> None:
        super().__init__()
        up, stages, heads = [], [], []
        for i, count in enumerate(shape.up, 1):
            below, skip, stride = shape.features[-i], shape.features[-i - 1], tuple(shape.strides[-i])
            up.append(nn.ConvTranspose3d(below, skip, stride, stride, bias=parts.bias))  # type: ignore[arg-type]
            stages.append(parts.stack(count, 2 * skip, skip, shape.kernels[-i - 1]))
            heads.append(nn.Conv3d(skip, classes, 1))
        self.transpconvs, self.stages, self.seg_layers = nn.ModuleList(up), nn.ModuleList(stages), nn.ModuleList(heads)

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor:
        """Class scores at full size."""
        x = skips[-1]
        for i, (up, stage) in enumerate(zip(self.transpconvs, self.stages, strict=True)):
            x = stage(torch.cat([up(x), skips[-i - 2]], dim=1))
        scores: torch.Tensor = self.seg_layers[-1](x)
        return scores
