"""Facial priors: points that action units move, and maps of their positions, from 68 landmarks.

EWP, the equally weighted prior, is one map; AWP, the adaptively weighted prior, is one map per point, which the family
weights by convolutions. Points are the clip's landmarks with subpixel precision; no detector runs here, and no gradient
flows to the landmarks.

Source: FPB-FOMM (Zhang et al., 2021) for EWP, Zhang et al. (IEEE Transactions on Image Processing, 2024) for AWP.

Dimension letters: B batch, K points, h x w map.
"""

from typing import Literal

import torch
from torch import Tensor

from config.family_sections import PriorParams

AU_POINTS = 18
"""Number of points that both papers use."""
_PARTS = (19, 24, 27, 38, 41, 43, 46, 48, 54, 55, 57, 59, 31, 35, 41, 46, 48, 54)
"""Landmark (iBUG order, from 0) of each point; the last six points lie beside theirs."""
_SIDE = ((-1, 0), (1, 0), (0, 1), (0, 1), (-1, 0), (1, 0))
"""Offset xy of the last six points from their landmarks, in half distances of the inner corners of the eyes."""
_PUBLISHED_MAP = 64
"""Width in pixels that both code bases assume for every map."""


class PriorMaps:
    """Maps that are largest at a point and fall off around it, one per point.

    Without a threshold, a small motion of a point changes every pixel of its map a little. Published points are off by
    one pixel of the map, whose width counts as 64 at any size.

    Args:
        params: kernel, width, threshold and coordinate convention.
        prior: `ewp` or `awp`, on which the distance depends where `params` leave it open.
    """

    def __init__(self, params: PriorParams, prior: Literal["ewp", "awp"]):
        self.distance = params.distance or ("l1" if prior == "ewp" else "l2")
        self.kernel = params.kernel
        self.sigma = params.sigma
        self.threshold = params.threshold
        self.convention = params.convention

    @torch.no_grad()
    def __call__(self, points: Tensor, size: tuple[int, int], image_width: int) -> Tensor:
        """The map of every point.

        Args:
            points: (B, K, 2), xy in [-1, 1]; may lie outside.
            size: (h, w) in pixels of the map.
            image_width: width in pixels of the image with these points.
        Returns:
            (B, K, h, w) float32 in [0, 1], 1 at the pixel nearest the point.
        """
        height, width = size
        # The root kernel is so steep at its point that an error of 1e-6 pixels changes the map by 1e-3.
        precise = points.to(torch.promote_types(points.dtype, torch.float32))
        x, y, unit = self._in_pixels(precise, size, image_width)
        exponent = {"root": 0.5, "gaussian": 2.0}[self.kernel]
        scale = (0.5 / self.sigma**2) ** (1 / exponent) / unit
        dx = (torch.arange(width, device=points.device) - x[..., None]).abs_().mul_(scale).float()  # -> (B, K, w)
        dy = (torch.arange(height, device=points.device) - y[..., None]).abs_().mul_(scale).float()  # -> (B, K, h)
        # The maximum of a map is at the nearest pixel along each axis, so that no search is needed.
        nearest = self._power(dx.amin(-1, keepdim=True), dy.amin(-1, keepdim=True), exponent)
        maps = self._power(dx, dy, exponent)
        torch.sub(nearest, maps, out=maps).exp_()
        if self.threshold == "mean":
            # On the CPU, a comparison that writes floats takes a fifth of the time of a boolean mask and a product.
            maps.mul_(torch.ge(maps, maps.mean((-2, -1), keepdim=True), out=torch.empty_like(maps)))
        return maps

    def _in_pixels(self, points: Tensor, size: tuple[int, int], image_width: int) -> tuple[Tensor, Tensor, float]:
        """Points in pixels of the map, 0 at the first centre, and the unit of distance in pixels of the map."""
        height, width = size
        x, y = (points + 1).unbind(-1)
        if self.convention == "published":
            scale = (image_width - 1) / 2 * _PUBLISHED_MAP / image_width
            return x * scale - 1, y * scale - 1, 1.0
        return x * ((width - 1) / 2), y * ((height - 1) / 2), (width - 1) / (_PUBLISHED_MAP - 1)

    def _power(self, dx: Tensor, dy: Tensor, exponent: float) -> Tensor:
        """Power of the distance from its parts along the axes: (B, K, w) and (B, K, h) -> (B, K, h, w)."""
        if self.distance == "l2":
            dx, dy, exponent = dx.square(), dy.square(), exponent / 2
        total = dx[:, :, None, :] + dy[:, :, :, None]
        return total.sqrt_().sqrt_() if exponent == 0.25 else total.pow_(exponent)


def equally_weighted(maps: Tensor) -> Tensor:
    """Equally weighted prior: the sum of all maps, divided by its maximum.

    Args:
        maps: (B, K, h, w) from `PriorMaps`.
    Returns:
        (B, 1, h, w) in [0, 1].
    """
    total = maps.sum(1, keepdim=True)
    return total / total.amax((-2, -1), keepdim=True)


def prior_points(landmarks: Tensor, number: int, image_size: tuple[int, int]) -> Tensor:
    """Points of a facial prior.

    Args:
        landmarks: (B, 68, 2), xy in [-1, 1].
        number: 18 for the points of both papers, at or beside the landmarks that action units move most; 68 for all
            landmarks.
        image_size: (H, W) in pixels.
    Returns:
        (B, number, 2), xy in [-1, 1].
    Raises:
        ValueError: any other number, or another shape of the landmarks.
    """
    if landmarks.shape[-2:] != (68, 2):
        raise ValueError(f"expected landmarks (B, 68, 2), got {tuple(landmarks.shape)}")
    if number == 68:
        return landmarks
    if number != AU_POINTS:
        raise ValueError(f"expected {AU_POINTS} or 68 points of a facial prior, got {number}")
    points = landmarks[:, list(_PARTS)]
    half = (landmarks[:, 42, 0] - landmarks[:, 39, 0]) / 2  # normalised units
    height, width = image_size
    step = torch.stack([half, half * ((width - 1) / (height - 1))], dim=-1)  # of equal length in pixels on both axes
    beside = points[:, -len(_SIDE) :] + landmarks.new_tensor(_SIDE) * step[:, None]
    return torch.cat([points[:, : -len(_SIDE)], beside], dim=1)


def published_values(points: Tensor, image_width: int) -> Tensor:
    """Points as both published code bases normalise them: pixel * 2 / width - 1, unlike `make_coordinate_grid`.

    Args:
        points: (B, K, 2), xy in [-1, 1] between the centres of the first and last pixel of a square image.
        image_width: in pixels.
    Returns:
        (B, K, 2), for weights that were trained with them.
    """
    return (points + 1) * ((image_width - 1) / image_width) - 1
