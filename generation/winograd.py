"""Convolutions of 3 x 3 by Winograd's minimal filtering, in tiles of 4 x 4 outputs, with a quarter of the products.

Maps are (H, W, C). A convolution may compute some of its tiles only, and may double its input by nearest neighbours.

Legend: H x W map, C channels, T tiles, 36 = 6 x 6 products per tile.
Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (CVPR 2016), F(4 x 4, 3 x 3).
"""

import torch
from torch import Tensor

_CHUNK = 192  # tiles that are computed at once; the values of more do not fit into a processor's cache
TILE = 4  # outputs of a tile along each axis

_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_KERNEL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
)
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)
_DOUBLED = torch.tensor(  # six rows of a map doubled by nearest neighbours, from four of its own
    [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64
)


class WinogradConvolution:
    """A convolution of 3 x 3 with a border of one pixel.

    Args:
        weight: (C', C, 3, 3).
        bias: (C',).
        doubled: the input is doubled first.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, doubled: bool = False):
        self.doubled = doubled
        kernel = torch.einsum("ai,bj,ocij->abco", _KERNEL, _KERNEL, weight.double())
        self.kernel = kernel.flatten(0, 1).float().contiguous()  # -> (36, C, C')
        rows = _INPUT @ _DOUBLED if doubled else _INPUT
        self.to_products = torch.kron(rows, rows).float()  # -> (36, 36), doubled (36, 16)
        self.from_products = torch.kron(_OUTPUT, _OUTPUT).float()  # -> (16, 36)
        self.bias = bias.float()

    def __call__(self, padded: Tensor, tiles: Tensor | None = None) -> Tensor:
        """Convolve a map.

        Args:
            padded: (H + 2, W + 2, C), contiguous, with its border; H and W are multiples of 4, doubled of 2.
            tiles: (T,) numbers of the tiles to compute, row by row; None computes all.
        Returns:
            (T, 4, 4, C').
        """
        step = TILE // 2 if self.doubled else TILE
        height, width, channels = padded.shape
        columns = (width - 2) // step
        if tiles is None:
            tiles = torch.arange((height - 2) // step * columns, device=padded.device)
        first = (tiles // columns * width + tiles % columns) * step  # pixel in the corner of each patch
        around = torch.arange(step + 2, device=padded.device)
        pixels = (around[:, None] * width + around).view(-1, 1) + first  # -> (36 or 16, T)
        flat = padded.view(-1, channels)
        out = padded.new_empty(len(tiles), TILE, TILE, len(self.bias))
        for part, result in zip(torch.split(pixels, _CHUNK, dim=1), torch.split(out, _CHUNK), strict=True):
            gathered = flat.index_select(0, part.reshape(-1)).view(len(part), -1)
            products = torch.bmm((self.to_products @ gathered).view(36, -1, channels), self.kernel)
            values = (self.from_products @ products.view(36, -1)).view(TILE, TILE, len(result), -1)
            torch.add(values.permute(2, 0, 1, 3), self.bias, out=result)
        return out


def assemble(tiles: Tensor, columns: int) -> Tensor:
    """Join all tiles of a map: (T, 4, 4, C) -> (H, W, C)."""
    rows = len(tiles) // columns
    return tiles.view(rows, columns, TILE, TILE, -1).transpose(1, 2).reshape(rows * TILE, columns * TILE, -1)
