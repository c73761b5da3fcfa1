"""Coordinates, heat maps, sampling, shapes, and the transfer of motion.

Points are (x, y) in normalised units: -1 and +1 are the CENTRES of the first and the last pixel (align_corners=True),
so that 1 is half the frame's width or height. Everything here is float32 in every precision mode: a keypoint in
bfloat16 is off by up to 6 pixels of 256.

Dimension letters: B batch, K keypoints, N points, C channels, H x W image, h x w map.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from config.sections import MovementScaling

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601, as in torchvision)."""


def full_precision(like: Tensor) -> torch.autocast:
    """Context that switches automatic mixed precision off on the device of `like`."""
    return torch.autocast(device_type=like.device.type, enabled=False)


def expand_batch(x: Tensor, batch: int) -> Tensor:
    """Expand a tensor of batch 1 to `batch` without copying; other tensors are returned unchanged."""
    return x.expand(batch, *x.shape[1:]) if len(x) == 1 else x


def map_size(x: Tensor) -> tuple[int, int]:
    """Height and width of a map (..., h, w)."""
    return x.shape[-2], x.shape[-1]


def make_coordinate_grid(size: tuple[int, int], like: Tensor) -> Tensor:
    """Coordinates of every pixel centre.

    Args:
        size: (h, w) in pixels.
        like: tensor on whose device the grid is created.
    Returns:
        (h, w, 2) float32, (x, y) in [-1, 1].
    """
    height, width = size
    x = torch.linspace(-1, 1, width, device=like.device, dtype=torch.float32)
    y = torch.linspace(-1, 1, height, device=like.device, dtype=torch.float32)
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)


HEATMAP_VARIANCE = 0.01
"""Variance of keypoint and region heat maps in squared normalised units, the same in all published networks."""


def kp2gaussian(kp: Tensor, size: tuple[int, int], variance: float) -> Tensor:
    """Render keypoints as isotropic Gaussian maps.

    Args:
        kp: (B, K, 2), xy in [-1, 1].
        size: (h, w) in pixels of the map.
        variance: in squared normalised units; 0.01 is a standard deviation of a twentieth of the frame.
    Returns:
        (B, K, h, w) in [0, 1], maximum at the pixel nearest the keypoint.
    Raises:
        ValueError: the last axis of `kp` is not 2, or variance <= 0.
    Source: FOMM (Siarohin et al., 2019), heat maps of the dense motion network.
    """
    if kp.shape[-1] != 2 or variance <= 0:
        raise ValueError(f"expected keypoints (B, K, 2) and variance > 0, got {tuple(kp.shape)} and {variance}")
    offset = make_coordinate_grid(size, kp) - kp.float()[:, :, None, None, :]
    return torch.exp(-0.5 * offset.square().sum(-1) / variance)


def sample(
    image: Tensor,
    grid: Tensor,
    *,
    mode: Literal["bilinear", "bicubic"] = "bilinear",
    padding: Literal["zeros", "border", "reflection"] = "zeros",
    align_corners: bool = True,
) -> Tensor:
    """Read an image at given coordinates (backward warp).

    Args:
        image: (B, C, H, W).
        grid: (B, h, w, 2), xy in [-1, 1]: position that each output pixel is read from.
        align_corners: False only for published FOMM and MRAA weights of torch >= 1.3.
    Returns:
        (B, C, h, w) float32.
    """
    return F.grid_sample(
        image.float(), grid.float(), mode=mode, padding_mode=padding, align_corners=align_corners
    )  # fmt: skip


def invert_displacement(displacement: Tensor, iterations: int = 6) -> Tensor:
    """Sampling coordinates that move every pixel of an image by its displacement.

    A fixed-point iteration finds the pixel p that arrives at y, p = y - displacement(p). It converges where the
    displacement of neighbours differs by less than their distance, that is, where the image does not fold.

    Args:
        displacement: (B, H, W, 2), xy in normalised units.
    Returns:
        (B, H, W, 2), xy in [-1, 1]: position that each output pixel is read from.
    """
    grid = make_coordinate_grid((displacement.shape[1], displacement.shape[2]), displacement)
    field = displacement.float().permute(0, 3, 1, 2)
    at = grid - displacement.float()
    for _ in range(iterations):
        at = grid - sample(field, at, padding="border").permute(0, 2, 3, 1)
    return at


