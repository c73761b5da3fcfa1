"""Maps whose tiles can be replaced for one frame and put back, and normalisation with stored statistics.

Legend: H x W map, C channels, T tiles of 4 x 4 pixels, row by row.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generation.winograd import TILE


class PaddedMap:
    """A map with a border of zeros, (H + 2 border, W + 2 border, C), the input of a convolution.

    Args:
        size: (H, W), multiples of 4.
        channels: C.
        border: pixels on each side.
    """

    def __init__(self, size: tuple[int, int], channels: int, border: int = 1):
        height, width = size
        self.padded = torch.zeros(height + 2 * border, width + 2 * border, channels)
        inner = self.padded[border:-border, border:-border]
        y, x, _ = inner.stride()
        self._columns = width // TILE
        self._tiles = inner.as_strided(
            (height // TILE, self._columns, TILE, TILE, channels), (TILE * y, TILE * x, y, x, 1), inner.storage_offset()
        )
        self._replaced: tuple[Tensor, Tensor] | None = None

    def write(self, tiles: Tensor, values: Tensor, *, temporarily: bool) -> None:
        """Replace tiles: (T,) numbers, (T, 4, 4, C) values; `temporarily` until `restore`."""
        place = tiles // self._columns, tiles % self._columns
        if temporarily:
            self._replaced = tiles, self._tiles[place]
        self._tiles[place] = values

    def restore(self) -> None:
        """Put back the tiles that were replaced for one frame."""
        if self._replaced is not None:
            tiles, values = self._replaced
            self._replaced = None
            self._tiles[tiles // self._columns, tiles % self._columns] = values


class StoredNorm:
    """Instance normalisation with the statistics of an earlier, whole map.

    Args:
        norm: with its gain and offset.
    """

    def __init__(self, norm: nn.InstanceNorm2d):
        self._gain, self._offset, self._eps = norm.weight.detach(), norm.bias.detach(), norm.eps
        self._scale = self._shift = self._gain

    def learn(self, x: Tensor) -> None:
        """Take the statistics of a whole map (T, 4, 4, C)."""
        variance, mean = torch.var_mean(x.flatten(0, 2), dim=0, correction=0)
        self._scale = self._gain * (variance + self._eps).rsqrt()
        self._shift = self._offset - mean * self._scale

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise tiles (T, 4, 4, C)."""
        return torch.addcmul(self._shift, x, self._scale)


def to_tiles(x: Tensor) -> Tensor:
    """(C, H, W) -> (T, 4, 4, C)."""
    channels, height, width = x.shape
    tiled = x.reshape(channels, height // TILE, TILE, width // TILE, TILE)
    return tiled.permute(1, 3, 2, 4, 0).reshape(-1, TILE, TILE, channels)


def children(tiles: Tensor, columns: int) -> Tensor:
    """Tiles of the doubled map that cover tiles of a map with `columns` tiles per row: (T,) -> (4T,), sorted."""
    row, column = 2 * (tiles // columns), 2 * (tiles % columns)
    found = [(row + y) * 2 * columns + column + x for y in (0, 1) for x in (0, 1)]
    return torch.cat(found).sort().values


def union(first: Tensor, second: Tensor) -> Tensor:
    """Sorted numbers of tiles that are in one of two lists."""
    return torch.unique(torch.cat([first, second]))


def dilated(tiles: Tensor, size: tuple[int, ...]) -> Tensor:
    """Tiles of a map (H, W) together with their eight neighbours, sorted."""
    marked = torch.zeros(1, size[0] // TILE, size[1] // TILE)
    marked.view(-1)[tiles] = 1
    return F.max_pool2d(marked, 3, stride=1, padding=1).view(-1).nonzero()[:, 0]
