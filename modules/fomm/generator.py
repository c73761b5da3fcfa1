"""Occlusion-aware generator: the source's features, warped, masked by the occlusion map, and decoded.

Dimension letters: B batch, C channels, H x W image, h x w map.
"""

import torch
from torch import Tensor

from config.fomm import FommGeneratorParams
from modules.blocks import BottleneckNetwork
from modules.fomm.dense_motion import DenseMotionNetwork
from modules.geometry import GridConvention, map_size, resize_map, warp_features
from modules.model import Motion


class OcclusionAwareGenerator(BottleneckNetwork):
    """Decode the source's coarsest features, warped and occluded.

    Args:
        params: the config section `generator_params`.
        num_channels: C.
        num_kp: K.
        convention: of sampling and resizing.
    Source: FOMM (Siarohin et al., 2019), generator; blending TPSMM (Zhao and Zhang, 2022).
    """

    dense_motion_network: DenseMotionNetwork

    def __init__(self, params: FommGeneratorParams, *, num_channels: int, num_kp: int, convention: GridConvention):
        dense_motion_network = DenseMotionNetwork(
            params.dense_motion_params,
            num_kp=num_kp,
            num_channels=num_channels,
            estimate_occlusion_map=params.estimate_occlusion_map,
            convention=convention,
        )
        super().__init__(params, ("dense_motion_network", dense_motion_network), num_channels=num_channels)
        self.convention = convention
        self.blend_source = params.blend_source

    def forward(
        self,
        source: Tensor,
        encoded: list[Tensor],
        kp_driving: Motion,
        kp_source: Motion,
        flow: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Warp the source and decode it.

        Args:
            source: (B, C, H, W) in [0, 1].
            encoded: features of the source, from `encode`.
            kp_driving, kp_source, flow: see `DenseMotionNetwork`.
        Returns:
            `prediction` (B, C, H, W) in [0, 1]; `deformed` (B, C, H, W), the warped source; and the outputs of
            `MotionMixer.mix`.
        """
        dense = self.dense_motion_network(source, kp_driving, kp_source, flow)
        deformation, occlusion = dense["deformation"], dense.get("occlusion_map")
        features = self._occlude(warp_features(encoded[-1], deformation, self.convention), occlusion)
        prediction = self.decode(features)
        deformed = warp_features(source, deformation, self.convention)
        if self.blend_source and occlusion is not None:
            kept = resize_map(occlusion, map_size(source), align_corners=self.convention.resizing)
            prediction = torch.lerp(prediction, deformed, kept)
        return {**dense, "deformed": deformed, "prediction": prediction}

    def decode(self, features: Tensor) -> Tensor:
        """Decode the coarsest features to an image: (B, _, h, w) -> (B, C, H, W) in [0, 1]."""
        out = self.bottleneck(features)
        for block in self.up_blocks:
            out = block(out)
        return torch.sigmoid(self.final(out).float())

    def _occlude(self, features: Tensor, occlusion: Tensor | None) -> Tensor:
        if occlusion is None:
            return features
        return features * resize_map(occlusion, map_size(features), align_corners=self.convention.resizing)
