"""Affine frames of regions from their covariances, in closed form, finite with finite gradients everywhere.

A covariance C determines a region's affine frame A only up to a rotation, A A^T = C; the roots here are choices of A.

Shapes are (..., 2, 2), rows and columns xy.
"""

import torch
from torch import Tensor

LEAST_VARIANCE = 1e-8
"""Smallest variance of a region in squared normalised units, about a hundredth of a pixel of 256."""
_ISOTROPY = 1e-3  # ratio of half the difference of the variances to their mean, below which gradients of axes fade


def reverted(matrix: Tensor) -> Tensor:
    """Remove the arbitrary sign of a region's axes: the matrix or its negative, with a first entry of at least 0.

    The published code multiplies by sign(matrix[0, 0]), which makes a zero matrix where that entry is zero.
    """
    return torch.where(matrix[..., :1, :1] < 0, -matrix, matrix)


def principal_root(covar: Tensor) -> Tensor:
    """U sqrt(S) of the singular value decomposition U S U^T: columns are the principal axes, the longest first.

    The axes turn abruptly when a region becomes round; gradients fade there instead of growing without limit. Signs are
    those of LAPACK, with which published AVD networks were trained: U is a reflection, and its first column mostly
    points to negative x.

    Source: MRAA (Siarohin et al., 2021), PCA-based motion estimation.
    """
    a, b, c = covar[..., 0, 0], covar[..., 0, 1], covar[..., 1, 1]
    mean, half = (a + c) / 2, (a - c) / 2
    squared = half * half + b * b
    radius = (squared + 1e-20).sqrt()
    variances = torch.stack([mean + radius, mean - radius], dim=-1).clamp_min(LEAST_VARIANCE)
    with torch.no_grad():
        double = torch.atan2(b, half)
        damping = radius / (squared + (_ISOTROPY * mean).square() + LEAST_VARIANCE**2)
        across_x, across_y = -double.sin() * damping, double.cos() * damping
        sign = torch.where((b > 0) & (a * c - b * b > a * a + b * b), 1.0, -1.0)
    turned = across_x * half + across_y * b  # first-order change of the angle, for the gradient only
    angle = (double + turned - turned.detach()) / 2
    x, y = sign * angle.cos(), sign * angle.sin()
    axes = torch.stack([torch.stack([x, y], -1), torch.stack([y, -x], -1)], -2)
    return axes * variances.sqrt()[..., None, :]


def symmetric_root(covar: Tensor) -> Tensor:
    """Symmetric root of a covariance, (C + sqrt(det C) I) / sqrt(tr C + 2 sqrt(det C)).

    It changes smoothly with the covariance and has neither signs nor an order of axes, so that noise does not rotate a
    round region.
    """
    covar = covar + LEAST_VARIANCE * torch.eye(2, device=covar.device)
    a, b, c = covar[..., 0, 0], covar[..., 0, 1], covar[..., 1, 1]
    root = (a * c - b * b).clamp_min(LEAST_VARIANCE**2).sqrt()
    scale = (a + c + 2 * root).sqrt()
    return (covar + root[..., None, None] * torch.eye(2, device=covar.device)) / scale[..., None, None]
