"""Dense motion from keypoint pairs: K splines and the background, combined by learned maps.

Dimension letters: B batch, K splines, C channels, H x W image, h x w map of the network.
"""

from itertools import pairwise
from math import log, log2

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from config.tps import TpsDenseMotionParams
from modules.blocks import AntiAliasInterpolation2d, Hourglass, UpBlock2d, start_constant
from modules.geometry import (
    HEATMAP_VARIANCE,
    apply_homography,
    full_precision,
    invert_displacement,
    kp2gaussian,
    make_coordinate_grid,
    resize_grid,
    sample,
)
from modules.local_motion import KeypointZones
from modules.thin_plate_spline import TPS, Regularization
from modules.tps.au_conditioning import AURest
from modules.tps.keypoint_detector import POINTS_PER_TPS

_SMOOTHING = 1e-3  # of the splines through five keypoints, see `TPS`


def dropout_softmax(logits: Tensor, probability: float, uniform: Tensor) -> Tensor:
    """Softmax over the transformations that dropout keeps; the background is always kept.

    Args:
        logits: (B, K + 1, h, w).
        probability: probability of leaving a spline out.
        uniform: (B, K + 1), uniform random numbers in [0, 1).
    Returns:
        (B, K + 1, h, w), sum over axis 1 nearly 1 (exactly e / (e + 1e-6), as published).
    Source: TPSMM (Zhao and Zhang, 2022), dropout for TPS transformations. The published rescaling by 1 / (1 - P) acts
        on a tensor that is not used again; it is left out.
    """
    keep = (uniform < 1 - probability).to(logits.dtype)
    keep = torch.cat([torch.ones_like(keep[:, :1]), keep[:, 1:]], dim=1)
    weight = torch.exp(logits - logits.amax(1, keepdim=True)) * keep[:, :, None, None]
    return weight / (weight.sum(1, keepdim=True) + 1e-6)


def keypoint_splines(control: Tensor, target: Tensor, regularization: Regularization) -> TPS:
    """Splines through few keypoints, smoothed enough to stay stable: (..., n, 2) twice."""
    return TPS(control, target, regularization=regularization, smoothing=_SMOOTHING)


