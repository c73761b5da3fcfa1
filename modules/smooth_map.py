"""Evaluation of smooth maps at many points: tabulated on a coarse grid, interpolated, and checked.

Dimension letters: L maps, N points, C values, m coarse nodes and f fine nodes along an axis.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isqrt

import torch
import torch.nn.functional as F
from torch import Tensor

_MARGIN = 4  # coarse nodes beyond the points, over which the effect of the cubic spline's ends fades
_FINENESS = 2  # fine nodes per distance of points, between which interpolation is bilinear


def interpolate_smooth(
    function: Callable[[Tensor], Tensor],
    points: Tensor,
    kinks: Tensor,
    *,
    stride: int,
    tolerance: float,
    size: tuple[int, int] | None = None,
) -> Tensor | None:
    """Evaluate maps at dense points from a table, by cubic splines.

    Args:
        function: (L or 1, N, 2) -> (L, N, C), exact and slow.
        points: (L or 1, N, 2), dense in the box around them: their distance is that of a square grid of N points.
        kinks: (L, n, 2), where the maps are least smooth. The error is measured around them.
        stride: distance of the table's nodes, in distances of points.
        tolerance: largest error, in distances of points; the values are in the units of the points.
        size: (h, w), for points that are all pixel centres of [-1, 1], row by row.
    Returns:
        (L, N, C); None if the error is larger.
    """
    box = points.reshape(-1, 2)
    low, high = (box[0], box[-1]) if size else (box.amin(0), box.amax(0))
    height, width = size or (max(2, isqrt(points.shape[-2])),) * 2
    distance = (high - low) / (low.new_tensor([width, height]) - 1)
    fineness = 1 if size else _FINENESS
    columns, rows = _Axis.of(width, stride, fineness), _Axis.of(height, stride, fineness)
    x = low[0] + distance[0] * columns.nodes.to(low)
    y = low[1] + distance[1] * rows.nodes.to(low)
    nodes = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)  # -> (m, m, 2)
    values = function(nodes.reshape(1, -1, 2)).mT
    table = values.reshape(*values.shape[:2], len(y), len(x))  # -> (L, C, m, m)
    fine = rows.upsampling.to(table) @ table @ columns.upsampling.to(table).mT  # -> (L, C, f, f)

    def read(at: Tensor) -> Tensor:
        scale = 2 / (distance * low.new_tensor([columns.last, rows.last]))
        position = ((at - low) * scale - 1).expand(len(fine), -1, -1)
        values = F.grid_sample(fine, position[:, None], mode="bilinear", padding_mode="border", align_corners=True)
        return values[:, :, 0].mT

    offsets = distance * stride * table.new_tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])
    checked = (kinks[:, :, None] + offsets).flatten(1, 2)
    checked = torch.maximum(torch.minimum(checked, high), low)
    if size:
        checked = low + ((checked - low) / distance).round() * distance
    error = ((read(checked) - function(checked)) / distance).abs().max()
    if not error <= tolerance:
        return None
    return fine[:, :, :height, :width].flatten(2).mT if size else read(points)


@dataclass(frozen=True)
class _Axis:
    """Nodes of a table along one axis.

    Attributes:
        nodes: (m,), position of the coarse nodes, in distances of points from the first point.
        last: position of the last fine node.
        upsampling: (f, m) float64, from values at coarse nodes to values at the fine nodes from 0 to `last`, by cubic
            B-splines whose slope is constant in the outermost cells.
    """

    nodes: Tensor
    last: int
    upsampling: Tensor

    @classmethod
    @lru_cache(maxsize=16)
    def of(cls, length: int, stride: int, fineness: int) -> "_Axis":
        """Nodes for a length in points; `fineness` fine nodes per distance of points."""
        cells = ceil((length - 1) / stride)
        count = cells + 2 * _MARGIN + 1
        system = torch.zeros(count, count + 2, dtype=torch.float64)
        for row in range(count):
            system[row, row : row + 3] = torch.tensor([1, 4, 1], dtype=torch.float64) / 6
        ends = torch.zeros(count + 2, count, dtype=torch.float64)
        ends[1:-1] = torch.eye(count, dtype=torch.float64)
        ends[0, :2] = torch.tensor([2.0, -1.0])
        ends[-1, -2:] = torch.tensor([-1.0, 2.0])
        coefficients = ends @ torch.linalg.inv(system @ ends)  # -> (m + 2, m)
        steps = stride * fineness
        at = torch.arange(cells * steps + 1, dtype=torch.float64) / steps + _MARGIN + 1
        gap = (at[:, None] - torch.arange(count + 2)).abs()
        near, far = 2 / 3 - gap**2 + gap**3 / 2, (2 - gap).clamp_min(0) ** 3 / 6
        nodes = torch.arange(-_MARGIN, cells + _MARGIN + 1) * stride
        return cls(nodes, cells * stride, torch.where(gap < 1, near, far) @ coefficients)
