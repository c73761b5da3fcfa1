"""Building blocks that the families share. Attribute names are those of the published state dicts.

Dimension letters: B batch, C channels, H x W image, h x w feature map.
"""

from collections.abc import Callable
from math import prod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config.family_sections import BottleneckParams

Norm = Literal["instance", "batch"]

Modulation = Callable[[Tensor], Tensor]
"""Function that changes normalised features: (B, C, h, w) -> (B, C, h, w)."""


def _norm(kind: Norm, channels: int) -> nn.Module:
    """`instance`: TPSMM and MEGC2022. `batch`: FOMM, MRAA and both facial-prior code bases."""
    return nn.InstanceNorm2d(channels, affine=True) if kind == "instance" else nn.BatchNorm2d(channels)


class SameBlock2d(nn.Module):
    """Convolution, normalisation, ReLU at constant size: (B, in, h, w) -> (B, out, h, w)."""

    def __init__(self, in_features: int, out_features: int, kernel_size: int, padding: int, norm: Norm):
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, kernel_size, padding=padding)
        self.norm = _norm(norm, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class DownBlock2d(nn.Module):
    """Convolution, normalisation, ReLU, mean of 2 x 2: (B, in, h, w) -> (B, out, h/2, w/2)."""

    def __init__(self, in_features: int, out_features: int, norm: Norm):
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, 3, padding=1)
        self.norm = _norm(norm, out_features)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(F.relu(self.norm(self.conv(x))))


