"""Keypoints with local affine maps: detected in the image, or facial landmarks with maps from image and prior.

Dimension letters: B batch, K keypoints, C channels, H x W image, h x w map of the network.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from config.fomm import KPDetectorParams
from modules.blocks import AntiAliasInterpolation2d, Hourglass, start_constant
from modules.facial_prior import PriorMaps, equally_weighted, published_values
from modules.geometry import heatmap_mean, map_size, spatial_softmax

Prior = Literal["none", "ewp", "awp"]


class KPDetector(nn.Module):
    """K keypoints and the affine map around each, from heat maps; call it in full precision.

    The heat map is 6 - 2 pad pixels smaller than the network's map, but also spans [-1, 1], as published. With a prior,
    keypoints are the given points, the prior's map is an input of the network, and the heat maps weight the positions
    at which each point's affine map is read.

    Args:
        params: the config section `kp_detector_params`.
        num_kp: K.
        num_channels: C.
        estimate_jacobian: also estimate affine maps.
        prior: kind of the facial prior.
        maps: of the prior; None without one.
    Source: FOMM (Siarohin et al., 2019); EWP FPB-FOMM (Zhang et al., 2021); AWP Zhang et al. (TIP 2024).
    """

    def __init__(
        self,
        params: KPDetectorParams,
        *,
        num_kp: int,
        num_channels: int,
        estimate_jacobian: bool,
        prior: Prior,
        maps: PriorMaps | None,
    ):
        super().__init__()
        self.temperature = params.temperature
        self.prior = prior
        self.maps = maps
        in_features = num_channels + (prior != "none")
        self.predictor = Hourglass(params.block_expansion, in_features, params.num_blocks, params.max_features, "batch")
        self.kp = nn.Conv2d(self.predictor.out_features, num_kp, 7, padding=params.pad)
        if prior == "awp":
            self.learn = nn.Conv2d(num_kp, num_kp // 2, 3, padding=1)
            self.learn1 = nn.Conv2d(num_kp // 2, 1, 3, padding=1)
        self.jacobian = None
        if estimate_jacobian:
            count = 1 if params.single_jacobian_map else num_kp
            self.jacobian = nn.Conv2d(self.predictor.out_features, 4 * count, 7, padding=params.pad)
            start_constant(self.jacobian, *[1.0, 0.0, 0.0, 1.0] * count)
        self.down = None
        if params.scale_factor != 1:
            self.down = AntiAliasInterpolation2d(num_channels, params.scale_factor, "stride")

    def forward(self, image: Tensor, points: Tensor | None = None) -> dict[str, Tensor]:
        """Detect keypoints, or take the points of a prior, and estimate their affine maps.

        Args:
            image: (B, C, H, W) in [0, 1].
            points: (B, K, 2), xy in [-1, 1], see `prior_points`; with a prior only.
        Returns:
            `value` (B, K, 2), xy in [-1, 1]; with `estimate_jacobian`, `jacobian` (B, K, 2, 2), rows xy of the result.
        Raises:
            ValueError: a prior without points, or points without a prior.
        """
        if (points is None) != (self.prior == "none"):
            raise ValueError(f"expected points exactly with a facial prior, got prior {self.prior!r}")
        small = image if self.down is None else self.down(image)
        if points is not None:
            small = torch.cat([small, self.prior_map(points, map_size(small), image.shape[3])], dim=1)
        features = self.predictor(small)[-1]
        heatmap = spatial_softmax(self.kp(features), self.temperature)
        found = {"value": heatmap_mean(heatmap) if points is None else self._value(points, image.shape[3])}
        if self.jacobian is not None:
            maps = self.jacobian(features).unflatten(1, (-1, 4))  # -> (B, K or 1, 4, h, w)
            found["jacobian"] = (heatmap[:, :, None] * maps).sum((3, 4)).unflatten(2, (2, 2))
        return found

    def prior_map(self, points: Tensor, size: tuple[int, int], image_width: int) -> Tensor:
        """Input channel of the prior: (B, K, 2) -> (B, 1, h, w)."""
        assert self.maps is not None, "a detector with a prior has its maps"
        maps = self.maps(points, size, image_width)
        return equally_weighted(maps) if self.prior == "ewp" else self.learn1(self.learn(maps))

    def _value(self, points: Tensor, image_width: int) -> Tensor:
        assert self.maps is not None, "a detector with a prior has its maps"
        return published_values(points, image_width) if self.maps.convention == "published" else points
