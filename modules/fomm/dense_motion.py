"""Dense motion from keypoints with local affine maps.

Dimension letters: B batch, K keypoints, C channels, H x W image, h x w map of the network.
"""

import torch.nn.functional as F
from torch import Tensor

from config.fomm import FommDenseMotionParams
from modules.geometry import HEATMAP_VARIANCE, GridConvention, full_precision, inverse_2x2, kp2gaussian, map_size
from modules.local_motion import MotionMixer, local_affine
from modules.model import Motion


class DenseMotionNetwork(MotionMixer):
    """Deformation of the source and occlusion map from source and driving keypoints, in full precision.

    Args:
        params: the config section `dense_motion_params`.
        num_kp: K.
        num_channels, estimate_occlusion_map, convention: see `MotionMixer`.
    Source: FOMM (Siarohin et al., 2019), dense motion network.
    """

    def __init__(
        self,
        params: FommDenseMotionParams,
        *,
        num_kp: int,
        num_channels: int,
        estimate_occlusion_map: bool,
        convention: GridConvention,
    ):
        super().__init__(
            params,
            num_motions=num_kp,
            num_channels=num_channels,
            estimate_occlusion_map=estimate_occlusion_map,
            use_deformed_source=True,
            convention=convention,
            locality=params.locality,
            background_logit=params.background_logit,
            initial_occlusion=params.initial_occlusion,
        )

    def forward(
        self, source: Tensor, kp_driving: Motion, kp_source: Motion, flow: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Combine the local motions from driving to source keypoints into one deformation.

        Args:
            source: (B, C, H, W) in [0, 1].
            kp_driving, kp_source: `value` (B, K, 2) and, in both or neither, `jacobian` (B, K, 2, 2).
            flow: (B, H, W, 2), see `Condition.flow`; None uses the local motions.
        Returns:
            See `MotionMixer.mix`.
        """
        with full_precision(source):
            small = self.reduced(source.float())
            size = map_size(small)
            motions = self.local_motions(kp_driving, kp_source, size)
            return self.mix(small, self.heatmap(kp_driving, kp_source, size), motions, kp_driving["value"], flow)

    def heatmap(self, kp_driving: Motion, kp_source: Motion, size: tuple[int, int]) -> Tensor:
        """Heat maps of driving minus source keypoints: (B, K + 1, h, w), index 0 the background's, which is zero."""
        driving, source = (kp2gaussian(kp["value"], size, HEATMAP_VARIANCE) for kp in (kp_driving, kp_source))
        return F.pad(driving - source, (0, 0, 0, 0, 1, 0))

    @staticmethod
    def local_motions(kp_driving: Motion, kp_source: Motion, size: tuple[int, int]) -> Tensor:
        """Sampling coordinates (B, K + 1, h, w, 2), see `local_affine`: z -> J_s J_d^-1 (z - p_d) + p_s."""
        linear = None
        if "jacobian" in kp_driving:
            linear = kp_source["jacobian"].float() @ inverse_2x2(kp_driving["jacobian"])
        return local_affine(kp_driving["value"].float(), kp_source["value"].float(), linear, size)