class UpBlock2d(nn.Module):
    """Nearest doubling, convolution, normalisation, modulation, ReLU: (B, in, h, w) -> (B, out, 2h, 2w)."""

    def __init__(self, in_features: int, out_features: int, norm: Norm):
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, 3, padding=1)
        self.norm = _norm(norm, out_features)

    def forward(self, x: Tensor, modulation: Modulation | None = None) -> Tensor:
        out = self.norm(self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        return F.relu(out if modulation is None else modulation(out))


class ResBlock2d(nn.Module):
    """Pre-activation residual block, modulated after its second normalisation: (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, features: int, norm: Norm):
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.norm1 = _norm(norm, features)
        self.norm2 = _norm(norm, features)

    def forward(self, x: Tensor, modulation: Modulation | None = None) -> Tensor:
        out = self.norm2(self.conv1(F.relu(self.norm1(x))))
        return self.conv2(F.relu(out if modulation is None else modulation(out))) + x


def level_features(block_expansion: int, max_features: int, level: int) -> int:
    """Channels of a level, doubled from level to level up to `max_features`."""
    return min(max_features, block_expansion * 2**level)


class Encoder(nn.Module):
    """Halve the map `num_blocks` times; returns the input and every level, fine to coarse."""

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int, norm: Norm):
        super().__init__()
        widths = [in_features, *(level_features(block_expansion, max_features, i + 1) for i in range(num_blocks))]
        self.down_blocks = nn.ModuleList(DownBlock2d(widths[i], widths[i + 1], norm) for i in range(num_blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        levels = [x]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


class Decoder(nn.Module):
    """Double the map level by level, each time concatenated with the encoder's level of that size.

    `forward` returns every level coarse to fine; the last has `out_features` = block_expansion + in_features channels.
    """

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int, norm: Norm):
        super().__init__()
        blocks, self.level_channels = [], []
        for i in reversed(range(num_blocks)):
            joined = 1 if i == num_blocks - 1 else 2
            width_in = joined * level_features(block_expansion, max_features, i + 1)
            width_out = level_features(block_expansion, max_features, i)
            blocks.append(UpBlock2d(width_in, width_out, norm))
            self.level_channels.append(width_out + (in_features if i == 0 else width_out))
        self.up_blocks = nn.ModuleList(blocks)
        self.out_features = block_expansion + in_features

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        out, decoded = levels[-1], []
        for block, skip in zip(self.up_blocks, reversed(levels[:-1]), strict=True):
            out = torch.cat([block(out), skip], dim=1)
            decoded.append(out)
        return decoded


class Hourglass(nn.Module):
    """Encoder and decoder: (B, in, h, w) -> list of levels coarse to fine, the last (B, out_features, h, w).

    h and w must be divisible by 2**num_blocks.
    """

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int, norm: Norm):
        super().__init__()
        self.encoder = Encoder(block_expansion, in_features, num_blocks, max_features, norm)
        self.decoder = Decoder(block_expansion, in_features, num_blocks, max_features, norm)
        self.out_features = self.decoder.out_features

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.decoder(self.encoder(x))


class BottleneckNetwork(nn.Module):
    """Layers of the generators of FOMM and MRAA: encoder, residual blocks, decoder.

    Args:
        params: channels, levels and residual blocks.
        motion: the motion network under its published name; it stands first in the state dict.
        num_channels: C.
    """

    def __init__(self, params: BottleneckParams, motion: tuple[str, nn.Module], *, num_channels: int):
        super().__init__()
        self.add_module(*motion)
        levels = range(params.num_down_blocks)
        widths = [level_features(params.block_expansion, params.max_features, i) for i in range(len(levels) + 1)]
        self.first = SameBlock2d(num_channels, params.block_expansion, 7, 3, "batch")
        self.down_blocks = nn.ModuleList(DownBlock2d(widths[i], widths[i + 1], "batch") for i in levels)
        self.up_blocks = nn.ModuleList(UpBlock2d(widths[i + 1], widths[i], "batch") for i in reversed(levels))
        self.bottleneck = nn.Sequential()
        for i in range(params.num_bottleneck_blocks):
            self.bottleneck.add_module(f"r{i}", ResBlock2d(widths[-1], "batch"))
        self.final = nn.Conv2d(params.block_expansion, num_channels, 7, padding=3)

    def encode(self, source: Tensor) -> list[Tensor]:
        """Features of the source alone: (B, C, H, W) -> num_down_blocks + 1 maps, fine to coarse."""
        levels = [self.first(source)]
        for block in self.down_blocks:
            levels.append(block(levels[-1]))
        return levels


def start_constant(layer: nn.Module, *values: float) -> None:
    """Initialise a convolution or linear layer so that its output is constant: one value, or one per channel."""
    with torch.no_grad():
        layer.get_parameter("weight").zero_()
        layer.get_parameter("bias").copy_(torch.tensor(values))


class AntiAliasInterpolation2d(nn.Module):
    """Gaussian blur and subsampling; the kernel is a buffer in published state dicts.

    Args:
        channels: C of the input.
        scale: size of the output relative to the input, at most 1; 1 returns the input.
        resample: `nearest` (TPSMM: floor(n * scale) samples) or `stride` (FOMM, MRAA: ceil(n * scale) samples).
    Source: FOMM (Siarohin et al., 2019), downsampling before every motion network.
    """

    weight: Tensor

    def __init__(self, channels: int, scale: float, resample: Literal["nearest", "stride"]):
        super().__init__()
        if resample not in ("nearest", "stride"):
            raise ValueError(f"expected resample 'nearest' or 'stride', got {resample!r}")
        self.scale = scale
        self.resample = resample
        self.groups = channels
        sigma = (1 / scale - 1) / 2
        self.radius = round(sigma * 4)
        at = torch.arange(2 * self.radius + 1, dtype=torch.float32) - self.radius
        # At scale 1 the published kernel is 0/0; NaN is kept, because checkpoints hold the buffer.
        line = torch.exp(-(at**2) / (2 * sigma**2)) if sigma else torch.full_like(at, torch.nan)
        kernel = line[:, None] * line[None, :]
        kernel = kernel / kernel.sum()
        self.register_buffer("weight", kernel.expand(channels, 1, *kernel.shape).clone())

    def forward(self, x: Tensor) -> Tensor:
        if self.scale == 1:
            return x
        out = F.conv2d(F.pad(x, (self.radius,) * 4), self.weight.to(x.dtype), groups=self.groups)
        if self.resample == "stride":
            step = int(1 / self.scale)
            return out[:, :, ::step, ::step]
        return F.interpolate(out, scale_factor=self.scale, mode="nearest")


class ImagePyramid(nn.Module):
    """An image at several scales: {scale: (B, C, H * scale, W * scale)}.

    `downs` has the published keys, see `pyramid_key`.
    """

    def __init__(self, scales: tuple[float, ...], num_channels: int, resample: Literal["nearest", "stride"]):
        super().__init__()
        self.scales = {pyramid_key(scale): scale for scale in scales}
        self.downs = nn.ModuleDict(
            {key: AntiAliasInterpolation2d(num_channels, scale, resample) for key, scale in self.scales.items()}
        )

    def forward(self, x: Tensor) -> dict[float, Tensor]:
        return {scale: self.downs[key](x) for key, scale in self.scales.items()}


def pyramid_key(scale: float) -> str:
    """Key of a scale in published state dicts, a hyphen in place of the dot."""
    return f"{scale:g}".replace(".", "-")


def count_parameters(module: nn.Module) -> int:
    """Number of parameters, without buffers."""
    return sum(prod(parameter.shape) for parameter in module.parameters())
