"""The picture, from the source's warped features.

Dimension letters: B batch, C channels, H x W image, h x w feature map.
"""

import torch
from torch import Tensor

from modules.blocks import BottleneckNetwork
from modules.geometry import CENTRED, GridConvention, resize_map, warp_features
from modules.mraa.flow_predictor import PixelwiseFlowPredictor


class Generator(BottleneckNetwork):
    """Encode the source, warp it, and draw what the occlusion map says that the warp cannot show.

    Args:
        pixelwise_flow_predictor: finds deformation and occlusion map; its keys stand first in the state dict.
        num_channels, block_expansion, max_features, num_down_blocks, num_bottleneck_blocks: see `BottleneckNetwork`.
        skips: blend the warped features of every level, and the warped source itself, into the decoder, by the
            occlusion map. Without an occlusion map they replace what the decoder made, so that the prediction is the
            warped source.
        convention: of sampling and resizing.
    Source: MRAA (Siarohin et al., 2021), generator.
    """

    def __init__(
        self,
        pixelwise_flow_predictor: PixelwiseFlowPredictor,
        *,
        num_channels: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        skips: bool = False,
        convention: GridConvention = CENTRED,
    ):
        super().__init__(
            {"pixelwise_flow_predictor": pixelwise_flow_predictor},
            num_channels=num_channels,
            block_expansion=block_expansion,
            max_features=max_features,
            num_down_blocks=num_down_blocks,
            num_bottleneck_blocks=num_bottleneck_blocks,
        )
        self.skips = skips
        self.convention = convention

    def forward(
        self, source: Tensor, features: list[Tensor], deformation: Tensor, occlusion_map: Tensor | None
    ) -> dict[str, Tensor]:
        """Draw the deformed source.

        Args:
            source: (B, C, H, W) in [0, 1].
            features: from `encode`, fine to coarse.
            deformation: (B, h, w, 2) absolute sampling coordinates.
            occlusion_map: (B, 1, h, w) in [0, 1], 1 keeps the warped source; None where none is estimated.
        Returns:
            `deformed` and `prediction` (B, C, H, W) in [0, 1].
        """
        flow = deformation, occlusion_map
        out = self.bottleneck(self._blended(None, features[-1], *flow))
        for i, block in enumerate(self.up_blocks):
            if self.skips:
                # The deepest level comes in a second time, as published.
                out = self._blended(out, features[-1 - i], *flow)
            out = block(out)
        if self.skips:
            out = self._blended(out, features[0], *flow)
        prediction = torch.sigmoid(self.final(out))
        deformed = warp_features(source, deformation, self.convention)
        if self.skips:
            prediction = self._masked(prediction, deformed, occlusion_map)
        return {"deformed": deformed, "prediction": prediction}

    def _blended(
        self, drawn: Tensor | None, features: Tensor, deformation: Tensor, occlusion_map: Tensor | None
    ) -> Tensor:
        return self._masked(drawn, warp_features(features, deformation, self.convention), occlusion_map)

    def _masked(self, drawn: Tensor | None, warped: Tensor, occlusion_map: Tensor | None) -> Tensor:
        """Warped features where the map keeps them, drawn ones elsewhere: (B, C, h, w) each."""
        if occlusion_map is None:
            return warped
        size = (warped.shape[2], warped.shape[3])
        kept = resize_map(occlusion_map, size, align_corners=self.convention.resizing)
        return warped * kept if drawn is None else torch.lerp(drawn.to(warped.dtype), warped, kept)
