"""Regions of a frame: where each lies and how it is stretched.

Dimension letters: B batch, K regions, C channels, H x W image, h x w map.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from modules.blocks import AntiAliasInterpolation2d, Hourglass
from modules.facial_prior import PriorMaps, prior_points, published_values
from modules.geometry import heatmap_mean, make_coordinate_grid, spatial_softmax
from modules.mraa.affine import principal_root, symmetric_root

RegionAffine = Literal["symmetric", "principal"]
PriorRegions = Literal["refined", "published"]

_LEAST_PRIOR = 1e-6  # a map of the prior falls off no further, so that learned logits reach every pixel


class RegionPredictor(nn.Module):
    """Heat maps of the regions by an hourglass, and their mean and affine frame; float32 in every precision mode.

    With the adaptively weighted prior (AWP) each region belongs to a facial point: it lies there, and the prior's maps,
    weighted by two convolutions, are a further input channel of the hourglass.

    Args:
        num_regions: K.
        num_channels: C of the image.
        block_expansion, max_features, num_blocks: of the hourglass.
        temperature: divides the logits of the heat maps.
        estimate_affine: find an affine frame, by regression where not `pca_based`.
        pca_based: find it in the covariance of the heat map.
        scale_factor: size at which the network works, as a part of the image.
        pad: zero padding of the convolutions to the heat maps (kernel 7); below 3 the maps are smaller than the input.
        region_affine: root of the covariance that is taken for the affine frame; `principal` as published.
        prior: maps of the AWP; None works without.
        prior_regions: how regions follow from the prior. `refined`: heat maps are the prior's, corrected by the
            hourglass and of sum one. `published`: they are the prior's maps as they are, whose tails prevail, and with
            `pca_based` no learned weight has any effect on the motion.
    Source: MRAA (Siarohin et al., 2021), region prediction; AWP: Zhang et al. (IEEE Transactions on Image Processing,
        2024).
    """

    def __init__(
        self,
        *,
        num_regions: int,
        num_channels: int,
        block_expansion: int,
        max_features: int,
        num_blocks: int,
        temperature: float,
        estimate_affine: bool = False,
        pca_based: bool = False,
        scale_factor: float = 1,
        pad: int = 3,
        region_affine: RegionAffine = "principal",
        prior: PriorMaps | None = None,
        prior_regions: PriorRegions = "published",
    ):
        super().__init__()
        if prior is not None and pad != 3:
            raise ValueError(f"expected pad 3 with a prior, whose maps have the size of the frame, got {pad}")
        self.num_regions = num_regions
        self.temperature = temperature
        self.pca_based = pca_based
        self.root = {"principal": principal_root, "symmetric": symmetric_root}[region_affine]
        self.prior = prior
        self.prior_regions = prior_regions
        in_features = num_channels + (prior is not None)
        self.predictor = Hourglass(block_expansion, in_features, num_blocks, max_features, "batch")
        self.regions = nn.Conv2d(self.predictor.out_features, num_regions, 7, padding=pad)
        if prior is not None:
            self.region1 = nn.Conv2d(num_regions, num_regions // 2, 3, padding=1)
            self.region2 = nn.Conv2d(num_regions // 2, 1, 3, padding=1)
        self.jacobian = None
        if estimate_affine and not pca_based:
            self.jacobian = nn.Conv2d(self.predictor.out_features, 4, 7, padding=pad)
            nn.init.zeros_(self.jacobian.weight)
            with torch.no_grad():
                self.jacobian.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0]))
        self.down = AntiAliasInterpolation2d(num_channels, scale_factor, "stride") if scale_factor != 1 else None

    def forward(self, image: Tensor, landmarks: Tensor | None = None) -> dict[str, Tensor]:
        """Find the regions of a frame.

        Args:
            image: (B, C, H, W) in [0, 1].
            landmarks: (B, 68, 2), xy in [-1, 1], with a prior alone.
        Returns:
            `shift` (B, K, 2), xy in [-1, 1]; `heatmap` (B, K, h, w), of sum one but for published maps of the prior;
            `affine` (B, K, 2, 2), columns are the axes of a region in half frame widths, and `covar` (B, K, 2, 2) =
            affine affine^T, both where an affine frame is estimated.
        """
        x = image if self.down is None else self.down(image)
        maps = None
        if self.prior is not None:
            if landmarks is None:
                raise ValueError("expected 68 landmarks for `prior: awp`, got none")
            points = prior_points(landmarks, self.num_regions, (image.shape[-2], image.shape[-1]))
            maps = self.prior(points, (x.shape[-2], x.shape[-1]), image.shape[-1])
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
            offset = make_coordinate_grid(heatmap.shape[-2:], heatmap) - shift[:, :, None, None]  # -> (B, K, h, w, 2)
            weighted = heatmap[..., None] * offset
            covar = weighted.flatten(2, 3).mT @ offset.flatten(2, 3)  # -> (B, K, 2, 2)
            return {"affine": self.root(covar), "covar": covar}
        if self.jacobian is None:
            return {}
        values = self.jacobian(features)  # -> (B, 4, h, w), row by row
        affine = (heatmap.flatten(2) @ values.flatten(2).mT).unflatten(-1, (2, 2))  # -> (B, K, 2, 2)
        return {"affine": affine, "covar": affine @ affine.mT}
