"""Occlusion-aware generator: the source's features, warped and faded where they are of no use, decoded.

Dimension letters: B batch, C channels, H x W image, h x w map.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from modules.blocks import BottleneckNetwork
from modules.fomm.dense_motion import DenseMotionNetwork
from modules.geometry import CENTRED, GridConvention, resize_map, warp_features
from modules.model import Motion


class OcclusionAwareGenerator(BottleneckNetwork):
    """Decode the source's coarsest features, warped and occluded.

    Args:
        num_channels: C.
        num_kp: K.
        block_expansion, max_features, num_down_blocks, num_bottleneck_blocks: see `BottleneckNetwork`.
        estimate_occlusion_map: predict where the warped source is of no use.
        dense_motion_params: further arguments of `DenseMotionNetwork`; None: an autoencoder, which does not move.
        convention: of sampling and resizing.
        blend_source: mix the warped source itself into the picture, where the occlusion map keeps it; the decoder then
            only draws the rest, and fine detail does not have to pass it. False: as published.
    Source: FOMM (Siarohin et al., 2019), generator; blending TPSMM (Zhao and Zhang, 2022).
    """

    def __init__(
        self,
        *,
        num_channels: int,
        num_kp: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        estimate_occlusion_map: bool = False,
        dense_motion_params: Mapping[str, Any] | None = None,
        convention: GridConvention = CENTRED,
        blend_source: bool = False,
    ):
        motion = {}
        if dense_motion_params is not None:
            motion["dense_motion_network"] = DenseMotionNetwork(
                num_kp=num_kp,
                num_channels=num_channels,
                estimate_occlusion_map=estimate_occlusion_map,
                convention=convention,
                **dense_motion_params,
            )
        super().__init__(
            motion,
            num_channels=num_channels,
            block_expansion=block_expansion,
            max_features=max_features,
            num_down_blocks=num_down_blocks,
            num_bottleneck_blocks=num_bottleneck_blocks,
        )
        self.convention = convention
        self.blend_source = blend_source

    def forward(
        self,
        source: Tensor,
        encoded: list[Tensor],
        kp_driving: Motion,
        kp_source: Motion,
        flow: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Move the source and decode it.

        Args:
            source: (B, C, H, W) in [0, 1].
            encoded: what `encode` gives for it.
            kp_driving, kp_source, flow: see `DenseMotionNetwork`.
        Returns:
            `prediction` (B, C, H, W) in [0, 1]; with dense motion `deformed` (B, C, H, W), the warped source, and what
            `MotionMixer.mix` gives.
        """
        if not hasattr(self, "dense_motion_network"):
            return {"prediction": self.decode(encoded[-1])}
        dense = self.dense_motion_network(source, kp_driving, kp_source, flow)
        deformation, occlusion = dense["deformation"], dense.get("occlusion_map")
        features = self._occlude(warp_features(encoded[-1], deformation, self.convention), occlusion)
        prediction = self.decode(features)
        deformed = warp_features(source, deformation, self.convention)
        if self.blend_source and occlusion is not None:
            kept = resize_map(occlusion, (source.shape[2], source.shape[3]), align_corners=self.convention.resizing)
            prediction = torch.lerp(prediction, deformed, kept)
        return {**dense, "deformed": deformed, "prediction": prediction}

    def decode(self, features: Tensor) -> Tensor:
        """Coarsest features to a picture: (B, _, h, w) -> (B, C, H, W) in [0, 1]."""
        out = self.bottleneck(features)
        for block in self.up_blocks:
            out = block(out)
        return torch.sigmoid(self.final(out).float())

    def _occlude(self, features: Tensor, occlusion: Tensor | None) -> Tensor:
        if occlusion is None:
            return features
        size = (features.shape[2], features.shape[3])
        return features * resize_map(occlusion, size, align_corners=self.convention.resizing)
