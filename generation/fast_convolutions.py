"""Winograd convolutions in the place of a network's own, where they are faster on the CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generation.winograd import TILE, WinogradConvolution
from modules.blocks import Modulation, UpBlock2d

_FEW_PIXELS = 64 * 64  # of the output, below which the kernels' own size decides the time


class FastUpBlock:
    """In the place of `UpBlock2d.forward`, for maps of enough pixels.

    Args:
        block: on the CPU, in evaluation.
    """

    def __init__(self, block: UpBlock2d):
        assert block.conv.bias is not None, "convolutions of blocks have a bias"
        self._exactly = block.forward
        self._norm = block.norm
        self._convolve = WinogradConvolution(block.conv.weight.detach(), block.conv.bias.detach(), doubled=True)

    def __call__(self, x: Tensor, modulation: Modulation | None = None) -> Tensor:
        """See `UpBlock2d`."""
        height, width = x.shape[2:]
        if 4 * height * width < _FEW_PIXELS or height % 2 or width % 2:
            return self._exactly(x, modulation)
        out = []
        for one in F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1):
            tiles = self._convolve(one.contiguous())
            rows, columns = 2 * height // TILE, 2 * width // TILE
            tiled = tiles.view(rows, columns, TILE, TILE, -1).permute(4, 0, 2, 1, 3)
            out.append(tiled.reshape(-1, 2 * height, 2 * width))
        normalised = self._norm(torch.stack(out))
        return F.relu(normalised if modulation is None else modulation(normalised))


def double_fast(network: nn.Module) -> None:
    """Let the doubling blocks of a network on the CPU use Winograd convolutions."""
    for block in network.modules():
        if isinstance(block, UpBlock2d):
            block.forward = FastUpBlock(block)  # type: ignore[method-assign]  # the instance's, not the class's