def resize_map(x: Tensor, size: tuple[int, int], *, align_corners: bool = True) -> Tensor:
    """Bilinear resize of a map: (B, C, h, w) -> (B, C, *size); the input itself if it has that size."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


def resize_grid(grid: Tensor, size: tuple[int, int], *, align_corners: bool = True) -> Tensor:
    """Bilinear resize of sampling coordinates: (B, h, w, 2) -> (B, *size, 2)."""
    if grid.shape[1:3] == size:
        return grid
    resized = resize_map(grid.float().permute(0, 3, 1, 2), size, align_corners=align_corners)
    return resized.permute(0, 2, 3, 1)


@dataclass(frozen=True)
class GridConvention:
    """Values of `align_corners` for sampling and for resizing; coordinates are always at the centres of pixels.

    Attributes:
        sampling: False for weights that FOMM and MRAA trained with torch >= 1.3; the image is shifted away from its
            centre by up to half a pixel.
        resizing: False for every published weight of FOMM and MRAA; an identity deformation of 64 x 64 then shifts an
            image of 256 x 256 by up to 1.5 pixels.
    """

    sampling: bool = True
    resizing: bool = True


CENTRED = GridConvention()
"""Sampling and resizing agree with the coordinates, so that the identity changes nothing."""


def warp_features(features: Tensor, deformation: Tensor, convention: GridConvention = CENTRED) -> Tensor:
    """Backward warp of a feature map by a deformation of any size.

    Args:
        features: (B, C, h, w).
        deformation: (B, h', w', 2) absolute sampling coordinates in [-1, 1].
        convention: other than centred only for published FOMM and MRAA weights.
    Returns:
        (B, C, h, w) float32, zero outside the frame.
    """
    grid = resize_grid(deformation, map_size(features), align_corners=convention.resizing)
    return sample(features, grid, align_corners=convention.sampling)


def spatial_softmax(logits: Tensor, temperature: float) -> Tensor:
    """Heat maps that sum to one: (B, K, h, w) -> (B, K, h, w) float32; a lower temperature is sharper."""
    return torch.softmax(logits.float().flatten(2) / temperature, dim=2).view_as(logits)


def heatmap_mean(heatmap: Tensor) -> Tensor:
    """Mean position of heat maps that sum to one: (B, K, h, w) -> (B, K, 2), xy in [-1, 1] of the map itself."""
    grid = make_coordinate_grid(map_size(heatmap), heatmap)
    return torch.einsum("bkhw,hwc->bkc", heatmap.float(), grid)


def inverse_2x2(matrix: Tensor, least_determinant: float = 1e-6) -> Tensor:
    """Inverse of (..., 2, 2); determinants are kept away from zero by at least `least_determinant`, to stay finite."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.float().unbind(-2))
    determinant = a * d - b * c
    least = torch.where(determinant < 0, -least_determinant, least_determinant)
    determinant = torch.where(determinant.abs() < least_determinant, least, determinant)
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-c, a], dim=-1)], dim=-2)
    return adjugate / determinant[..., None, None]


