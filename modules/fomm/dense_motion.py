"""Dense motion from keypoints with local affine maps.

Dimension letters: B batch, K keypoints, C channels, H x W image, h x w map of the network.
"""

import torch.nn.functional as F
from torch import Tensor

from modules.geometry import CENTRED, GridConvention, full_precision, inverse_2x2, kp2gaussian
from modules.local_motion import MotionMixer, local_affine
from modules.model import Motion


class DenseMotionNetwork(MotionMixer):
    """Deformation of the source and occlusion map from source and driving keypoints, in full precision.

    Args:
        kp_variance: of the heat maps, squared half frame widths.
        others: see `MotionMixer`; K is `num_kp`.
    Source: FOMM (Siarohin et al., 2019), dense motion network.
    """

    def __init__(
        self,
        *,
        block_expansion: int,
        num_blocks: int,
        max_features: int,
        num_kp: int,
        num_channels: int,
        estimate_occlusion_map: bool = False,
        scale_factor: float = 1,
        kp_variance: float = 0.01,
        convention: GridConvention = CENTRED,
        locality: float | None = None,
        background_logit: float | None = None,
        initial_occlusion: float | None = None,
    ):
        super().__init__(
            block_expansion=block_expansion,
            num_blocks=num_blocks,
            max_features=max_features,
            num_motions=num_kp,
            num_channels=num_channels,
            estimate_occlusion_map=estimate_occlusion_map,
            scale_factor=scale_factor,
            convention=convention,
            locality=locality,
            background_logit=background_logit,
            initial_occlusion=initial_occlusion,
        )
        self.kp_variance = kp_variance

    def forward(
        self, source: Tensor, kp_driving: Motion, kp_source: Motion, flow: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Mix the local motions from driving to source keypoints into one deformation.

        Args:
            source: (B, C, H, W) in [0, 1].
            kp_driving, kp_source: `value` (B, K, 2) and, in both or neither, `jacobian` (B, K, 2, 2).
            flow: (B, H, W, 2), see `follow_flow`; None: the local motions.
        Returns:
            See `MotionMixer.mix`.
        """
        with full_precision(source):
            small = self.reduced(source.float())
            size = (small.shape[2], small.shape[3])
            motions = self.local_motions(kp_driving, kp_source, size)
            return self.mix(small, self.heatmap(kp_driving, kp_source, size), motions, kp_driving["value"], flow)

    def heatmap(self, kp_driving: Motion, kp_source: Motion, size: tuple[int, int]) -> Tensor:
        """Difference of the keypoints' heat maps: (B, K + 1, h, w), index 0 the background's, which is zero."""
        driving, source = (kp2gaussian(kp["value"], size, self.kp_variance) for kp in (kp_driving, kp_source))
        return F.pad(driving - source, (0, 0, 0, 0, 1, 0))

    @staticmethod
    def local_motions(kp_driving: Motion, kp_source: Motion, size: tuple[int, int]) -> Tensor:
        """Sampling coordinates (B, K + 1, h, w, 2), see `local_affine`: z -> J_s J_d^-1 (z - p_d) + p_s."""
        linear = None
        if "jacobian" in kp_driving:
            linear = kp_source["jacobian"].float() @ inverse_2x2(kp_driving["jacobian"])
        return local_affine(kp_driving["value"].float(), kp_source["value"].float(), linear, size)
