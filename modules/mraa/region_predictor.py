"""Regions of a frame: position and affine frame of each.

Dimension letters: B batch, K regions, C channels, H x W image, h x w map.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from config.mraa import RegionPredictorParams
from modules.blocks import AntiAliasInterpolation2d, Hourglass, start_constant
from modules.facial_prior import PriorMaps, prior_points, published_values
from modules.geometry import heatmap_mean, make_coordinate_grid, map_size, spatial_softmax
from modules.mraa.affine import principal_root, symmetric_root

_LEAST_PRIOR = 1e-6  # lower limit of the prior's maps, so that learned logits affect every pixel


class RegionPredictor(nn.Module):
    """Predict the regions' heat maps, and from them their means and affine frames; float32 in every precision mode.

    With the adaptively weighted prior (AWP), every region lies at a facial point, and the prior's maps, weighted by two
    convolutions, are a further input channel of the hourglass. `prior_regions: refined` corrects the prior's maps by
    the hourglass and normalises them to sum 1; `published` uses them unchanged, so that their tails dominate and with
    `pca_based` no learned weight has any effect on the motion.

    Args:
        params: the config section `region_predictor_params`.
        num_regions: K.
        num_channels: C of the image.
        estimate_affine: estimate an affine frame, by regression unless `pca_based`.
        region_affine: root of the covariance that serves as affine frame; `principal` as published.
        prior: maps of the AWP; None without it.
        prior_regions: see above.
    Source: MRAA (Siarohin et al., 2021), region prediction; AWP: Zhang et al. (IEEE Transactions on Image Processing,
        2024).
    """

    def __init__(
        self,
        params: RegionPredictorParams,
        *,
        num_regions: int,
        num_channels: int,
        estimate_affine: bool,
        region_affine: Literal["symmetric", "principal"],
        prior: PriorMaps | None,
        prior_regions: Literal["refined", "published"],
    ):
        super().__init__()
        self.num_regions = num_regions
        self.temperature = params.temperature
        self.pca_based = params.pca_based
        self.root = {"principal": principal_root, "symmetric": symmetric_root}[region_affine]
        self.prior = prior
        self.prior_regions = prior_regions
        in_features = num_channels + (prior is not None)
        self.predictor = Hourglass(params.block_expansion, in_features, params.num_blocks, params.max_features, "batch")
        self.regions = nn.Conv2d(self.predictor.out_features, num_regions, 7, padding=params.pad)
        if prior is not None:
            self.region1 = nn.Conv2d(num_regions, num_regions // 2, 3, padding=1)
            self.region2 = nn.Conv2d(num_regions // 2, 1, 3, padding=1)
        self.jacobian = None
        if estimate_affine and not params.pca_based:
            self.jacobian = nn.Conv2d(self.predictor.out_features, 4, 7, padding=params.pad)
            start_constant(self.jacobian, 1.0, 0.0, 0.0, 1.0)
        self.down = None
        if params.scale_factor != 1:
            self.down = AntiAliasInterpolation2d(num_channels, params.scale_factor, "stride")

    def forward(self, image: Tensor, landmarks: Tensor | None = None) -> dict[str, Tensor]:
        """Predict the regions of a frame.

        Args:
            image: (B, C, H, W) in [0, 1].
            landmarks: (B, 68, 2), xy in [-1, 1], with a prior only.
        Returns:
            `shift` (B, K, 2), xy in [-1, 1]; `heatmap` (B, K, h, w), of sum 1 except for published maps of the
            prior; if an affine frame is estimated, `affine` (B, K, 2, 2), columns are the axes of a region in
            normalised units, and `covar` (B, K, 2, 2) = affine affine^T.
        """
        x = image if self.down is None else self.down(image)
        maps = None
        if self.prior is not None:
            if landmarks is None:
                raise ValueError("expected 68 landmarks for `prior: awp`, got none")
            points = prior_points(landmarks, self.num_regions, map_size(image))
            maps = self.prior(points, map_size(x), image.shape[-1])
            x = torch.cat([x, self.region2(self.region1(maps))], dim=1)
        features = self.predictor(x)[-1]
        if maps is None:
            heatmap = spatial_softmax(self.regions(features), self.temperature)
            shift = heatmap_mean(heatmap)
        elif self.prior_regions == "published":
            heatmap, shift = maps, published_values(points, image.shape[-1]).float()
        else:
            logits = self.regions(features) / self.temperature + maps.clamp_min(_LEAST_PRIOR).log()
            heatmap, shift = spatial_softmax(logits, 1), points.float()
        return {"shift": shift, "heatmap": heatmap, **self._frames(heatmap, shift, features)}

    def _frames(self, heatmap: Tensor, shift: Tensor, features: Tensor) -> dict[str, Tensor]:
        if self.pca_based:
            offset = make_coordinate_grid(map_size(heatmap), heatmap) - shift[:, :, None, None]  # -> (B, K, h, w, 2)
            weighted = heatmap[..., None] * offset
            covar = weighted.flatten(2, 3).mT @ offset.flatten(2, 3)  # -> (B, K, 2, 2)
            return {"affine": self.root(covar), "covar": covar}
        if self.jacobian is None:
            return {}
        values = self.jacobian(features)  # -> (B, 4, h, w), row by row
        affine = (heatmap.flatten(2) @ values.flatten(2).mT).unflatten(-1, (2, 2))  # -> (B, K, 2, 2)
        return {"affine": affine, "covar": affine @ affine.mT}
