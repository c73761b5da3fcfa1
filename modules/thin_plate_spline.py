"""Thin-plate splines through given points, and random warps for equivariance losses.

Dimension letters: B batch, K splines, n control points, N points, h x w grid.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isqrt
from typing import Literal

import torch
from torch import Tensor

from config.sections import TransformParams
from modules.geometry import inverse_2x2, make_coordinate_grid
from modules.smooth_map import interpolate_smooth

Regularization = Literal["exact", "tpsmm"]
_CHUNK = 1 << 18  # distances computed at once when a spline is evaluated; their 1 MiB fits into a processor's cache
TOLERANCE = 0.01
"""Largest error of a tabulated spline, in distances of neighbouring points."""
_KINK = 0.65  # error of a table with nodes one unit apart, near a control point of weight one
_FEW, _MANY = 16, 1 << 20  # control points, and distances to them, from which a table is faster than the spline


def _radial(squared_distance: Tensor) -> Tensor:
    """U(r) = r^2 ln r^2 (Bookstein, 1989), finite at 0."""
    return squared_distance * torch.log(squared_distance + 1e-9)


def _squared_distance(points: Tensor, control: Tensor) -> Tensor:
    """(..., N, 2) and (..., n, 2) -> (..., N, n); per axis, because a matrix product loses digits under TF32."""
    x = points[..., :, None, 0] - control[..., None, :, 0]
    y = points[..., :, None, 1] - control[..., None, :, 1]
    return x * x + y * y


class TPS:
    """Thin-plate splines T with T(control) = target, one per leading index.

    Args:
        control: (..., n, 2), xy in [-1, 1], control points.
        target: (..., n, 2), values of the spline at the control points.
        regularization: `exact` solves for the displacement target - control, so that equal points give the identity
            with any smoothing; `tpsmm` solves for the target with 0.01 added to the whole system, as published: with
            equal points, the worst pixel then moves by 8 px of 256 in the median.
        smoothing: added to the kernel's diagonal (Wahba, 1990); 0 interpolates the targets. `exact` only.
        slope_penalty: bounds the linear part if control points are nearly collinear or coincide. `exact` only.

    Attributes:
        theta: (..., 2, 3), rows (x, y) of the affine part, columns (x, y, 1).
        control_params: (..., n, 2), weights of the radial functions.
    Source: Bookstein (1989); TPSMM (Zhao and Zhang, 2022), TPS motion estimation.
    """

    def __init__(
        self,
        control: Tensor,
        target: Tensor,
        *,
        regularization: Regularization,
        smoothing: float,
        slope_penalty: float = 1e-3,
    ):
        if control.shape != target.shape or control.shape[-1] != 2:
            raise ValueError(
                f"expected two (..., n, 2) of one shape, got {tuple(control.shape)}, {tuple(target.shape)}"
            )
        if regularization not in ("exact", "tpsmm"):
            raise ValueError(f"expected regularization 'exact' or 'tpsmm', got {regularization!r}")
        control, target = control.float(), target.float()
        self.control = control
        n = control.shape[-2]
        kernel = _radial(_squared_distance(control, control))
        affine = torch.cat([control, torch.ones_like(control[..., :1])], dim=-1)  # -> (..., n, 3)
        zeros = kernel.new_zeros(*kernel.shape[:-2], 3, 3)
        system = torch.cat(
            [torch.cat([kernel, affine], dim=-1), torch.cat([affine.mT, zeros], dim=-1)], dim=-2
        )  # -> (..., n + 3, n + 3)
        if regularization == "tpsmm":
            diagonal = kernel.new_full((n + 3,), 0.01)
            values = target
        else:
            diagonal = kernel.new_tensor([smoothing] * n + [-slope_penalty] * 2 + [0.0])
            values = target - control
        right = torch.cat([values, values.new_zeros(*values.shape[:-2], 3, 2)], dim=-2)
        solution = torch.linalg.solve(system + torch.diag(diagonal), right)
        self.control_params = solution[..., :n, :]
        self.theta = solution[..., n:, :].mT
        if regularization == "exact":
            self.theta = self.theta + torch.eye(2, 3, device=control.device)

    @classmethod
    def solved(cls, control: Tensor, control_params: Tensor, theta: Tensor) -> "TPS":
        """Splines whose equations were solved before; arguments as the attributes."""
        spline = cls.__new__(cls)
        spline.control, spline.control_params, spline.theta = control, control_params, theta
        return spline

    def __call__(self, points: Tensor) -> Tensor:
        """Map points: (..., N, 2), leading axes broadcast to those of the control points -> (..., N, 2)."""
        return self._affine(points) + self._bent(points)

    def _affine(self, points: Tensor) -> Tensor:
        return points @ self.theta[..., :2].mT + self.theta[..., None, :, 2]

    def _bent(self, points: Tensor) -> Tensor:
        """Sum of the radial functions."""
        return _radial(_squared_distance(points, self.control)) @ self.control_params

    def grid(self, size: tuple[int, int]) -> Tensor:
        """The spline at every pixel centre: (..., h, w, 2); see `in_chunks`."""
        points = make_coordinate_grid(size, self.control).reshape(-1, 2)
        return self.in_chunks(points, size).reshape(*self.control.shape[:-2], *size, 2)

    def in_chunks(self, points: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Map many points, (..., N, 2) as for a call, with little memory.

        Splines through many control points are smooth at the scale of dense points: they are tabulated and
        interpolated, with an error of at most `TOLERANCE` of the distance between neighbouring points of a square grid
        of N points. Where that is no gain, or gradients are needed, splines are evaluated exactly.

        Args:
            size: (h, w), for points that are all pixel centres.
        """
        stride = self._table_stride(points)
        if stride:
            bent = interpolate_smooth(
                partial(self._chunked, self._bent),
                points.reshape(-1, *points.shape[-2:]),
                self.control,
                stride=stride,
                tolerance=TOLERANCE,
                size=size,
            )
            if bent is not None:
                return self._affine(points) + bent
        return self.exactly(points)

    def _table_stride(self, points: Tensor) -> int | None:
        """Largest distance of a table's nodes, in distances of points, with a small error; None for no table."""
        count = self.control.shape[-2]
        if self.control.device.type != "cpu":  # reading a value would make the host wait for the device
            return None
        if self.control.ndim != 3 or count < _FEW or count * points.shape[-2] < _MANY:
            return None
        if torch.is_grad_enabled() and (points.requires_grad or self.control_params.requires_grad):
            return None
        distance = 2 / (isqrt(points.shape[-2]) - 1)
        largest = float(self.control_params.norm(dim=-1).max())
        errors = {stride: _KINK * largest * stride**2 * distance for stride in (8, 6, 4, 3, 2)}
        return next((stride for stride, error in errors.items() if error <= TOLERANCE), None)

    def exactly(self, points: Tensor) -> Tensor:
        """Map points as a call does, some at a time, so that many points need little memory."""
        return self._chunked(self, points)

    def _chunked(self, function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
        rows = max(1, _CHUNK // max(1, self.control.shape[:-1].numel()))
        return torch.cat([function(part) for part in torch.split(points, rows, dim=-2)], dim=-2)


@dataclass(frozen=True)
class RandomWarp:
    """Random smooth warp: an affine map plus radial functions on a regular grid, added equally to both coordinates.

    Attributes:
        theta: (B, 2, 3), near [I | 0].
        control_params: (B, 1, n * n).
        points_tps: n, number of control points along each axis.
        distance: `l2` for r^2 ln r^2 (TPSMM), `l1` for d^2 ln d with d = |dx| + |dy| (FOMM, MRAA).
    Source: FOMM (Siarohin et al., 2019), equivariance constraint.
    """

    theta: Tensor
    control_params: Tensor
    points_tps: int
    distance: Literal["l1", "l2"]

    @classmethod
    def draw(cls, batch: int, like: Tensor, params: TransformParams, distance: Literal["l1", "l2"]) -> "RandomWarp":
        """Draw `batch` warps on the device of `like`."""
        noise = params.sigma_affine * torch.randn(batch, 2, 3, device=like.device)
        control_params = params.sigma_tps * torch.randn(batch, 1, params.points_tps**2, device=like.device)
        return cls(noise + torch.eye(2, 3, device=like.device), control_params, params.points_tps, distance)

    def __call__(self, points: Tensor) -> Tensor:
        """Map points: (B or 1, N, 2) -> (B, N, 2)."""
        control = self._control()
        if self.distance == "l2":
            radial = _radial(_squared_distance(points, control))
        else:
            distance = (points[..., :, None, :] - control[..., None, :, :]).abs().sum(-1)
            radial = distance.square() * torch.log(distance + 1e-6)
        bent = (radial * self.control_params).sum(-1, keepdim=True)  # -> (B, N, 1)
        return points @ self.theta[..., :2].mT + self.theta[:, None, :, 2] + bent

    def jacobian(self, points: Tensor) -> Tensor:
        """Derivative at points: (B or 1, N, 2) -> (B, N, 2, 2), rows xy of the result, columns xy of the point."""
        offset = points[..., :, None, :] - self._control()[..., None, :, :]  # -> (B, N, n, 2)
        if self.distance == "l2":
            squared = offset.square().sum(-1, keepdim=True)
            slope = 2 * offset * (torch.log(squared + 1e-9) + squared / (squared + 1e-9))
        else:
            distance = offset.abs().sum(-1, keepdim=True)
            slope = offset.sign() * (2 * distance * torch.log(distance + 1e-6) + distance.square() / (distance + 1e-6))
        bent = (slope * self.control_params[..., None]).sum(-2)  # -> (B, N, 2)
        return self.theta[:, None, :, :2] + bent[..., None, :]

    def inverse(self, points: Tensor, iterations: int = 10) -> Tensor:
        """Invert the warp at points by Newton's method: (B or 1, N, 2) -> (B, N, 2).

        Steps are limited, so that the result stays finite where a warp folds and has no inverse.
        """
        found = points.expand(len(self.theta), -1, -1)
        for _ in range(iterations):
            step = inverse_2x2(self.jacobian(found)) @ (self(found) - points)[..., None]
            found = found - step[..., 0].clamp(-0.5, 0.5)
        return found

    def _control(self) -> Tensor:
        return make_coordinate_grid((self.points_tps, self.points_tps), self.theta).reshape(1, -1, 2)

    def grid(self, size: tuple[int, int]) -> Tensor:
        """The warp at every pixel centre: (B, h, w, 2)."""
        points = make_coordinate_grid(size, self.theta).reshape(1, -1, 2)
        return self(points).reshape(-1, *size, 2)
