"""Deformation from the motions of regions and background.

Dimension letters: B batch, K regions, C channels, H x W image, h x w map.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from config.mraa import FlowPredictorParams
from modules.geometry import (
    HEATMAP_VARIANCE,
    GridConvention,
    apply_homography,
    full_precision,
    inverse_2x2,
    kp2gaussian,
    make_coordinate_grid,
    map_size,
)
from modules.local_motion import MotionMixer, local_affine
from modules.mraa.affine import LEAST_VARIANCE, reverted

_FARTHEST = 160.0  # squared distance in standard deviations; larger ones give denormal numbers, which slow convolutions

Region = dict[str, Tensor]
"""`shift` (B, K, 2), xy in [-1, 1]; `affine` and `covar` (B, K, 2, 2) if regions have an affine frame."""


class PixelwiseFlowPredictor(MotionMixer):
    """Deformation of the source and occlusion map from the regions of source and driving frame, float32 in every mode.

    Args:
        params: the config section `pixelwise_flow_predictor_params`.
        num_regions: K.
        num_channels, convention: see `MotionMixer`.
        revert_axis_swap: remove the arbitrary sign of a region's motion, see `reverted`.
    Source: MRAA (Siarohin et al., 2021), pixel-wise flow prediction.
    """

    def __init__(
        self,
        params: FlowPredictorParams,
        *,
        num_regions: int,
        num_channels: int,
        revert_axis_swap: bool,
        convention: GridConvention,
    ):
        super().__init__(
            params,
            num_motions=num_regions,
            num_channels=num_channels,
            estimate_occlusion_map=params.estimate_occlusion_map,
            use_deformed_source=params.use_deformed_source,
            convention=convention,
            locality=params.locality,
            background_logit=params.background_logit,
            initial_occlusion=params.initial_occlusion,
        )
        self.use_covar_heatmap = params.use_covar_heatmap
        self.revert_axis_swap = revert_axis_swap

    def forward(
        self,
        source: Tensor,
        driving_region: Region,
        source_region: Region,
        bg_param: Tensor | None = None,
        flow: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Combine the motions into one deformation.

        Args:
            source: (B, C, H, W) in [0, 1].
            bg_param: (B, 3, 3), driving to source coordinates; None keeps the background still.
            flow: (B, H, W, 2), see `Condition.flow`; None uses the regions' motions.
        Returns:
            See `MotionMixer.mix`.
        """
        with full_precision(source):
            small = self.reduced(source.float())
            size = map_size(small)
            driving = {name: value.float() for name, value in driving_region.items()}
            origin = {name: value.float() for name, value in source_region.items()}
            heatmaps = self.heatmaps(driving, origin, size)
            motions = self.sparse_motions(driving, origin, size, bg_param)
            return self.mix(small, heatmaps, motions, driving["shift"], flow)

    def heatmaps(self, driving: Region, source: Region, size: tuple[int, int]) -> Tensor:
        """Heat maps of driving minus source regions: (B, K + 1, h, w), index 0 for the background, always 0."""
        return F.pad(self._heatmap(driving, size) - self._heatmap(source, size), (0, 0, 0, 0, 1, 0))

    def _heatmap(self, region: Region, size: tuple[int, int]) -> Tensor:
        if not self.use_covar_heatmap:
            return kp2gaussian(region["shift"], size, HEATMAP_VARIANCE)
        offset = make_coordinate_grid(size, region["shift"]) - region["shift"][:, :, None, None]  # -> (B, K, h, w, 2)
        least = LEAST_VARIANCE * torch.eye(2, device=offset.device)
        precision = inverse_2x2(region["covar"] + least, LEAST_VARIANCE**2)
        squared = torch.einsum("bkhwi,bkij,bkhwj->bkhw", offset, precision, offset)
        return torch.exp(-0.5 * squared.clamp_max(_FARTHEST))

    def sparse_motions(
        self, driving: Region, source: Region, size: tuple[int, int], bg_param: Tensor | None = None
    ) -> Tensor:
        """Sampling coordinates of each motion: (B, K + 1, h, w, 2), index 0 for the background."""
        linear = None
        if "affine" in driving:
            linear = source["affine"] @ inverse_2x2(driving["affine"], LEAST_VARIANCE)
            if self.revert_axis_swap:
                linear = reverted(linear)
        motions = local_affine(driving["shift"], source["shift"], linear, size)
        if bg_param is None:
            return motions
        background = apply_homography(bg_param, make_coordinate_grid(size, motions))
        return torch.cat([background[:, None], motions[:, 1:]], dim=1)
