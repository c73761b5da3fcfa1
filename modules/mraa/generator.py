"""Generator: the source's warped features, decoded to an image.

Dimension letters: B batch, C channels, H x W image, h x w feature map.
"""

import torch
from torch import Tensor

from config.mraa import MraaGeneratorParams
from modules.blocks import BottleneckNetwork
from modules.geometry import GridConvention, map_size, resize_map, warp_features
from modules.mraa.flow_predictor import PixelwiseFlowPredictor


class Generator(BottleneckNetwork):
    """Encode the source, warp its features, and inpaint where the occlusion map hides them.

    With `skips`, the occlusion map blends the warped features of every level, and the warped source itself, into the
    decoder. Without an occlusion map they replace the decoder's own features: the prediction is the warped source.

    Args:
        params: the config section `generator_params`.
        num_channels: C.
        num_regions: K.
        revert_axis_swap: see `PixelwiseFlowPredictor`.
        convention: of sampling and resizing.
    Source: MRAA (Siarohin et al., 2021), generator.
    """

    pixelwise_flow_predictor: PixelwiseFlowPredictor

    def __init__(
        self,
        params: MraaGeneratorParams,
        *,
        num_channels: int,
        num_regions: int,
        revert_axis_swap: bool,
        convention: GridConvention,
    ):
        flow_predictor = PixelwiseFlowPredictor(
            params.pixelwise_flow_predictor_params,
            num_regions=num_regions,
            num_channels=num_channels,
            revert_axis_swap=revert_axis_swap,
            convention=convention,
        )
        super().__init__(params, ("pixelwise_flow_predictor", flow_predictor), num_channels=num_channels)
        self.skips = params.skips
        self.convention = convention

    def forward(
        self, source: Tensor, features: list[Tensor], deformation: Tensor, occlusion_map: Tensor | None
    ) -> dict[str, Tensor]:
        """Decode the warped source.

        Args:
            source: (B, C, H, W) in [0, 1].
            features: from `encode`, fine to coarse.
            deformation: (B, h, w, 2) absolute sampling coordinates.
            occlusion_map: (B, 1, h, w) in [0, 1], 1 keeps the warped source; None if none is estimated.
        Returns:
            `deformed` and `prediction` (B, C, H, W) in [0, 1].
        """
        flow = deformation, occlusion_map
        out = self.bottleneck(self._blended(None, features[-1], *flow))
        for i, block in enumerate(self.up_blocks):
            if self.skips:
                # The deepest level is blended in a second time, as published.
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
        self, decoded: Tensor | None, features: Tensor, deformation: Tensor, occlusion_map: Tensor | None
    ) -> Tensor:
        return self._masked(decoded, warp_features(features, deformation, self.convention), occlusion_map)

    def _masked(self, decoded: Tensor | None, warped: Tensor, occlusion_map: Tensor | None) -> Tensor:
        """Warped features where the map keeps them, decoded ones elsewhere: (B, C, h, w) each."""
        if occlusion_map is None:
            return warped
        kept = resize_map(occlusion_map, map_size(warped), align_corners=self.convention.resizing)
        return warped * kept if decoded is None else torch.lerp(decoded.to(warped.dtype), warped, kept)