def gaussian_blur(x: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of a map with replicated border.

    Args:
        x: (B, C, H, W), H and W above 3 sigma.
        sigma: standard deviation in pixels.
    Returns:
        (B, C, H, W).
    """
    radius = max(1, round(3 * sigma))
    at = torch.arange(-radius, radius + 1, device=x.device)
    line = torch.exp(-0.5 * (at / sigma) ** 2)
    line = (line / line.sum()).to(x.dtype)
    flat = F.pad(x.flatten(0, 1)[:, None], (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(flat, line[None, None, None]), line[None, None, :, None]).view_as(x)


def slope(x: Tensor, axis: int) -> Tensor:
    """Central differences of (..., H, W) per pixel along axis -1 or -2, zero at both ends."""
    length = x.shape[axis]
    inner = (x.narrow(axis, 2, length - 2) - x.narrow(axis, 0, length - 2)) / 2
    return F.pad(inner, (1, 1, 0, 0) if axis == -1 else (0, 0, 1, 1))


def aligned(picture: Tensor, target: Tensor, window: float, noise: float, iterations: int = 2) -> Tensor:
    """Warp an image so that small local motion between it and a target is compensated.

    Args:
        picture: (B, C, H, W) in [0, 1], the image to be warped.
        target: (B, C, H, W) in [0, 1].
        window: standard deviation in pixels of the neighbourhood that moves as one.
        noise: difference of neighbouring pixels, in [0, 1], below which no motion is estimated, so that smooth skin
            stays.
        iterations: each compensates at most one pixel of motion per axis.
    Returns:
        (B, C, H, W); the brightness of smooth regions does not change.
    Source: Lucas and Kanade (1981), regularised.
    """
    height, width = map_size(picture)
    half = picture.new_tensor([(width - 1) / 2, (height - 1) / 2])
    grid = make_coordinate_grid((height, width), picture)
    shift = torch.zeros_like(grid).expand(len(picture), -1, -1, -1)  # pixels
    for _ in range(iterations):
        moved = sample(picture, grid + shift / half, padding="border")
        middle, difference = (moved + target) / 2, target - moved
        x, y = slope(middle, -1), slope(middle, -2)
        products = torch.stack([x * x, x * y, y * y, x * difference, y * difference], dim=1).sum(2)
        xx, xy, yy, xd, yd = gaussian_blur(products, window).unbind(1)
        xx, yy = xx + noise**2, yy + noise**2
        step = torch.stack([yy * xd - xy * yd, xx * yd - xy * xd], dim=-1) / (xx * yy - xy * xy)[..., None]
        shift = shift + step.clamp(-1, 1)
    return sample(picture, grid + shift / half, padding="border")


def motion_length(deformation: Tensor, image: Tensor) -> Tensor:
    """Mean displacement of a deformation in pixels of the image: (B, h, w, 2) and (B, C, H, W) -> scalar."""
    height, width = map_size(image)
    change = deformation - make_coordinate_grid((deformation.shape[1], deformation.shape[2]), deformation)
    pixels = change * change.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return (pixels.square().sum(-1) + 1e-8).sqrt().mean()


def apply_homography(matrix: Tensor, points: Tensor) -> Tensor:
    """Map points by homogeneous matrices.

    Args:
        matrix: (B, 3, 3).
        points: (..., 2), the same points for every sample.
    Returns:
        (B, ..., 2).
    """
    flat = points.reshape(-1, 2)
    homogeneous = torch.cat([flat, torch.ones_like(flat[:, :1])], dim=1)  # -> (N, 3)
    mapped = (matrix.float()[:, None] * homogeneous[None, :, None, :]).sum(-1)  # -> (B, N, 3)
    return (mapped[..., :2] / mapped[..., 2:]).reshape(-1, *points.shape)


def robust_similarity(source: Tensor, target: Tensor, iterations: int = 5) -> Tensor:
    """Fit the similarity from one shape to another with little weight on points that move on their own.

    Args:
        source, target: (B, N, 2).
        iterations: of reweighting; the weight of a point falls with the ratio of its squared residual to the median.
    Returns:
        (B, 2, 3): scaled rotation and translation.
    Source: Geman-McClure weights (Geman and McClure, 1987) in iteratively reweighted least squares.
    """
    source, target = source.float(), target.float()
    weight = torch.ones_like(source[..., :1])
    for _ in range(iterations):
        share = weight / weight.sum(1, keepdim=True)
        centre, goal = (share * source).sum(1, keepdim=True), (share * target).sum(1, keepdim=True)
        a, b = source - centre, target - goal
        norm = (share * a * a).sum((1, 2)).clamp_min(1e-8)
        cos = (share * a * b).sum((1, 2)) / norm
        sin = (share[..., 0] * (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])).sum(1) / norm
        linear = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], dim=1)  # -> (B, 2, 2)
        shift = goal - centre @ linear.mT  # -> (B, 1, 2)
        residual = (source @ linear.mT + shift - target).square().sum(-1, keepdim=True)
        weight = (1 + residual / (residual.median(1, keepdim=True).values + 1e-10)).pow(-2)
    return torch.cat([linear, shift.mT], dim=2)


def transfer_motion(source: Tensor, driving: Tensor, driving_initial: Tensor, *, scaling: MovementScaling) -> Tensor:
    """Move the points of one face by the change of another face's points since its initial frame.

    Positions are never copied, so that the source keeps its own proportions. Coordinates must have the same scale on
    both axes: pixels, or [-1, 1] of a square frame.

    Args:
        source: (B or 1, N, 2).
        driving: (B, N, 2).
        driving_initial: (B or 1, N, 2), before the movement.
        scaling: `similarity` scales and rotates the change by the least-squares similarity from the initial driving
            shape to the source shape, so that the movement of a tilted head has the right direction. `hull` scales by
            the root of the ratio of the hulls' areas and does not rotate; under landmark noise this scale varies 1.4
            times as much. `none` adds the change itself.
    Returns:
        (B, N, 2) in the precision of the inputs.
    Source: `similarity` Umeyama (1991), Eqs. (40)-(42), without reflection; `hull` FOMM (Siarohin et al., 2019),
        relative motion transfer, here per sample.
    """
    change = driving - driving_initial
    if scaling == "hull":
        change = change * (hull_area(source) / hull_area(driving_initial)).sqrt()[:, None, None]
    elif scaling == "similarity":
        x, y = change.unbind(-1)
        cos, sin = _scaled_rotation(driving_initial, source)
        change = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)  # no matrix product, which may lose digits
    return source + change


def _scaled_rotation(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Scale times cosine and sine of the least-squares similarity of two shapes: (B, N, 2) twice -> (B, 1) twice."""
    a, b = source - source.mean(1, keepdim=True), target - target.mean(1, keepdim=True)
    norm = a.square().sum((1, 2)).clamp_min(torch.finfo(a.dtype).tiny)  # points that coincide have no size
    cos = (a * b).sum((1, 2)) / norm
    sin = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(1) / norm
    return cos[:, None], sin[:, None]


def hull_area(points: Tensor) -> Tensor:
    """Area of the convex hull of each point set: (B, N, 2) -> (B,).

    Source: monotone chain (Andrew, 1979).
    """
    return points.new_tensor([_hull_area(sorted({(x, y) for x, y in shape})) for shape in points.double().tolist()])


def _hull_area(points: list[tuple[float, float]]) -> float:
    def half(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for point in ordered:
            while len(chain) > 1 and _cross(chain[-2], chain[-1], point) <= 0:
                chain.pop()
            chain.append(point)
        return chain

    hull = half(points)[:-1] + half(points[::-1])[:-1]
    return sum(a[0] * b[1] - a[1] * b[0] for a, b in zip(hull, hull[1:] + hull[:1], strict=True)) / 2


def _cross(o: tuple[float, float], a: tuple[float, float], b: tuple[float, float]) -> float:
    return (a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0])