class DenseMotionNetwork(nn.Module):
    """Deformation of the source and occlusion maps from source and driving keypoints, float32 in every precision mode.

    Args:
        params: the config section `dense_motion_params`.
        num_tps: K.
        num_channels: C of the image.
        occlusion_levels: number of occlusion maps, from coarse to the image's own size, one per level of the inpainting
            network. None predicts a single map at the network's own size (`multi_mask: false`).
        regularization: of the splines, see `TPS`.
        au_rest: raise the background's share where no action unit acts, see `AURest`.
    Source: TPSMM (Zhao and Zhang, 2022), dense motion network and multi-resolution occlusion masks.
    """

    def __init__(
        self,
        params: TpsDenseMotionParams,
        *,
        num_tps: int,
        num_channels: int,
        occlusion_levels: int | None,
        regularization: Regularization,
        au_rest: bool,
    ):
        super().__init__()
        self.num_tps = num_tps
        self.regularization = regularization
        if params.scale_factor != 1:
            self.down = AntiAliasInterpolation2d(num_channels, params.scale_factor, "nearest")
        in_features = num_channels * (num_tps + 1) + POINTS_PER_TPS * num_tps + 1
        self.hourglass = Hourglass(
            params.block_expansion, in_features, params.num_blocks, params.max_features, "instance"
        )
        features = self.hourglass.out_features
        self.maps = nn.Conv2d(features, num_tps + 1, 7, padding=3)
        widths = [features]
        if occlusion_levels is not None:
            doublings = int(log2(1 / params.scale_factor))
            from_decoder = occlusion_levels - doublings
            if not 0 <= from_decoder <= params.num_blocks:
                raise ValueError(
                    "expected num_blocks >= occlusion_levels - log2(1 / scale_factor) >= 0, got "
                    f"{params.num_blocks} blocks, {occlusion_levels} levels, scale_factor {params.scale_factor}"
                )
            finer = [features // 2**i for i in range(doublings + 1)]
            widths = self.hourglass.decoder.level_channels[params.num_blocks - from_decoder :] + finer[1:]
            self.up = nn.ModuleList(UpBlock2d(*pair, "instance") for pair in pairwise(finer))
        self.occlusion = nn.ModuleList(nn.Conv2d(width, 1, 7, padding=3) for width in widths)
        self.zones = None
        if params.locality is not None:
            self.zones = KeypointZones(
                POINTS_PER_TPS * num_tps, POINTS_PER_TPS, params.locality, params.background_logit
            )
            start_constant(self.maps, 0.0)
        self.au_rest = AURest() if au_rest else None
        if params.initial_occlusion is not None:
            for head in self.occlusion:
                start_constant(head, log(params.initial_occlusion / (1 - params.initial_occlusion)))

    def forward(
        self,
        source: Tensor,
        kp_driving: Tensor,
        kp_source: Tensor,
        bg_param: Tensor | None = None,
        dropout: tuple[float, Tensor] | None = None,
        flow: Tensor | None = None,
        action_units: tuple[Tensor, Tensor] | None = None,
        small: Tensor | None = None,
        splines: TPS | None = None,
    ) -> dict[str, Tensor | list[Tensor]]:
        """Combine the splines from driving to source keypoints into one deformation.

        Args:
            source: (B, C, H, W) in [0, 1].
            kp_driving, kp_source: (B, 5K, 2), xy in [-1, 1].
            bg_param: (B, 3, 3), driving to source coordinates; None keeps the background still.
            dropout: probability and uniform numbers (B, K + 1) of `dropout_softmax`; None uses every spline.
            flow: (B, H, W, 2), see `Condition.flow`, replaces the splines; None uses them.
            action_units: with `au_rest` only: difference (B, A, 2) and the source's face coordinates (B, H, W, 2).
            small: (B, C, h, w), from `reduced`; None computes it.
            splines: from `splines`; None computes them.
        Returns:
            `deformed_source` (B, K + 1, C, h, w); `contribution_maps` (B, K + 1, h, w), sum 1, index 0 the background;
            `deformation` (B, h, w, 2), with flow (B, H, W, 2), absolute sampling coordinates; `occlusion_map`, list
            coarse to fine of (B, 1, h_i, w_i), 1 keeps the warped source.
        """
        with full_precision(source):
            kp_driving, kp_source = kp_driving.float(), kp_source.float()
            small = self.reduced(source) if small is None else small
            size = (small.shape[2], small.shape[3])
            heatmap = self._heatmaps(kp_driving, kp_source, size)  # -> (B, 1 + 5K, h, w)
            transformations = self._transformations(
                splines or self.splines(kp_driving, kp_source), bg_param, size
            )  # -> (B, K + 1, h, w, 2)
            deformed = self._deform(small, transformations)  # -> (B, K + 1, C, h, w)
            decoded = self.hourglass(torch.cat([heatmap, deformed.flatten(1, 2)], dim=1))
            logits = self._logits(decoded[-1], kp_driving, action_units)
            maps = F.softmax(logits, dim=1) if dropout is None else dropout_softmax(logits, *dropout)
            if flow is None:
                deformation = (maps[..., None] * transformations).sum(1)
            else:
                deformation = invert_displacement(flow)
            return {
                "deformed_source": deformed,
                "contribution_maps": maps,
                "deformation": deformation,
                "occlusion_map": self._occlusion(decoded),
            }

    def reduced(self, source: Tensor) -> Tensor:
        """Resize the source to the network's size: (B, C, H, W) -> (B, C, h, w) float32."""
        with full_precision(source):
            return self.down(source.float()) if hasattr(self, "down") else source.float()

    def _logits(self, features: Tensor, kp_driving: Tensor, action_units: tuple[Tensor, Tensor] | None) -> Tensor:
        """Logits of the contribution maps: (B, K + 1, h, w)."""
        logits = self.maps(features)
        size = (logits.shape[2], logits.shape[3])
        if self.zones is not None:
            logits = logits + self.zones(kp_driving, size)
        if self.au_rest is not None:
            assert action_units is not None, "a network with `au_rest` is called with action units"
            au_diff, coordinates = action_units
            rest = self.au_rest(au_diff.float(), resize_grid(coordinates, size))
            logits = torch.cat([logits[:, :1] + rest, logits[:, 1:]], dim=1)
        return logits

    def _heatmaps(self, kp_driving: Tensor, kp_source: Tensor, size: tuple[int, int]) -> Tensor:
        difference = kp2gaussian(kp_driving, size, HEATMAP_VARIANCE) - kp2gaussian(kp_source, size, HEATMAP_VARIANCE)
        return F.pad(difference, (0, 0, 0, 0, 1, 0))  # a zero map for the background comes first

    def splines(self, kp_driving: Tensor, kp_source: Tensor) -> TPS:
        """Splines from driving to source keypoints: (B, 5K, 2) twice, control points (B, K, 5, 2)."""
        grouped = (len(kp_driving), self.num_tps, POINTS_PER_TPS, 2)
        return keypoint_splines(kp_driving.view(grouped), kp_source.view(grouped), self.regularization)

    def _transformations(self, splines: TPS, bg_param: Tensor | None, size: tuple[int, int]) -> Tensor:
        batch = len(splines.control)
        identity = make_coordinate_grid(size, splines.control)
        background = identity.expand(batch, *identity.shape)
        if bg_param is not None:
            background = apply_homography(bg_param, identity)
        return torch.cat([background[:, None], splines.grid(size)], dim=1)

    def _deform(self, source: Tensor, transformations: Tensor) -> Tensor:
        batch, slots = transformations.shape[:2]
        repeated = source[:, None].expand(-1, slots, -1, -1, -1).flatten(0, 1)
        return sample(repeated, transformations.flatten(0, 1)).view(batch, slots, *source.shape[1:])

    def _occlusion(self, decoded: list[Tensor]) -> list[Tensor]:
        levels = decoded[-1:]
        if hasattr(self, "up"):
            from_decoder = len(self.occlusion) - len(self.up)
            levels, finest = decoded[len(decoded) - from_decoder :], decoded[-1]
            for up in self.up:
                finest = up(finest)
                levels.append(finest)
        return [torch.sigmoid(head(level)) for head, level in zip(self.occlusion, levels, strict=True)]
