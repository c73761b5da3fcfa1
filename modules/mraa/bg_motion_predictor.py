"""Motion of the background between two frames."""

import torch
from torch import Tensor, nn

from config.mraa import RegionBackgroundParams
from modules.blocks import Encoder, level_features, start_constant

_START = {"shift": [0.0, 0.0], "affine": [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], "perspective": [1.0, 0, 0, 0, 1, 0, 0, 0]}


class BGMotionPredictor(nn.Module):
    """Regress the homography of the background from both frames; initially the identity.

    Args:
        params: the config section `bg_predictor_params`. `bg_type: zero` keeps the background still and has no
            parameters; `shift`, `affine` and `perspective` have 2, 6 and 8 degrees of freedom.
        num_channels: C of a frame.
    Source: MRAA (Siarohin et al., 2021), background motion.
    """

    def __init__(self, params: RegionBackgroundParams, *, num_channels: int):
        super().__init__()
        self.bg_type = params.bg_type
        if params.bg_type != "zero":
            width, widest, levels = params.block_expansion, params.max_features, params.num_blocks
            self.encoder = Encoder(width, 2 * num_channels, levels, widest, "batch")
            start = _START[params.bg_type]
            self.fc = nn.Linear(level_features(width, widest, levels), len(start))
            start_constant(self.fc, *start)

    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Two (B, C, H, W) in [0, 1] -> (B, 3, 3), driving coordinates to source coordinates, last entry 1."""
        still = torch.eye(3, device=source.device).expand(len(source), 3, 3)
        if self.bg_type == "zero":
            return still
        values = self.fc(self.encoder(torch.cat([source, driving], dim=1))[-1].mean((2, 3)))
        if self.bg_type == "shift":
            column = torch.cat([values, torch.ones_like(values[:, :1])], dim=1)
            return torch.cat([still[..., :2], column[..., None]], dim=2)
        return torch.cat([values, still.flatten(1)[:, values.shape[1] :]], dim=1).view(-1, 3, 3)
